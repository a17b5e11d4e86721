"""The stand-in as a program: a window titled like the game, the ports of its plugins, and frames by the clock until it is ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tmrld.envs.sim.tracks import changes, named
from tmrld.envs.standin.evdev import EvdevPad
from tmrld.envs.standin.game import Game
from tmrld.envs.standin.inputs import strongest
from tmrld.envs.standin.ports import ReplayPort, TelemetryPort
from tmrld.envs.standin.race import Race
from tmrld.envs.trackmania.telemetry import pack
from tmrld.errors import BadInput, TmrldError, WorldError

if TYPE_CHECKING:
    from tmrld.envs.standin.window import Window

LONGEST_FRAME_S = 0.25
"""What a frame takes longer than this (a computer that slept) passes without the world's notice."""


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    track: str
    title: str
    width: int
    height: int
    fps: int
    speed: float
    """So many seconds of the world pass in one of the clock."""
    countdown_s: float
    in_menu: bool
    telemetry_port: int
    replay_port: int
    replays: Path
    gamepads: tuple[Path, ...]
    """Files of pads; those that SDL knows are found without."""


@dataclass(frozen=True)
class Ready:
    """What there is once the window is open."""

    track: str
    length_m: float
    title: str
    size: tuple[int, int]
    window: int
    """The window's number in its window system."""
    display: str
    telemetry_port: int
    replay_port: int


Told = Callable[[Ready], None]
Saved = Callable[[Path | TmrldError], None]


def run(wanted: Wanted, ready: Told, saved: Saved) -> None:
    """Be the game until the window is closed, or SIGINT or SIGTERM comes.  Must be called in the main thread.

    ``ready`` is told once the window is open, ``saved`` of each replay that was asked for: its path, or why there is none.
    Raises BadInput and Conflict.
    """
    track = named(wanted.track)
    if changes(wanted.track):
        raise WorldError(f"{wanted.track} is another track for each episode: name one, for example {wanted.track[:-3]}17")
    with ExitStack() as stack:
        telemetry = TelemetryPort(wanted.telemetry_port)
        stack.callback(telemetry.close)
        replays = ReplayPort(wanted.replay_port)
        stack.callback(replays.close)
        pads = [EvdevPad(path) for path in wanted.gamepads]
        for pad in pads:
            stack.callback(pad.close)
        stopped = stack.enter_context(_stopping())
        window = _window(wanted)
        stack.callback(window.close)
        game = Game(track, Race(wanted.countdown_s, in_menu=wanted.in_menu))
        display = os.environ.get("DISPLAY", window.driver) if window.driver == "x11" else window.driver
        ready(Ready(track.name, track.length, wanted.title, window.size, window.id, display, telemetry.port, replays.port))
        for elapsed_s in frames(wanted.fps, time.perf_counter, time.sleep):
            heard = window.hear()
            for press in chain(heard.presses, *(pad.presses() for pad in pads)):
                game.press(press)
            for click in heard.clicks:
                game.race.click(*click)
            game.pass_time(elapsed_s * wanted.speed, strongest(heard.held, *(pad.held for pad in pads)))
            if game.record is not None:
                telemetry.send(pack(game.record))
            for _ in range(replays.calls()):
                saved(_saved(game, wanted.replays))
            window.show(game.viewpoint, game.race.phase, game.lap_time_s, in_menu=game.race.in_menu)
            if heard.closed or stopped():
                return


def _saved(game: Game, folder: Path) -> Path | TmrldError:
    """A full disk is no reason to stop driving."""
    try:
        return game.recording.save(folder)
    except TmrldError as error:
        return error


def frames(fps: int, clock: Callable[[], float], sleep: Callable[[float], None]) -> Iterator[float]:
    """When it is time for a frame: how many seconds have passed since the last one.  A late frame is not made up for."""
    last = due = clock()
    while True:
        due = max(due + 1.0 / fps, clock())
        sleep(max(0.0, due - clock()))
        now = clock()
        yield min(now - last, LONGEST_FRAME_S)
        last = now


def _window(wanted: Wanted) -> Window:
    """Raises BadInput."""
    if sys.platform == "linux":
        os.environ.setdefault("SDL_VIDEODRIVER", "x11")  # so that whoever drives finds the window, on Wayland, too
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        from tmrld.envs.standin.window import Window
    except ModuleNotFoundError as error:
        if error.name != "pygame":
            raise
        raise BadInput("the window needs pygame, which is not installed here: pip install 'tmrld[view]'") from error
    return Window(wanted.title, wanted.width, wanted.height)


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM has come; SDL would take the latter."""
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
