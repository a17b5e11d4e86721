"""`tmrld trackmania`: what the game needs on this machine: our plugin in OpenPlanet, the driver of gamepads, and a window."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld import __version__
from tmrld.commands.asking import print_json
from tmrld.commands.flags import add_settings_flags, load_settings
from tmrld.errors import Conflict, GameError, StorageError

if TYPE_CHECKING:
    from tmrld.envs.options import EnvironmentOptions
    from tmrld.envs.trackmania.display import Display
    from tmrld.envs.trackmania.installing import Found, Part, Wanted

MARKS = {True: "✓", False: "✗"}
DONE = (0, 3010)
"""What Windows' installer ends with when it has done its work; the second asks to start Windows anew."""


def add(commands: Any) -> None:
    """Add `tmrld trackmania` to the command line."""
    trackmania = commands.add_parser(
        "trackmania",
        help="the game on this machine: install, status, uninstall",
        description="What TrackMania 2020 needs on this machine: our plugin in OpenPlanet, the driver of gamepads, and a window.",
    )
    actions = trackmania.add_subparsers(required=True, metavar="ACTION")
    install = actions.add_parser(
        "install",
        help="put the plugin in place, and say what is left to do in the game",
        description="Puts our plugin into OpenPlanet's folder, offers to install the driver of gamepads, has the game start in a "
        "window of the right size, and lists what only you can do in the game.  It can be run again at any time.",
    )
    _add_place(install)
    install.add_argument("--dry-run", action="store_true", help="only say what would be done")
    install.add_argument("--no-driver", action="store_true", help="leave the driver of gamepads alone")
    install.add_argument("--no-window", action="store_true", help="leave the game's settings of its screen alone")
    install.add_argument("--yes", action="store_true", help="start the driver's installer without asking")
    install.set_defaults(command=_install)
    status = actions.add_parser("status", help="what is installed")
    _add_place(status)
    status.set_defaults(command=_status)
    uninstall = actions.add_parser("uninstall", help="remove the plugin, and nothing else")
    _add_place(uninstall)
    uninstall.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    uninstall.set_defaults(command=_uninstall)


def _add_place(parser: argparse.ArgumentParser) -> None:
    add_settings_flags(parser)
    parser.add_argument("--plugins-folder", type=Path, metavar="DIR", help="OpenPlanet's folder for plugins (default: found)")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


# Commands


