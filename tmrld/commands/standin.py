"""`tmrld sim`: a program that stands in for the game."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.commands.flags import positive, whole
from tmrld.errors import TmrldError

if TYPE_CHECKING:
    from tmrld.envs.standin.program import Ready

SMALLEST, LARGEST = 64, 8192
"""Of a window's side, in pixels."""
FASTEST = 20.0
"""Beyond, a frame of the world would be longer than a driver can act on."""


def add(commands: Any) -> None:
    """Add `tmrld sim` to the command line."""
    sim = commands.add_parser(
        "sim",
        help="a window that stands in for the game: drive it yourself, or as the game is driven",
        description="A program that stands in for TrackMania: its window, its keys and gamepads, and the ports of its plugins, on a "
        "track of the simulator.  A run with game='trackmania' drives it as it drives the game.  Keys: arrows or W A S D; BackSpace "
        "or Delete gives up, Enter improves after a finish, Esc opens the menu.",
    )
    sim.add_argument("--track", default="default", metavar="NAME", help="as `tmrld track list` has them (default: default)")
    sim.add_argument("--title", default="Trackmania", help="title of the window (default: Trackmania)")
    sim.add_argument("--size", type=size, default=(958, 488), metavar="WxH", help="of its client area (default: 958x488)")
    sim.add_argument("--fps", type=positive, default=60, metavar="N", help="frames and records per second (default: 60)")
    sim.add_argument("--speed", type=speed, default=1.0, metavar="X", help="run the world X times as fast (default: 1)")
    sim.add_argument("--countdown", type=seconds, default=1.5, metavar="S", help="seconds before a race (default: 1.5)")
    sim.add_argument("--menu", action="store_true", help="start in the menu, not in a race")
    sim.add_argument(
        "--gamepad", type=Path, action="append", default=[], metavar="PATH", help="read an evdev device or a FIFO, too (Linux)"
    )
    sim.add_argument("--telemetry-port", type=port, default=9000, metavar="N", help="0 is any (default: 9000)")
    sim.add_argument("--replay-port", type=port, default=10000, metavar="N", help="0 is any (default: 10000)")
    sim.add_argument(
        "--replays", type=Path, default=Path("replays"), metavar="FOLDER", help="where replays go (default: replays, here)"
    )
    sim.add_argument("--json", action="store_true", help="print JSON, for scripts: what there is on the first line")
    sim.set_defaults(command=_sim)


def _sim(options: argparse.Namespace, _began: float) -> int:
    from tmrld.envs.standin.program import Wanted, run

    wanted = Wanted(
        track=options.track,
        title=options.title,
        width=options.size[0],
        height=options.size[1],
        fps=options.fps,
        speed=options.speed,
        countdown_s=options.countdown,
        in_menu=options.menu,
        telemetry_port=options.telemetry_port,
        replay_port=options.replay_port,
        replays=options.replays,
        gamepads=tuple(options.gamepad),
    )
    run(wanted, _ready(as_json=options.json), _saved(as_json=options.json))
    return 0


def _ready(*, as_json: bool) -> Callable[[Ready], None]:
    """Says what there is."""

    def say(ready: Ready) -> None:
        if as_json:
            print(json.dumps({"pid": os.getpid(), **asdict(ready)}), flush=True)
            return
        print(
            f"{ready.title}, {ready.size[0]} × {ready.size[1]} on {ready.display}: track {ready.track} ({ready.length_m:,.0f} m), "
            f"telemetry on port {ready.telemetry_port}, replays on port {ready.replay_port}",
            flush=True,
        )

    return say


def _saved(*, as_json: bool) -> Callable[[Path | TmrldError], None]:
    """Counts the replays, and says where each is."""
    count = 0

    def say(saved: Path | TmrldError) -> None:
        nonlocal count
        count += isinstance(saved, Path)
        if as_json:
            print(json.dumps({"replays": count, "error" if isinstance(saved, TmrldError) else "file": str(saved)}), flush=True)
        elif isinstance(saved, TmrldError):
            print(f"tmrld: {saved}", file=sys.stderr)
        else:
            print(f"replay {count}: {saved}", flush=True)

    return say


def size(text: str) -> tuple[int, int]:
    """A flag's value as width and height in pixels."""
    found = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 958x488, of sides from {SMALLEST} to {LARGEST} pixels")
    return width, height


def port(text: str) -> int:
    """A flag's value as the number of a port, or 0."""
    number = whole(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port: they end with 65535")
    return number


def speed(text: str) -> float:
    """A flag's value as a factor above 0."""
    factor = _number(text)
    if not 0.0 < factor <= FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no factor above 0, up to {FASTEST:g}")
    return factor


def seconds(text: str) -> float:
    """A flag's value as seconds from 0 up."""
    number = _number(text)
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 up")
    return number


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
