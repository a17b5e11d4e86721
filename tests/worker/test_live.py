"""Driving in a window: what is drawn and what is driven do not wait for each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pygame
import pytest
from pygame import Surface

from tests.support.x11 import Person
from tests.worker.test_window import focus
from tmrld.envs.options import LIDAR_ID, EnvironmentOptions, RewardOptions
from tmrld.envs.trackmania.windows import Area
from tmrld.errors import BadInput
from tmrld.worker import live
from tmrld.worker.cockpit import Cockpit
from tmrld.worker.driving import Drive, for_a_person
from tmrld.worker.live import watched
from tmrld.worker.stage import Sight, Stage

REAL_TIME = EnvironmentOptions(clock="realtime", time_step_s=0.02, start_obs_capture_s=0.016)
PATIENCE_S = 60.0
START = "press the up arrow or W to start"


@pytest.fixture(autouse=True)
def _display(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[Stage]:
    """The stages that are made, as they are made."""
    made: list[Stage] = []

    def make(*arguments: Any, **wanted: Any) -> Stage:
        made.append(Stage(*arguments, **wanted))
        return made[-1]

    monkeypatch.setattr(live, "Stage", make)
    return made


def painting(monkeypatch: pytest.MonkeyPatch, then: Callable[[Sight | None, str], None]) -> None:
    """Paint as always, and do this afterwards."""
    paint = Cockpit.paint

    def paint_and_more(cockpit: Cockpit, surface: Surface, sight: Sight | None, notice: str = "") -> None:
        paint(cockpit, surface, sight, notice)
        then(sight, notice)

    monkeypatch.setattr(Cockpit, "paint", paint_and_more)


def until(condition: Callable[[], Any], what: str) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_it_ends_after_so_many_steps_and_the_newest_were_shown(stages: list[Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Sight] = []
    painting(monkeypatch, lambda sight, _: shown.append(sight) if sight is not None else None)
    assert list(watched(REAL_TIME, "scripted", 0, steps=30)) == []
    (stage,) = stages
    assert stage.newest is not None
    assert len(stage.newest.past) == 31
    times = [sight.scene.time_s for sight in shown]
    assert times == sorted(times)
    assert 1 < len(shown) <= 31


def test_episodes_are_told_as_they_end() -> None:
    drives = list(watched(REAL_TIME.model_copy(update={"max_steps": 5}), "random", 7, episodes=2))
    assert [(drive.seed, drive.summary.steps) for drive in drives] == [(7, 5), (8, 5)]


def test_a_slow_screen_makes_no_step_wait(stages: list[Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture takes until five more steps are driven: whoever waited for the screen would wait for ever."""
    painted = 0

    def dawdle(sight: Sight | None, _notice: str) -> None:
        nonlocal painted
        painted += 1
        (stage,) = stages
        behind = len(sight.past) if sight is not None else 0
        until(lambda: stage.ended or (stage.newest and len(stage.newest.past) >= behind + 5), "driving waits for the screen")

    painting(monkeypatch, dawdle)
    list(watched(REAL_TIME, "scripted", 0, steps=40))
    assert stages[0].newest is not None
    assert len(stages[0].newest.past) == 41
    assert painted <= 41 / 5 + 2


def test_what_goes_wrong_in_driving_is_told_and_the_window_is_closed() -> None:
    broken = EnvironmentOptions.model_construct(**{**dict(REAL_TIME), "track": "nowhere"})
    with pytest.raises(BadInput, match="nowhere"):
        list(watched(broken, "scripted", 0))
    assert not pygame.display.get_init()


