"""The game as a world to drive in: its screen, its telemetry, its controls and its window, tied together.

Four parts, each behind a few methods, know how one thing is done on one system; this module knows in which order the game wants them.
They are imported when a game is entered, not before: no display, gamepad driver or game is needed to import anything here.

What the telemetry does not tell is worked out: the heading is that of the last movement, and a lap's time is about that of the game:
from the reset's end, or a person's first movement, until the record that says "finished" arrived.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import EnvironmentOptions, TrackmaniaOptions, names_a_file
from tmrld.envs.trackmania.eyes import Eye, eye_of
from tmrld.envs.trackmania.interface import Moment, TrackmaniaInterface
from tmrld.envs.trackmania.telemetry import Record
from tmrld.envs.trackmania.tracks import name_of, read
from tmrld.envs.trackmania.windows import GameWindow, find
from tmrld.errors import GameError, WorldError

log = logging.getLogger(__name__)

REPLAY_S = 1.0
"""How long the game is left alone after it was asked to save a replay.  As in TMRL."""
POP_UP_S = 0.5
"""From the reset at an episode's end until what the finish shows is closed.  As in TMRL."""
LOOK_S = 0.05
"""How often it is looked whether a person still drives."""
STARTED_M = 0.05
"""A movement shorter than this does not tell where the car points."""


class Screen(Protocol):
    """What the game's window shows."""

    def grab(self) -> NDArray[np.uint8]:
        """The window's client area now: (height, width, 4) in blue, green, red, nothing; an array of its own.

        Raises GameError when the window is gone, or has another size than it was given.
        """

    def close(self) -> None:
        """Let go of the display; closing again does nothing."""


class Telemetry(Protocol):
    """What the plugin in the game tells."""

    def newest(self) -> Record:
        """The latest record.  Raises GameError, which names the cause, when it has come too long ago."""

    def fresh(self) -> Record:
        """The next record that arrives, or GameError when none does for a while."""

    def close(self) -> None:
        """Hang up; closing again does nothing."""


class Controls(Protocol):
    """Gamepad or keyboard, held by a process that lets go of them when it is not told anything for longer than a time step."""

    @property
    def user_drives(self) -> bool:
        """Whether a person has pressed a key not long ago: until it is theirs no more, nothing is held."""

    def hold(self, gas: float, brake: float, steer: float) -> None:
        """Hold these from now on: gas and brake 0 to 1, steer -1 to 1.  Raises GameError when the controls are lost."""

    def neutral(self) -> None:
        """Let go of everything."""

    def reset_race(self) -> None:
        """Press what begins the race anew; returns when it is released."""

    def close_pop_up(self) -> None:
        """Press what closes the window that a finish shows; returns when it is released."""

    def close(self) -> None:
        """Let go of everything and of the devices; closing again does nothing."""


@dataclass(frozen=True)
class Parts:
    """What the game is reached by."""

    window: GameWindow
    screen: Screen
    telemetry: Telemetry
    controls: Controls
    save_replay: Callable[[], None]

    def close(self) -> None:
        """Let go of everything, the controls first."""
        for part in (self.controls, self.screen, self.telemetry, self.window):
            part.close()


@dataclass(frozen=True, eq=False)
class RecordedCourse:
    """A line that somebody has driven."""

    name: str
    line: NDArray[np.float64]


def course_of(track: str, *, as_it_is: bool = False) -> RecordedCourse:
    """The line in the file that ``track`` names, resampled unless wanted ``as_it_is``.  Raises WorldError where there is none."""
    if not names_a_file(track):
        raise WorldError(
            f"track is {track!r}: for game='trackmania' it must be a track on the shelf (`tmrld track list` has those), or the path "
            "of a file with its line, .npy or text with x, y, z per line. `tmrld track show NAME --line FILE` writes that of a "
            "simulator's track, for `tmrld sim`"
        )
    return RecordedCourse(name_of(track), read(Path(track).expanduser(), as_it_is=as_it_is))


