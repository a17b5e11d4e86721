"""OpenPlanet's folder: where it is, and what it has of our plugin.  Nothing is changed here.

OpenPlanet keeps everything of a player's in one folder, `FOLDER`, in the user's own; under Proton or Wine, in that of the prefix in
which the game runs.  A plugin is a file ``Plugins/ID.op``, a ZIP archive with an ``info.toml``, or a folder ``Plugins/ID`` with
the same in it.  Its settings are OpenPlanet's to keep, elsewhere, so that a plugin can be replaced as a whole.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tmrld.errors import BadInput, NotFound

FOLDER = "OpenplanetNext"
"""Of the OpenPlanet for TrackMania 2020; those for other games have other names."""
ID = "tmrld"
"""What OpenPlanet calls our plugin, after its file."""
SOURCES = Path(__file__).with_name("plugin") / ID
FILE = f"{ID}.op"
STEAM_ID = "2225070"
"""Steam's number of Trackmania, and the name of its prefix."""
STEAM = (
    ".steam/steam",
    ".local/share/Steam",
    ".steam/debian-installation",
    ".var/app/com.valvesoftware.Steam/.local/share/Steam",
    "snap/steam/common/.local/share/Steam",
)
"""Where Steam may be on Linux, in the user's folder; these are often links to one another."""
RIVALS = ("TMRL_GrabData", "TMRL_SaveGhost")
"""TMRL's plugins: they take the ports that ours takes, 9000 and 10000."""

_ARCHIVED = (1980, 1, 1, 0, 0, 0)
"""The date of each file in our archive, so that the archive is the same whenever it is made."""
_INFO_BYTES = 1 << 16
_LOG_BYTES = 1 << 18
_LOG_LINES = 5


# Our plugin


@functools.cache
def packed() -> bytes:
    """Our plugin as one file, byte for byte the same each time."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(SOURCES.iterdir()):
            if file.suffix == ".as" or file.name == "info.toml":
                archive.writestr(zipfile.ZipInfo(file.name, _ARCHIVED), file.read_bytes())
    return data.getvalue()


def version_of(archive: bytes) -> str:
    """The version that a plugin's file tells of itself.  Raises BadInput when it is no plugin's."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files, files.open("info.toml") as info:
            told: object = tomllib.loads(info.read(_INFO_BYTES).decode("utf-8-sig"))["meta"]["version"]
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise BadInput(f"this is no plugin for OpenPlanet: {error}") from error
    return str(told)


# Where it is


def plugin_folder(given: Path) -> Path:
    """The folder for plugins that a person means: that folder, or OpenPlanet's.  Raises NotFound when it is neither."""
    folder = given.expanduser().absolute()
    if folder.name != "Plugins" and (folder.name == FOLDER or (folder / "Plugins").is_dir()):
        folder = folder / "Plugins"
    if folder.is_dir() or (folder.name == "Plugins" and folder.parent.is_dir()):
        return folder
    raise NotFound(f"there is no folder {folder}: give OpenPlanet's folder for plugins, which ends with {FOLDER}/Plugins")


def find(home: Path, environ: Mapping[str, str], system: str) -> Path:
    """The folder for plugins of the OpenPlanet of the user with that ``home``.  Raises NotFound, which says where was looked."""
    looked = list(dict.fromkeys(folders(home, environ, system)))
    for folder in looked:
        if folder.is_dir():
            return folder / "Plugins"
    shown = ", ".join(map(str, looked[:4])) + (f" and {len(looked) - 4} more" if len(looked) > 4 else "")
    raise NotFound(
        f"there is no OpenPlanet for TrackMania 2020 here (looked for {shown}): install it from https://openplanet.dev, start the "
        "game once, and try again; or name its folder with --plugins-folder"
    )


