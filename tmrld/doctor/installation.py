"""Whether the game runs, and what OpenPlanet has of the plugins: files, and what its log says of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import psutil
from pydantic import Field

from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.patient import Evidence
from tmrld.envs.trackmania import openplanet
from tmrld.errors import BadInput

AREA = "game"
GAME = "trackmania.exe"
OURS, TMRLS, GHOSTS = openplanet.ID, *openplanet.RIVALS
"""Plugins: the one that comes with tmrld, which tells and saves replays, and TMRL's two, of which each does one of these."""
TELLING, SAVING = (OURS, TMRLS), (OURS, GHOSTS)
PLUGINS = (OURS, TMRLS, GHOSTS)
INSTALL = "tmrld trackmania install"

LOG_BYTES = 1 << 18
"""So much of the log's end is read: some thousand lines."""
MOST_LINES = 12
LONGEST_LINE = 300
LONGEST_VERSION = 40
_TROUBLE = re.compile(r"signature|exception|error|failed|unable|not allowed|is taken|no replay", re.IGNORECASE)
_LOADED = re.compile(r"Loaded (zipped |folder )?plugin", re.IGNORECASE)


class Plugin(Evidence):
    """A plugin's files: ``name`` is OpenPlanet's identifier, ``version`` may be "", ``problem`` says why they cannot be read."""

    name: str
    version: str = ""
    problem: str = ""


class Running(Evidence):
    """What our plugin left word of when it was loaded the last time."""

    version: str
    telemetry_port: int
    replay_port: int


class OpenPlanet(Evidence):
    """A folder of OpenPlanet's, which of `PLUGINS` lie in it, and the last lines of its log in which one of them is in trouble.

    ``running`` is the word that our plugin leaves when it starts; ``developer`` whether OpenPlanet was in the mode that loads plugins
    without a signature when the game was last closed; None where there is no word of it.
    """

    folder: str
    plugins: list[Plugin] = Field([])
    log: list[str] = Field([])
    running: Running | None = None
    developer: bool | None = None


class Installation(Evidence):
    """``game`` and ``stand_in``: whether they run here.  ``shipped`` is the version of the plugin that comes with this tmrld.

    ``game_is_admin`` and ``is_admin``: whether the game, and this program, run as administrator; None where that means nothing.
    """

    system: str
    game: bool
    stand_in: bool
    openplanets: list[OpenPlanet] = Field([])
    shipped: str = ""
    game_is_admin: bool | None = None
    is_admin: bool | None = None


# Looking


def gather_installation(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Installation:
    """Look at the running programs and at OpenPlanet's folders below ``home``, the user's own unless said otherwise."""
    home = home or Path.home()
    game, stand_in = None, False
    for process in psutil.process_iter(["name", "cmdline"]):
        name, command = process.info["name"] or "", process.info["cmdline"] or []
        if is_game(name, command):
            game = process.pid
        stand_in = stand_in or is_stand_in(command)
    game_is_admin, is_admin = _rights(game)
    return Installation(
        system=sys.platform,
        game=game is not None,
        stand_in=stand_in,
        openplanets=[_look_into(folder, home) for folder in openplanet_folders(home, environ)],
        shipped=read_plugin(openplanet.SOURCES).version,
        game_is_admin=game_is_admin,
        is_admin=is_admin,
    )


def is_game(name: str, command: list[str]) -> bool:
    """Whether a process of that name and command line is TrackMania 2020; under Wine the name may be cut off."""
    return GAME in {name.casefold(), *(PureWindowsPath(part).name.casefold() for part in command[:1])}


def is_stand_in(command: list[str]) -> bool:
    """Whether a process with that command line is `tmrld sim`."""
    return any(PurePath(part).name in ("tmrld", "tmrld.exe") and then == "sim" for part, then in itertools.pairwise(command))


def openplanet_folders(home: Path, environ: Mapping[str, str], system: str = sys.platform) -> list[Path]:
    """Every folder of OpenPlanet's that there is: the user's own, and those in prefixes of Proton, Lutris and Wine."""
    own: dict[Path, Path] = {}
    for folder in openplanet.folders(home, environ, system):
        if folder.is_dir():
            own.setdefault(folder.resolve(), folder)  # Steam's folders are links to one another
    return list(own.values())


def read_plugin(path: Path) -> Plugin:
    """What a folder or an ``.op`` file says of itself."""
    name = path.name.removesuffix(".op")
    try:
        if path.is_dir():
            about: dict[str, Any] = tomllib.loads((path / "info.toml").read_text("utf-8-sig"))
            version = about["meta"]["version"]
        else:
            version = openplanet.version_of(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, BadInput) as error:
        return Plugin(name=name, problem=getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return Plugin(name=name, version=str(version)[:LONGEST_VERSION])


def troubles(lines: Iterable[str], home: str) -> list[str]:
    """The lines of OpenPlanet's log that tell of trouble with one of `PLUGINS`, since each was last loaded."""
    told: dict[str, list[str]] = {}
    for line in lines:
        for name in PLUGINS:
            if _names(name, line):
                if _LOADED.search(line):
                    told[name] = []
                elif _TROUBLE.search(line):
                    told.setdefault(name, []).append(_shortened(line, home))
    return [line for lines in told.values() for line in lines[-MOST_LINES:]]


def _shortened(line: str, home: str) -> str:
    """Without who the user is."""
    line = line.replace(home, "~") if len(home) > 1 else line
    return re.sub(r"(?i)([a-z]:[\\/]users[\\/])[^\\/]+", r"\1~", line).strip()[:LONGEST_LINE]


def _look_into(folder: Path, home: Path) -> OpenPlanet:
    paths = [folder / "Plugins" / file for name in PLUGINS for file in (name, f"{name}.op")]
    log: list[str] = []
    with contextlib.suppress(OSError), (folder / "Openplanet.log").open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - LOG_BYTES))
        log = troubles(file.read().decode("utf-8", "replace").splitlines(), str(home))
    look = openplanet.look(folder / "Plugins")
    return OpenPlanet(
        folder=str(folder).replace(str(home), "~", 1),
        plugins=[read_plugin(path) for path in paths if path.exists()],
        log=log,
        running=None if look.running is None else Running(**asdict(look.running)),
        developer=look.developer,
    )