class GameWorld:
    """The game, from reset to reset.  Every method but `picture` belongs to the thread that steps the environment."""

    def __init__(self, course: RecordedCourse, eye: Eye, options: EnvironmentOptions, enter: Callable[[], Parts]) -> None:
        """``enter`` reaches for the game; it is called at the first reset, and again after the game was lost."""
        self.track = course
        self._eye = eye
        self._window = options.window
        self._options = options.trackmania
        self._scale = 1.0 / 3.6 if self._options.speed_unit == "km/h" else 1.0
        self._enter = enter
        self._parts: Parts | None = None
        self._image: NDArray[np.uint8] | None = None
        self._place: tuple[float, float] | None = None
        self._moving = False
        self._heading = 0.0
        self._began = 0.0
        self._lap_time_s: float | None = None

    @property
    def user_drives(self) -> bool:
        """Whether a person has taken the controls over."""
        return self._parts is not None and self._parts.controls.user_drives

    def reset(self, seed: int | None, options: dict[str, Any]) -> Moment:
        """From the start line; the seed changes nothing, and a start cannot be perturbed.  While a person drives, it waits.

        Raises GameError when the game cannot be reached, and when it does not leave the finish; the next reset reaches for it anew.
        """
        try:
            return self._begin(self._reached())
        except GameError:
            self.close()
            raise

    def _begin(self, parts: Parts) -> Moment:
        while parts.controls.user_drives:
            time.sleep(LOOK_S)
        parts.controls.neutral()
        if self._options.controls == "keyboard":  # keys go to whatever is in front
            parts.window.focus()
        self._restart(parts)
        record = parts.telemetry.fresh()
        if record.finished and self._options.controls != "none":  # what the finish shows is still there, and takes the keys
            parts.controls.close_pop_up()
            self._restart(parts)
            record = parts.telemetry.fresh()
            if record.finished:
                raise GameError(
                    "the game still says that the race is finished, after a reset and after closing what the finish shows: "
                    "begin a race by hand, and look whether the key or button for 'give up' is the game's default"
                )
        self._place = None
        self._moving = False
        self._heading = 0.0
        self._lap_time_s = None
        self._began = record.received
        return self._moment(parts.screen.grab(), record)

    def control(self, gas: float, brake: float, steer: float) -> None:
        """Hold these controls from now on, unless a person drives."""
        if self._options.controls != "none":
            self._reached().controls.hold(gas, brake, steer)

    def look(self) -> Moment:
        """Take a picture and the newest record."""
        parts = self._reached()
        image = parts.screen.grab()
        return self._moment(image, parts.telemetry.newest())

    def pause(self) -> None:
        """Nobody drives: hands off, a replay if wanted, and back to the start line with nothing in the way."""
        parts = self._reached()
        parts.controls.neutral()
        if self._options.save_replays:
            try:
                parts.save_replay()
            except GameError as error:  # the episode counts without it
                log.warning("a replay is not saved: %s", error)
            time.sleep(REPLAY_S)
        if self._options.controls != "none" and not parts.controls.user_drives:
            parts.controls.reset_race()
            time.sleep(POP_UP_S)
            parts.controls.close_pop_up()

    def picture(self) -> NDArray[np.uint8]:
        """The picture that was taken last, as RGB (height, width, 3).  Raises WorldError before the first reset."""
        if self._image is None:
            raise WorldError("the game has not been looked at: reset the environment first")
        return np.ascontiguousarray(self._image[:, :, 2::-1])

    def release(self) -> None:
        """Let go of everything at once, wherever the car is."""
        if self._parts is not None:
            self._parts.controls.neutral()

    def close(self) -> None:
        """Let go of the game; the next reset reaches for it again."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.close()

    def _reached(self) -> Parts:
        if self._parts is None:
            parts = self._enter()
            try:
                parts.window.resize(*self._window)
            except GameError:
                parts.close()
                raise
            if self._options.controls == "gamepad":
                try:
                    parts.window.focus()
                except GameError as error:
                    log.warning("the game may not heed a gamepad while it is not in front: %s", error)
            self._parts = parts
        return self._parts

    def _restart(self, parts: Parts) -> None:
        """Begin the race anew, and wait until it has begun."""
        if self._options.controls != "none":
            began = time.monotonic()
            parts.controls.reset_race()
            time.sleep(max(0.0, self._options.sleep_at_reset_s - (time.monotonic() - began)))

    def _moment(self, image: NDArray[np.uint8], record: Record) -> Moment:
        if self._place is not None:
            ahead_x, ahead_z = record.x - self._place[0], record.z - self._place[1]
            if math.hypot(ahead_x, ahead_z) > STARTED_M:
                self._heading = math.atan2(ahead_x, ahead_z)
                self._place = record.x, record.z
                self._moving = True
            elif not self._moving and self._options.controls == "none":
                self._began = record.received  # a person takes their time
        else:
            self._place = record.x, record.z
        self._image = image
        if record.finished and self._lap_time_s is None:
            self._lap_time_s = record.received - self._began
        return Moment(
            x=record.x,
            y=record.y,
            z=record.z,
            heading=self._heading,
            speed=record.speed * self._scale,
            gear=int(record.gear),
            rpm=record.rpm,
            seen=self._eye(image),
            finished=record.finished,
            lap_time_s=self._lap_time_s,
            held=(record.gas, record.braking, record.steer),
        )


class GameInterface(TrackmaniaInterface):
    """The game's side of a flavour, with a picture to look at."""

    def __init__(self, world: GameWorld, options: EnvironmentOptions) -> None:
        super().__init__(world, options)
        self._game = world

    def picture(self, _info: dict[str, Any]) -> NDArray[np.uint8]:
        """What the newest observation was made from: RGB, the window's (height, width, 3)."""
        return self._game.picture()


def game_interface(options: EnvironmentOptions) -> GameInterface:
    """The game as an rtgym interface.  Raises WorldError on a track that cannot be read; the game is reached at the first reset."""
    # TMRL drives on the points of its line, which lie a little closer where the road bends.
    course = course_of(options.track, as_it_is=options.compat == "tmrl")
    world = GameWorld(course, eye_of(options), options, lambda: _enter(options.trackmania, options.time_step_s))
    return GameInterface(world, options)


def _enter(options: TrackmaniaOptions, step_s: float) -> Parts:
    """Reach for the running game.  Raises GameError."""
    from tmrld.envs.trackmania import replays
    from tmrld.envs.trackmania.guarded import GuardedControls
    from tmrld.envs.trackmania.screen import WindowScreen
    from tmrld.envs.trackmania.telemetry import Receiver

    with contextlib.ExitStack() as stack:
        window = find(options.window_title)
        stack.callback(window.close)
        telemetry = Receiver(options.telemetry_host, options.telemetry_port, options.telemetry_stall_s)
        stack.callback(telemetry.close)
        screen = WindowScreen(window)
        stack.callback(screen.close)
        controls = GuardedControls(options.controls, options.window_title, step_s, options.hand_back_s)
        stack.pop_all()
        return Parts(window, screen, telemetry, controls, lambda: replays.save(options.telemetry_host, options.replay_port))
