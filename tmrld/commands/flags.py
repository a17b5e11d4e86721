"""Flags that several commands have: settings, and numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tmrld.settings import Settings, assignment, load, merged


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """``--config``, ``--data`` and ``--set``."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (default: TMRLD_CONFIG, or tmrld.toml here)")
    parser.add_argument("--data", metavar="FOLDER", help="data folder (setting `data`)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. control.port=7500")


def add_game_flag(parser: argparse.ArgumentParser) -> None:
    """``--game``: which of the two worlds, in one word."""
    parser.add_argument(
        "--game",
        choices=("sim", "trackmania"),
        help="the simulator, or TrackMania in real time (default: the settings run.environment.game and .clock)",
    )


PROFILE_UPDATES = 20
"""Enough to see what each takes, and a file of some megabytes."""

GAMES: dict[str, dict[str, Any]] = {"sim": {"game": "sim"}, "trackmania": {"game": "trackmania", "clock": "realtime"}}
"""What ``--game`` says of a run's environment; the game waits for nobody."""


def add_profile_flag(parser: argparse.ArgumentParser) -> None:
    """``--profile``: have the trainer trace some of its updates."""
    parser.add_argument(
        "--profile",
        nargs="?",
        const=PROFILE_UPDATES,
        type=positive,
        metavar="UPDATES",
        help=f"trace so many updates of the trainer ({PROFILE_UPDATES}) into its data folder (setting trainer.profile_updates)",
    )


def load_settings(options: argparse.Namespace, **flags: Any) -> Settings:
    """The settings as these flags, and ``flags`` of the command's own, have them; None leaves one out.  Raises SettingsError."""
    tree: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    if options.data is not None:
        tree["data"] = options.data
    if getattr(options, "game", None) is not None:
        tree = merged(tree, {"run": {"environment": GAMES[options.game]}})
    if getattr(options, "profile", None) is not None:
        tree = merged(tree, {"trainer": {"profile_updates": options.profile}})
    for text in options.set:
        tree = merged(tree, assignment(text))
    return load(options.config, tree)


def whole(text: str) -> int:
    """A flag's value as a whole number from 0 up."""
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 up")
    return int(text)


def positive(text: str) -> int:
    """A flag's value as a whole number from 1 up."""
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
