"""A drive in a window while it happens, with a person at the keys or to look on: `tmrld env view` and `tmrld env run --policy human`.

The environment is stepped in a thread of its own, and this one draws: the newest step, whenever it has time, so that a slow screen
makes no step late.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tmrld.envs.options import OURS, EnvironmentOptions
from tmrld.envs.registry import Env, describe, make
from tmrld.envs.trackmania.windows import Area, find
from tmrld.errors import BadInput
from tmrld.worker.driving import Drive, Driver, driven, driver_named, drives_the_game
from tmrld.worker.hands import DRIVING, Hands
from tmrld.worker.stage import Sight, Stage
from tmrld.worker.window import Keys, PictureWindow, beside, in_corner

SIZE = (1280, 720)
"""Of what is drawn, in pixels."""
SWITCH_S = 0.001
"""A thread that draws lets the one that drives go first after this time; Python's own value is 5 ms, a tenth of a time step."""


def watched(
    options: EnvironmentOptions,
    policy: str,
    seed: int,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    perturbed: bool = False,
    record: bool = False,
    beams: bool = True,
    say: Callable[[str], None] = lambda sentence: None,
    instead: str = "leave the window out",
) -> Iterator[Drive]:
    """Drive in a window, and yield each episode as it ends; until ``episodes`` or ``steps`` are driven, or a person has enough.

    ``policy`` is one of `driving.driver_named`'s; "human" drives the simulator with this window's keys.  ``options`` are in real
    time.  ``record`` keeps all steps.  Raises BadInput where there is no picture, no display or no such policy, and
    GameError where there is no game.
    """
    if options.id not in OURS:
        raise BadInput(f"{options.id} has no picture to show: {', '.join(OURS)} have")
    in_game = options.game == "trackmania"
    by_keys = policy == "human" and not in_game
    environment = make(options, "rgb_array" if in_game else None)
    try:
        spec = describe(environment, options)
        stage = Stage(
            spec,
            capture=environment.render if in_game else None,  # type: ignore[arg-type]  # never None with a render mode
            late_steps=lambda: getattr(environment.unwrapped, "late_steps", 0),
            steps=steps,
            by_keys=by_keys,
        )
        driver = Driver(stage.choose) if by_keys else driver_named(policy, spec, seed)
        caption = "you drive" if policy == "human" else Path(policy).name
        seeds = itertools.islice(itertools.count(seed), episodes)

        def say_and_show(sentence: str) -> None:
            say(sentence)
            stage.say(sentence)

        place = _place(options, say) if in_game else None
        with _Driving(
            environment, options, driver, seeds, stage, perturbed=perturbed, record=record, say=say_and_show
        ) as driving:
            yield from _shown(driving, stage, options, caption, place, beams=beams, by_keys=by_keys, instead=instead)
    finally:
        environment.close()


class _Driving:
    """A thread that drives, from when it is started to the end of the block."""

    def __init__(
        self,
        environment: Env,
        options: EnvironmentOptions,
        driver: Driver,
        seeds: Iterator[int],
        stage: Stage,
        *,
        perturbed: bool,
        record: bool,
        say: Callable[[str], None],
    ) -> None:
        self._drives = driven(environment, options, driver, seeds, perturbed=perturbed, record=record, audience=stage, say=say)
        self._stage = stage
        self._done: queue.SimpleQueue[Drive] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)

    def __enter__(self) -> _Driving:
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.ended = True
        if self._thread.ident is not None:
            self._thread.join()

    def start(self) -> None:
        """Begin to drive."""
        self._thread.start()

    @property
    def goes_on(self) -> bool:
        """Whether there is more to come."""
        return self._thread.is_alive()

    def finished(self) -> Iterator[Drive]:
        """The episodes that have ended since the last call.  Raises what ended the driving, if that was an error."""
        over = not self._thread.is_alive()
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._done.get_nowait()
        if over and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for drive in self._drives:
                self._done.put(drive)
        except BaseException as error:  # whatever it is, the thread that draws has to know
            self._error = error


def _shown(
    driving: _Driving,
    stage: Stage,
    options: EnvironmentOptions,
    caption: str,
    place: Area | None,
    *,
    beams: bool,
    by_keys: bool,
    instead: str,
) -> Iterator[Drive]:
    """Show what is driven until it is over."""
    hint = "Esc: end"
    if by_keys:
        hint = "arrows or W A S D: drive · Backspace: again · Esc: end"
    elif not drives_the_game(options):
        hint = "Backspace: again · Esc: end"
    with PictureWindow(f"tmrld · {options.id}", *SIZE, place=place, instead=instead) as window, _quick_switches():
        from tmrld.worker.cockpit import Cockpit

        cockpit = Cockpit(options, caption, beams=beams, hint=hint)
        hands = Hands()
        shown: tuple[Sight | None, str] = None, ""
        driving.start()
        while driving.goes_on:
            keys = window.keys()
            _obey(keys, stage, hands, by_keys=by_keys)
            now = stage.newest, stage.notice
            if now != shown:
                cockpit.paint(window.surface, *now)
                window.show()
                shown = now
            yield from driving.finished()
        yield from driving.finished()


def _place(options: EnvironmentOptions, say: Callable[[str], None]) -> Area:
    """Where our window leaves the game's free, whose pixels are taken from the screen.  Raises GameError where there is no game."""
    with contextlib.closing(find(options.trackmania.window_title)) as window:
        area, screen = window.area(), window.screen()
    game = Area(area.left, area.top, *options.window).moved_onto(screen)  # as the game will be from the first reset on
    place = beside(game, screen, *SIZE)
    if place is not None:
        return place
    say(
        "this window covers part of the game, which is captured from the screen: move the game to a corner, make "
        "environment.window_width and environment.window_height smaller, or use a larger screen, and start again"
    )
    return in_corner(screen, *SIZE)


def _obey(keys: Keys, stage: Stage, hands: Hands, *, by_keys: bool) -> None:
    """Hand on what a person wants."""
    if "end" in keys.pressed or ("q" in keys.pressed and not by_keys):
        stage.ended = True
    if "again" in keys.pressed:
        stage.again = True
    if by_keys:
        stage.action = np.array(hands.move(keys.held, keys.seconds), np.float32)
        if keys.held.intersection(DRIVING):
            stage.start()


@contextlib.contextmanager
def _quick_switches() -> Iterator[Any]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