def _rights(game: int | None) -> tuple[bool | None, bool | None]:
    """Whether the game and this program run as administrator."""
    if sys.platform == "win32":
        from tmrld.doctor.rights_win32 import is_admin

        return None if game is None else is_admin(game), is_admin(os.getpid())
    return None, None


# Judging

CODES = frozenset(
    {
        "game-not-running",
        "game-is-admin",
        "openplanet-missing",
        "plugin-missing",
        "plugin-damaged",
        "plugin-old",
        "plugin-not-reloaded",
        "plugin-twice",
        "plugin-unsigned",
        "plugin-error",
        "plugin-port-differs",
        "plugin-port-taken",
        "replay-plugin-missing",
        "replay-plugin-unsigned",
        "replay-refused",
    }
)
LOAD, RELOAD = "in the game F3, Developer, Load plugin", "in the game F3, Developer, Reload plugin"
DEVELOPER = (
    "in the game F3, Developer, Signature mode, Developer, which needs Club or Standard access; then Developer, Load plugin"
)


@dataclass(frozen=True)
class Wish:
    """What is asked of the plugins.  ``talks`` says that one was heard, so that nothing can be missing."""

    telemetry_port: int
    replay_port: int
    replays: bool
    talks: bool


def judge_installation(seen: Installation, wish: Wish) -> Iterator[Diagnosis]:
    """The game's process, OpenPlanet's folder, then the plugins in it."""
    if seen.game or seen.stand_in:
        yield ok(AREA, "running", "TrackMania runs" if seen.game else "TrackMania's stand-in runs (tmrld sim)")
    elif not wish.talks:
        yield wrong(
            AREA,
            "running",
            "TrackMania does not run on this machine: there is no process Trackmania.exe",
            "start TrackMania 2020, in a window, and load a map; or try without it: `tmrld sim` stands in for the game",
            code="game-not-running",
        )
    if seen.game_is_admin and not seen.is_admin:
        yield wrong(
            AREA,
            "rights",
            "TrackMania runs as administrator and tmrld does not: Windows lets no key of tmrld's reach it",
            "start TrackMania, and the launcher that starts it, without administrator's rights; or start tmrld with them",
            code="game-is-admin",
        )
    if seen.stand_in and not seen.game:
        return  # it needs no OpenPlanet
    if seen.openplanets:
        yield from _judge_plugins(seen, wish)
    elif not wish.talks:
        elsewhere = ", nor in a prefix of Proton, Lutris or Wine" if seen.system == "linux" else ""
        yield wrong(
            AREA,
            "OpenPlanet",
            f"OpenPlanet is not installed: there is no folder {openplanet.FOLDER} in the user's folder{elsewhere}",
            f"install OpenPlanet from https://openplanet.dev, start the game once, then `{INSTALL}`",
            code="openplanet-missing",
        )


def _judge_plugins(seen: Installation, wish: Wish) -> Iterator[Diagnosis]:
    folders = ", ".join(each.folder for each in seen.openplanets)
    there = {plugin.name: plugin for each in seen.openplanets for plugin in each.plugins}
    telling = [there[name] for name in TELLING if name in there]
    log = [line for each in seen.openplanets for line in each.log]
    for plugin in there.values():
        if plugin.problem and (plugin.name != GHOSTS or wish.replays):
            yield wrong(
                AREA,
                "plugin",
                f"the plugin {plugin.name} in {folders} cannot be read: {plugin.problem}",
                f"delete it, then `{INSTALL}`" if plugin.name == OURS else "delete it, and download it again",
                code="plugin-damaged",
            )
    if not telling and not wish.talks:
        yield wrong(
            AREA,
            "plugin",
            f"OpenPlanet has no plugin that tells of the car: neither {' nor '.join(TELLING)} lies in the folder Plugins of "
            f"{folders}",
            f"`{INSTALL}`, then {LOAD}",
            code="plugin-missing",
        )
    elif len(telling) == len(TELLING):
        yield note(
            AREA,
            "plugin",
            f"both {' and '.join(TELLING)} lie in {folders}: they tell the same, and only the one that is loaded first gets "
            "the port",
            f"delete {TMRLS} there, unless TMRL itself is used, too",
            code="plugin-twice",
        )
    elif telling and not telling[0].problem:
        yield _judge_version(telling[0], seen, folders)
    yield from _judge_ports(seen, wish)
    if not wish.talks:
        yield from _judge_mode(seen, there, log)
    yield from _judge_replays_log(log, wish)
    if wish.replays and not any(name in there for name in SAVING):
        yield wrong(
            AREA,
            "replays",
            f"trackmania.save_replays is on, and no plugin for it lies in the folder Plugins of {folders}",
            f"`{INSTALL}`, then {LOAD}; or set trackmania.save_replays = false",
            code="replay-plugin-missing",
        )