def test_an_error_while_it_is_driven_is_told(stages: list[Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sight: Sight | None, _notice: str) -> None:
        stages[0]._past = None  # type: ignore[assignment]

    painting(monkeypatch, fail)
    with pytest.raises(TypeError):
        list(watched(REAL_TIME, "scripted", 0))
    assert not pygame.display.get_init()
    assert not [thread for thread in threading.enumerate() if thread.name == "driver"]


def test_who_stops_looking_ends_the_driving() -> None:
    drives = watched(REAL_TIME.model_copy(update={"max_steps": 3}), "random", 0)
    next(drives)
    drives.close()  # type: ignore[attr-defined]
    assert not pygame.display.get_init()
    assert not [thread for thread in threading.enumerate() if thread.name == "driver"]


def test_what_has_no_picture_is_refused() -> None:
    with pytest.raises(BadInput, match="Pendulum-v1 has no picture to show: tmrld/TM20"):
        list(watched(EnvironmentOptions(id="Pendulum-v1"), "random", 0))


# A person at the keyboard


class Visitor(threading.Thread):
    """A person who looks at the window and does something about it; what fails there, fails here."""

    def __init__(self, act: Callable[[Person], None]) -> None:
        super().__init__()
        self._act = act
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with Person() as person:
                self._act(person)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join(PATIENCE_S)
        if self.error is not None:
            raise self.error


def test_a_person_drives_with_the_arrow_keys(stages: list[Stage]) -> None:
    """Straight on from the start: the car leaves the road where it bends, and the episode ends."""
    options = for_a_person(EnvironmentOptions(id=LIDAR_ID, reward=RewardOptions(max_stray=12.0)))

    found: list[Drive] = []

    def drive(person: Person) -> None:
        until(lambda: stages and stages[0].notice == START, "no start was shown")
        focus(pygame.display.get_wm_info()["window"])
        person.press("Up")
        until(lambda: stages[0].newest and stages[0].newest.scene.action == (1.0, 0.0, 0.0), "the key does not drive")
        person.release("Up")
        person.press("BackSpace")
        person.release("BackSpace")
        until(lambda: stages[0].notice == START, "it does not begin again")
        person.press("Up")
        until(lambda: found, "the episode does not end")
        person.press("Escape")
        person.release("Escape")

    with Visitor(drive):
        for drive_done in watched(options, "human", 0, beams=False):
            found.append(drive_done)  # one by one, as they end
    assert found[0].summary.actor == "human"
    assert 0.1 < found[0].summary.progress < 0.3
    assert not found[0].summary.finished


def test_a_person_who_looks_on_can_end_it(stages: list[Stage]) -> None:
    def leave(person: Person) -> None:
        until(lambda: stages and stages[0].newest, "nothing was shown")
        focus(pygame.display.get_wm_info()["window"])
        person.press("q")
        person.release("q")

    with Visitor(leave):
        list(watched(REAL_TIME, "scripted", 0))
    assert stages[0].ended


def test_steering_is_an_action_of_float32(stages: list[Stage]) -> None:
    def steer(person: Person) -> None:
        until(lambda: stages and stages[0].notice, "no start was shown")
        focus(pygame.display.get_wm_info()["window"])
        person.press("a")
        until(lambda: stages[0].action[2] == -1.0, "the wheel is not turned")
        person.press("Escape")
        person.release("Escape")

    with Visitor(steer):
        list(watched(for_a_person(EnvironmentOptions()), "human", 0))
    assert stages[0].action.dtype == np.float32


# Beside the game


class SomeGame:
    """A game's window at a place of a full HD screen."""

    def __init__(self, left: int, top: int) -> None:
        self._at = left, top

    def area(self) -> Area:
        return Area(*self._at, 640, 480)

    def screen(self) -> Area:
        return Area(0, 0, 1920, 1080)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("at", "place", "sentences"),
    [
        ((0, 0), Area(960, 540, 960, 540), 0),
        ((1900, 900), Area(2, 540, 960, 540), 0),
        ((460, 296), Area(1440, 810, 480, 270), 1),
    ],
)
def test_the_game_is_left_free_as_large_as_it_will_be(
    at: tuple[int, int], place: Area, sentences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "find", lambda _title: SomeGame(*at))
    said: list[str] = []
    game = EnvironmentOptions(game="trackmania", clock="realtime", track="line.npy", window_width=958, window_height=488)
    if sentences:
        game = game.model_copy(update={"window_width": 1000})
    assert live._place(game, said.append) == place
    assert [sentence.startswith("this window covers part of the game, which is captured") for sentence in said] == [
        True
    ] * sentences