def folders(home: Path, environ: Mapping[str, str], system: str) -> Iterator[Path]:
    """Where OpenPlanet's folder may be, the likeliest first; few of these exist."""
    if system == "win32":
        yield Path(environ.get("USERPROFILE") or home) / FOLDER
        return
    if environ.get("WINEPREFIX"):
        yield from _in_prefix(Path(environ["WINEPREFIX"]).expanduser())
    for library in _libraries(home):
        yield library / "steamapps" / "compatdata" / STEAM_ID / "pfx" / "drive_c" / "users" / "steamuser" / FOLDER
    for pattern in (".wine", "Games/*", ".local/share/lutris/prefixes/*", ".var/app/net.lutris.Lutris/data/lutris/prefixes/*"):
        for prefix in sorted(home.glob(pattern)):
            yield from _in_prefix(prefix)
    yield home / FOLDER


def documents(openplanet: Path) -> Path:
    """The folder of the user's documents beside OpenPlanet's; on Windows it may have been moved elsewhere."""
    return openplanet.parent / "Documents"


def _in_prefix(prefix: Path) -> Iterator[Path]:
    """In each user's folder of a prefix of Wine's; Proton's prefixes have one folder more."""
    for drive in (prefix / "drive_c", prefix / "pfx" / "drive_c"):
        for user in sorted((drive / "users").glob("*")):
            if user.name != "Public":
                yield user / FOLDER


def _libraries(home: Path) -> Iterator[Path]:
    """Folders in which Steam keeps games: its own, and those on other disks, which it lists."""
    for place in STEAM:
        root = home / place
        yield root
        with contextlib.suppress(OSError):
            listed = (root / "steamapps" / "libraryfolders.vdf").read_text("utf-8", "replace")
            for path in re.findall(r'"path"\s+"((?:[^"\\]|\\.)*)"', listed):
                yield Path(re.sub(r"\\(.)", r"\1", path))


# What it has


@dataclass(frozen=True)
class Running:
    """What our plugin wrote down when it last began: its version, and its ports."""

    version: str
    telemetry_port: int
    replay_port: int


@dataclass(frozen=True)
class Look:
    """What OpenPlanet's folder tells.  None is what it does not tell."""

    plugins: Path
    version: str | None
    """Of our plugin there; "" when its file is damaged, None when there is none."""
    is_current: bool
    """Whether its file is the one that we would put there."""
    has_sources: bool
    """Whether there is a folder with a plugin of that name, too, which OpenPlanet prefers in its developer mode."""
    rivals: tuple[str, ...]
    """TMRL's plugins that are there."""
    developer: bool | None
    """Whether OpenPlanet was in developer mode when the game was last closed: in other modes it loads signed plugins alone."""
    running: Running | None
    log: tuple[str, ...]
    """The last lines of OpenPlanet's log that name our plugin."""


def look(plugins: Path) -> Look:
    """Look into that folder for plugins, and around it.  What cannot be read is not there."""
    openplanet = plugins.parent
    version, archive = None, None
    with contextlib.suppress(OSError):
        archive = (plugins / FILE).read_bytes()
        version = ""
        with contextlib.suppress(BadInput):
            version = version_of(archive)
    return Look(
        plugins=plugins,
        version=version,
        is_current=archive == packed(),
        has_sources=(plugins / ID).is_dir(),
        rivals=tuple(name for name in RIVALS if (plugins / f"{name}.op").exists() or (plugins / name).is_dir()),
        developer=_developer_mode(openplanet / "Settings.ini"),
        running=_running(openplanet / "PluginStorage" / ID / "running.json"),
        log=_log(openplanet / "Openplanet.log"),
    )


def _developer_mode(settings: Path) -> bool | None:
    """OpenPlanet's documentation does not tell of this line, but people's scripts read it."""
    with contextlib.suppress(OSError):
        found = re.search(r"^\s*DeveloperMode\s*=\s*(true|false)\s*$", settings.read_text("utf-8", "replace"), re.M | re.I)
        if found:
            return found[1].casefold() == "true"
    return None


def _running(file: Path) -> Running | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        word = json.loads(file.read_text("utf-8"))
        return Running(str(word["version"]), int(word["telemetry_port"]), int(word["replay_port"]))
    return None


def _log(file: Path) -> tuple[str, ...]:
    with contextlib.suppress(OSError), file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - _LOG_BYTES))
        lines = log.read().decode("utf-8", "replace").splitlines()
        return tuple(line.strip() for line in lines if ID in line.casefold())[-_LOG_LINES:]
    return ()
