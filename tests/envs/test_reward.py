"""TMRL's reward without the ways to cheat it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.options import RewardOptions
from tmrld.envs.sim.tracks import DEFAULT
from tmrld.envs.trackmania.reward import Progress
from tmrld.errors import WorldError

STRAIGHT = np.column_stack([np.zeros(5001), np.zeros(5001), np.arange(5001) * 0.1])  # 500 m along z


def drive(progress: Progress, *places: float) -> list[float]:
    """The rewards for being at these z, one after the other."""
    return [progress.step(0.0, 0.0, z).reward for z in places]


def test_ten_metres_pay_one() -> None:
    assert drive(Progress(STRAIGHT, RewardOptions()), 3.0, 13.0, 13.0) == pytest.approx([0.3, 1.0, 0.0])


def test_ground_pays_once() -> None:
    assert drive(Progress(STRAIGHT, RewardOptions()), 10.0, 9.0, 10.0, 8.0, 11.0) == pytest.approx([1.0, 0.0, 0.0, 0.0, 0.1])


@given(st.lists(st.floats(-20, 520), min_size=1, max_size=60))
@settings(deadline=None)
def test_no_way_of_driving_earns_more_than_the_ground_it_covered(places: list[float]) -> None:
    progress = Progress(STRAIGHT, RewardOptions(check_forward=500))
    earned = 0.0
    for z in places:
        outcome = progress.step(0.0, 0.0, z)
        assert outcome.reward >= 0.0
        earned += outcome.reward

    assert earned <= max(0.0, min(500.0, max(places))) / 10.0 + 0.01
    assert earned == pytest.approx(progress.share * 50.0)


@given(st.floats(1, 90), st.floats(0.2, 3.0), st.integers(2, 200))
@settings(deadline=None)
def test_going_back_and_forth_earns_nothing(start: float, swing: float, times: int) -> None:
    progress = Progress(STRAIGHT, RewardOptions(check_forward=5000))
    progress.step(0.0, 0.0, start)

    assert sum(drive(progress, *[start - swing, start] * times)) == pytest.approx(0.0, abs=0.011)


def test_an_oscillating_car_is_stopped() -> None:
    progress = Progress(STRAIGHT, RewardOptions())
    places = [10.0, 8.0] * 500
    ended = next(step for step, z in enumerate(places, 1) if progress.step(0.0, 0.0, z).terminated)

    assert ended == 81


@given(st.floats(50.2, 150))
@settings(deadline=None)
def test_a_jump_longer_than_check_forward_pays_nothing(jump: float) -> None:
    progress = Progress(STRAIGHT, RewardOptions(check_forward=500, max_stray=1000))

    assert drive(progress, jump, jump, jump) == [0.0, 0.0, 0.0]


def test_a_cut_up_to_check_forward_pays() -> None:
    assert drive(Progress(STRAIGHT, RewardOptions(check_forward=500)), 50.0) == pytest.approx([5.0])


@given(st.integers(0, 6000), st.floats(-12, 12), st.integers(0, 6000), st.floats(-12, 12))
@settings(deadline=None)
def test_no_step_on_a_winding_road_pays_more_than_the_longest_cut(a: int, aside_a: float, b: int, aside_b: float) -> None:
    progress = Progress(DEFAULT.line, RewardOptions(max_stray=1e4))
    for s, aside in ((a / 10, aside_a), (b / 10, aside_b)):
        pose = DEFAULT.pose(s).right(aside)

        assert progress.step(pose.x, 0.0, pose.z).progress <= 5.01


def test_a_car_beside_a_hairpin_keeps_its_place() -> None:
    progress = Progress(DEFAULT.line, RewardOptions())
    lap = np.arange(0.0, DEFAULT.length, 1.0)
    for s in lap:  # 9 m to the right of the centre line, where the legs of the hairpin come close
        pose = DEFAULT.pose(s).right(9.0)
        progress.step(pose.x, 0.0, pose.z)

        assert abs(progress.share * DEFAULT.length - s) < 3.0


def test_straying_ends_the_episode() -> None:
    progress = Progress(STRAIGHT, RewardOptions(max_stray=100.0))

    assert not progress.step(99.0, 0.0, 5.0).terminated
    assert progress.step(101.0, 0.0, 5.0).terminated


def test_being_far_ahead_on_the_line_is_not_straying() -> None:
    assert not Progress(STRAIGHT, RewardOptions(max_stray=100.0)).step(0.0, 0.0, 400.0).terminated


def test_an_idle_car_ends_at_step_81() -> None:
    progress = Progress(STRAIGHT, RewardOptions())
    ended = [progress.step(0.0, 0.0, 0.0).terminated for _ in range(81)]

    assert ended == [False] * 80 + [True]


def test_new_ground_starts_the_countdown_again() -> None:
    progress = Progress(STRAIGHT, RewardOptions(min_steps=0, failure_countdown=2))
    ended = [progress.step(0.0, 0.0, z).terminated for z in (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)]

    assert ended == [False, False, False, False, False, True]


def test_the_finish_pays_and_ends() -> None:
    outcome = Progress(STRAIGHT, RewardOptions(constant_penalty=-0.05)).step(0.0, 0.0, 10.0, finished=True)

    assert outcome.terminated
    assert outcome.terms() == pytest.approx({"progress": 1.0, "finish": 10.0, "penalty": -0.05})
    assert outcome.reward == pytest.approx(10.95)


def test_a_reset_starts_over() -> None:
    progress = Progress(STRAIGHT, RewardOptions())
    drive(progress, 10.0)
    progress.reset()

    assert drive(progress, 10.0) == pytest.approx([1.0])


@pytest.mark.parametrize("line", [np.zeros((2, 3)), np.zeros((5, 2)), np.zeros(9)])
def test_a_line_that_is_too_short_is_refused(line: np.ndarray) -> None:
    with pytest.raises(WorldError, match="at least 3 points"):
        Progress(line, RewardOptions())