def _judge_version(plugin: Plugin, seen: Installation, folders: str) -> Diagnosis:
    text = f"the plugin {plugin.name} {plugin.version} lies in {folders}".replace("  ", " ")
    if plugin.name != OURS:
        return ok(AREA, "plugin", text)
    if seen.shipped and _numbers(plugin.version) < _numbers(seen.shipped):
        return note(
            AREA,
            "plugin",
            f"{text}, and this tmrld comes with {seen.shipped}",
            f"`{INSTALL}`, then {RELOAD}",
            code="plugin-old",
        )
    running = next((each.running for each in seen.openplanets if each.running is not None), None)
    if running is not None and running.version != plugin.version:
        return note(
            AREA,
            "plugin",
            f"{text}, but the game has loaded {running.version}",
            RELOAD,
            code="plugin-not-reloaded",
        )
    return ok(AREA, "plugin", text)


def _judge_ports(seen: Installation, wish: Wish) -> Iterator[Diagnosis]:
    """Whether our plugin listens where we call."""
    running = next((each.running for each in seen.openplanets if each.running is not None), None)
    if running is None or wish.talks:
        return
    if running.telemetry_port != wish.telemetry_port:
        yield wrong(
            AREA,
            "plugin's port",
            f"the plugin is set to tell on port {running.telemetry_port}, and trackmania.telemetry_port is {wish.telemetry_port}",
            f"set trackmania.telemetry_port = {running.telemetry_port}; or, in the game, F3, Openplanet, Settings, tmrld",
            code="plugin-port-differs",
        )


def _judge_mode(seen: Installation, there: Mapping[str, Plugin], log: list[str]) -> Iterator[Diagnosis]:
    """Whether OpenPlanet loads the plugin, and what its log says of it."""
    telling = [line for line in log if any(_names(name, line) for name in TELLING) and "no replay" not in line]
    unsigned = [line for line in telling if "signature" in line.lower()]
    if unsigned or (OURS in there and TMRLS not in there and any(each.developer is False for each in seen.openplanets)):
        reason = f"“{unsigned[-1]}”" if unsigned else "it is not in developer mode"
        yield wrong(
            AREA,
            "signature",
            f"OpenPlanet does not load the plugin, for it is not signed: {reason}",
            f"{DEVELOPER}. The signed {TMRLS}.op of TMRL's tells the same and loads in every mode",
            code="plugin-unsigned",
        )
    elif telling and "is taken" in telling[-1]:
        yield wrong(
            AREA,
            "plugin's port",
            f"the plugin finds its port taken: “{telling[-1]}”",
            f"unload the other plugin ({TMRLS}, or one with the same port), or set another port in the game (F3, Openplanet, "
            "Settings, "
            "tmrld) and in trackmania.telemetry_port",
            code="plugin-port-taken",
        )
    elif telling:
        yield wrong(
            AREA,
            "plugin's log",
            f"OpenPlanet's log tells of an error in the plugin: “{telling[-1]}”",
            f"update OpenPlanet and the game, `{INSTALL}`, then {RELOAD}",
            code="plugin-error",
        )


def _judge_replays_log(log: list[str], wish: Wish) -> Iterator[Diagnosis]:
    if not wish.replays:
        return
    if any(_names(GHOSTS, line) and "signature" in line.lower() for line in log):
        yield wrong(
            AREA,
            "replays",
            f"OpenPlanet does not load {GHOSTS}, for it is not signed",
            f"{DEVELOPER}; or get a newer, signed one; or set trackmania.save_replays = false",
            code="replay-plugin-unsigned",
        )
    refused = [line for line in log if "no replay" in line]
    if refused:
        yield wrong(
            AREA,
            "replays",
            f"the game saved no replay: “{refused[-1]}”",
            "what the plugin says there; saving replays needs Club access, and a race on this machine, no online one. Without: "
            "set "
            "trackmania.save_replays = false",
            code="replay-refused",
        )


def _names(name: str, line: str) -> bool:
    """Whether a line of the log is about a plugin."""
    return re.search(rf"\b{name}\b", line) is not None


def _numbers(version: str) -> list[int]:
    """To compare by."""
    return [int(number) for number in re.findall(r"\d+", version)]