def _install(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.trackmania.installing import clicks, parts

    wanted = _wanted(load_settings(options).run.environment)
    found = _look(_plugins(options), driver=not options.no_driver, display=not options.no_window)
    ahead = list(parts(found, wanted, __version__))
    quiet = options.json
    undone: list[str] = []
    for part in ahead:
        if not quiet:
            _show(part)
        if not options.dry_run and part.action not in ("nothing", "tell"):
            undone += _do(part, found, wanted, consent=options.yes, quiet=quiet)
    copied = any(part.action == "copy" for part in ahead)
    left = clicks(found, wanted, copied=copied)
    if quiet:
        print_json({**_facts(found, ahead), "changed": not options.dry_run, "undone": undone, "clicks": left})
        return 0
    if options.dry_run:
        print("\nnothing was changed (--dry-run)")
    print("\nwhat is left to you:")
    for number, step in enumerate(left, 1):
        print(f"{number:3}. {step}")
    return 0


def _status(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.trackmania.installing import parts

    wanted = _wanted(load_settings(options).run.environment)
    found = _look(_plugins(options))
    standing = list(parts(found, wanted, __version__))
    if options.json:
        print_json(_facts(found, standing))
        return 0
    for part in standing:
        _show(part, intents=False)
    look = found.look
    if look.running is not None:
        running = look.running
        print(f"  it ran last as {running.version}, on the ports {running.telemetry_port} and {running.replay_port}")
    if look.developer is not None:
        print(f"  OpenPlanet was {'' if look.developer else 'not '}in developer mode when the game was last closed")
    for name in look.rivals:
        print(f"  {name} is there, too, and wants the same port")
    if look.log:
        print("  OpenPlanet's log says last:", *look.log, sep="\n    ")
    if not all(part.is_ready for part in standing):
        chosen = "" if options.plugins_folder is None else f' --plugins-folder "{options.plugins_folder}"'
        print(f"\nto put this right: tmrld trackmania install{chosen}")
    return 0


def _uninstall(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.trackmania.openplanet import FILE, ID
    from tmrld.storage.files import remove_file

    plugins = _plugins(options)
    storage = plugins.parent / "PluginStorage" / ID
    ours = [file for file in (plugins / FILE, storage / "running.json") if file.exists()]
    if not options.dry_run:
        for file in ours:
            remove_file(file)
        with contextlib.suppress(OSError):  # what else is in it is somebody's
            storage.rmdir()
    if options.json:
        print_json({"plugins_folder": str(plugins), "removed": [str(file) for file in ours], "changed": not options.dry_run})
        return 0
    for file in ours:
        print(f"{'would remove' if options.dry_run else 'removed'} {file}")
    if not ours:
        print(f"the plugin is not in {plugins}: there is nothing to remove")
    elif not options.dry_run:
        print("a game that runs keeps the plugin until it is closed")
    if (plugins / ID).is_dir():
        print(f"the folder {plugins / ID} was not made by this command, and stays")
    return 0


# Looking


def _plugins(options: argparse.Namespace) -> Path:
    from tmrld.envs.trackmania.openplanet import find, plugin_folder

    if options.plugins_folder is not None:
        return plugin_folder(options.plugins_folder)
    return find(Path.home(), os.environ, sys.platform)


def _wanted(environment: EnvironmentOptions) -> Wanted:
    from tmrld.envs.options import FULL_ID
    from tmrld.envs.trackmania.installing import Wanted

    width, height = environment.window
    game = environment.trackmania
    return Wanted(
        title=game.window_title,
        width=width,
        height=height,
        is_lidar=environment.id != FULL_ID,
        telemetry_port=game.telemetry_port,
        replay_port=game.replay_port,
        saves_replays=game.save_replays,
    )


def _look(plugins: Path, *, driver: bool = True, display: bool = True) -> Found:
    from tmrld.envs.trackmania import driver as drivers
    from tmrld.envs.trackmania.installing import Found
    from tmrld.envs.trackmania.openplanet import look

    screen, problem = _display(plugins) if display else (None, "")
    return Found(
        look=look(plugins),
        driver=drivers.judge(drivers.gather(), os.environ) if driver else None,
        display=screen,
        display_problem=problem,
        game_runs=_game_runs(),
    )


def _display(plugins: Path) -> tuple[Display | None, str]:
    """The game's settings of its screen, or why there are none."""
    from tmrld.envs.trackmania.display import config_file, parse

    documents = _documents(plugins)
    file = config_file(documents)
    if file is None:
        return None, f"the game has not been started yet: it has left no settings in {documents}"
    try:
        return parse(file, file.read_text("utf-8")), ""
    except (OSError, UnicodeDecodeError) as error:
        return None, f"the game's settings in {file} cannot be read: {error}"
    except GameError as error:
        return None, str(error)


def _documents(plugins: Path) -> Path:
    from tmrld.envs.trackmania.openplanet import documents

    if sys.platform == "win32":
        from tmrld.envs.trackmania.installed_win32 import documents as moved

        if plugins.is_relative_to(Path.home()):
            return moved() or documents(plugins.parent)
    return documents(plugins.parent)


def _game_runs() -> bool:
    """Whether there is a process of the game's."""
    import psutil

    return any((process.info["name"] or "").casefold() == "trackmania.exe" for process in psutil.process_iter(["name"]))


# Doing


def _do(part: Part, found: Found, wanted: Wanted, *, consent: bool, quiet: bool) -> list[str]:
    """Do what was said; returns what did not work, and tells it unless it is to be quiet."""
    try:
        if part.action == "copy":
            _copy(found.look.plugins)
        elif part.action == "edit":
            _edit(found.display, wanted)
        elif part.action == "resize":
            _resize(wanted)
        elif part.action == "start" and found.driver is not None:
            consented(input if sys.stdin.isatty() and not quiet else None, given=consent)
            start(found.driver.installer)
    except (GameError, StorageError, Conflict) as error:
        if part.action == "copy":
            if found.game_runs:
                raise GameError(f"{error} The game has the file open: close it, and try again") from error
            raise
        if not quiet:
            print(f"    {error}")
        return [str(error)]
    if not quiet:
        print("    done")
    return []


def _copy(plugins: Path) -> None:
    """The plugin as one file, replaced at once."""
    from tmrld.envs.trackmania.openplanet import FILE, packed
    from tmrld.storage.files import make_folder, write_atomic

    write_atomic(make_folder(plugins) / FILE, packed())


def _edit(display: Display | None, wanted: Wanted) -> None:
    """The game's settings, in which nothing else is changed."""
    from tmrld.envs.trackmania.display import windowed
    from tmrld.storage.files import read_file, write_atomic

    assert display is not None, "it was looked at"
    try:
        text = read_file(display.file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise GameError(f"the game's settings in {display.file} are no text: {error}") from error
    write_atomic(display.file, windowed(display.file, text, wanted.width, wanted.height).encode("utf-8"))


def _resize(wanted: Wanted) -> None:
    from tmrld.envs.trackmania.windows import find

    window = find(wanted.title)
    try:
        window.resize(wanted.width, wanted.height)
    finally:
        window.close()


def consented(ask: Callable[[str], str] | None, *, given: bool) -> None:
    """Raises Conflict unless the person agrees that an installer is started; ``ask`` is None where nobody can be asked."""
    if given:
        return
    if ask is None:
        raise Conflict("it is started only when you agree: run this in a terminal, or with --yes")
    if ask("    Start it now? [y/N] ").strip().casefold() not in ("y", "yes"):
        raise Conflict("it was not started")


def start(installer: Sequence[str]) -> None:
    """Run an installer, which asks for an administrator's rights by itself.  Raises GameError when it did not do its work."""
    try:
        ended = subprocess.run(installer, check=False).returncode  # noqa: S603 - the command is ours, and was shown
    except OSError as error:
        raise GameError(f"the driver's installer cannot be started: {error}") from error
    if ended not in DONE:
        raise GameError(f"the driver's installer ended with {ended}, without having installed it")


# Showing


def _show(part: Part, *, intents: bool = True) -> None:
    print(f"{MARKS[part.is_ready]} {part.text}", flush=True)
    if intents and part.intent:
        print(f"  → {part.intent}", flush=True)
    elif not part.is_ready and part.commands:
        print("  run", *part.commands, sep="\n    ", flush=True)


def _facts(found: Found, standing: Sequence[Part]) -> dict[str, Any]:
    look = found.look
    return {
        "plugins_folder": str(look.plugins),
        "plugin_version": look.version,
        "version": __version__,
        "parts": [asdict(part) for part in standing],
        "rivals": list(look.rivals),
        "developer_mode": look.developer,
        "running": None if look.running is None else asdict(look.running),
        "game_runs": found.game_runs,
        "log": list(look.log),
    }
