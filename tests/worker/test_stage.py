"""What a drive that is watched shows, and what a person may do about it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tmrld.envs.options import FULL_ID, EnvironmentOptions, RewardOptions
from tmrld.envs.registry import make
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.worker.driving import Drive, Driver, driven
from tmrld.worker.episode import Choice
from tmrld.worker.stage import PAST, Stage

OPTIONS = EnvironmentOptions(id=FULL_ID, max_steps=6)
SPEC = flavour_spec(OPTIONS)
GAS = np.array((1.0, 0.0, 0.0), np.float32)
PATIENCE_S = 60.0


@pytest.fixture
def env() -> Iterator[Any]:
    env = make(OPTIONS)
    yield env
    env.close()


def stage(**wanted: Any) -> Stage:
    return Stage(SPEC, **{"capture": None, "late_steps": lambda: 0, **wanted})


def until(condition: Callable[[], Any], what: str) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def drive(env: Any, audience: Stage, *seeds: int) -> list[Drive]:
    return list(driven(env, OPTIONS, Driver(lambda _o, _i: Choice(GAS, "scripted")), seeds, audience=audience))


def test_the_newest_step_is_shown_with_what_was_before(env: Any) -> None:
    shown = stage(late_steps=lambda: 3)
    drive(env, shown, 4)
    sight = shown.newest
    assert sight is not None
    assert (sight.seed, sight.late_steps, sight.picture) == (4, 3, None)
    assert len(sight.past) == 7
    assert sight.past[-1] is sight.scene
    assert sight.past[0].action == (0.0, 0.0, 0.0)
    assert sight.scene.action == (1.0, 0.0, 0.0)
    assert sight.scene.seen["images"].shape == (64, 64)
    assert sight.scene.time_s >= sight.past[0].time_s


def test_the_score_is_the_sum_of_the_rewards(env: Any) -> None:
    shown = stage()
    (found,) = drive(env, shown, 0)
    assert shown.newest is not None
    assert shown.newest.scene.score == pytest.approx(found.summary.episode_return)


def test_a_new_episode_begins_with_nothing_behind_it(env: Any) -> None:
    shown = stage()
    drive(env, shown, 0, 1)
    assert shown.newest is not None
    assert len(shown.newest.past) == 7


def test_only_the_newest_past_is_remembered() -> None:
    env = make(EnvironmentOptions(id=FULL_ID, max_steps=PAST + 20, reward=RewardOptions(min_steps=PAST + 20)))
    shown = stage(steps=PAST + 10)
    standing = Choice(np.zeros(3, np.float32), "scripted")
    list(driven(env, OPTIONS, Driver(lambda _o, _i: standing), (0,), audience=shown))
    env.close()
    assert shown.newest is not None
    assert len(shown.newest.past) == PAST


def test_it_is_over_after_so_many_steps(env: Any) -> None:
    shown = stage(steps=9)
    assert [found.seed for found in drive(env, shown, 0, 1, 2)] == [0]
    assert shown.has_enough
    assert shown.newest is not None
    assert len(shown.newest.past) == 4


def test_what_was_captured_is_shown(env: Any) -> None:
    pictures = iter(range(100))
    shown = stage(capture=lambda: np.full((2, 2, 3), next(pictures), np.uint8))
    drive(env, shown, 0)
    assert shown.newest is not None
    assert shown.newest.picture is not None
    assert shown.newest.picture.max() == 6


def test_whoever_drives_by_keys_begins_each_episode_and_chooses_each_action(env: Any) -> None:
    shown = stage(by_keys=True)
    found: list[Drive] = []

    def run() -> None:
        found.extend(driven(env, OPTIONS, Driver(shown.choose), (0, 1), audience=shown))

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: shown.notice == "press the up arrow or W to start", "the first start was not shown")
    assert shown.newest is not None
    assert len(shown.newest.past) == 1
    shown.action = GAS
    shown.start()
    until(lambda: shown.notice == "0% of the track · press the up arrow or W to start", "the second start was not shown")
    shown.ended = True
    thread.join(PATIENCE_S)
    assert [(each.summary.steps, each.summary.actor) for each in found] == [(6, "human")]
    assert not thread.is_alive()


def test_whoever_wants_to_begin_again_may(env: Any) -> None:
    shown = stage()
    calls = 0

    def choose(_observation: Any, _info: Any) -> Choice:
        nonlocal calls
        calls += 1
        shown.again = calls == 3
        return Choice(GAS, "scripted")

    found = list(driven(env, OPTIONS, Driver(choose), (0,), audience=shown))
    assert [each.summary.steps for each in found] == [6]
    assert calls == 3 + 6


def test_what_is_waited_for_is_told() -> None:
    shown = stage()
    shown.say("begin the race")
    assert (shown.notice, shown.newest) == ("begin the race", None)
