"""TMRL's reward without the ways to cheat it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmrld.envs.options import RewardOptions
from tmrld.envs.sim.tracks import DEFAULT
from tmrld.envs.trackmania.reward import GroundProgress, Progress
from tmrld.envs.trackmania.tracks import resampled
from tmrld.errors import WorldError

STRAIGHT = np.column_stack([np.zeros(5001), np.zeros(5001), np.arange(5001) * 0.1])  # 500 m along z


def drive(progress: Progress, *places: float) -> list[float]:
    """The rewards for being at these z, one after the other."""
    return [progress.step(0.0, 0.0, z).reward for z in places]


def earned(progress: Progress, places: Iterable[NDArray[np.float64]]) -> float:
    """What being at these places pays, one after the other."""
    return math.fsum(progress.step(*place.tolist()).progress for place in places)


def eight(width: float, height: float) -> NDArray[np.float64]:
    """A line that crosses over itself in the origin, the second time on a bridge of that height: the first time along +x and +z."""
    t = np.linspace(-0.45 * np.pi, 1.45 * np.pi, 4000)
    deck = height * np.exp(-(((t - np.pi) / 0.6) ** 2))
    return resampled(np.column_stack([width * np.sin(t), deck, width * np.sin(t) * np.cos(t)]))


def crossing(line: NDArray[np.float64]) -> tuple[int, int]:
    """Which of the points of an eight lie in its middle: the first time, and the second."""
    half = len(line) // 2
    away = np.hypot(line[:, 0], line[:, 2])
    return int(away[:half].argmin()), half + int(away[half:].argmin())


def winding(seed: int, points: int) -> NDArray[np.float64]:
    """A line like one that a car has driven, over hills, far from the origin; it may cross itself."""
    chance = np.random.default_rng(seed)
    heading = np.cumsum(np.repeat(chance.normal(0.0, 0.012, points // 100 + 1), 100)[:points])
    slope = 0.2 * np.sin(np.arange(points) / 90.0 + chance.uniform(0, 6))
    ahead = np.column_stack([np.sin(heading) * np.cos(slope), np.sin(slope), np.cos(heading) * np.cos(slope)])
    return np.cumsum(ahead, axis=0) * 0.1 + chance.uniform(-1500.0, 1500.0, 3)


class Oracle:
    """What `GroundProgress` promises, point by point."""

    def __init__(self, line: NDArray[np.float64], options: RewardOptions) -> None:
        self.line = line
        self.options = options
        self.place = self.furthest = self.steps = self.stuck = 0

    def step(self, car: NDArray[np.float64]) -> tuple[float, bool]:
        """The reward, and whether the episode is over."""
        options, last = self.options, len(self.line) - 1
        self.steps += 1
        first, longest = max(0, self.place - options.check_backward), self.place + options.check_forward
        away = {i: math.dist(car, self.line[i]) for i in range(first, min(longest + 1, last) + 1)}
        strayed = False
        if min(away.values()) > options.max_stray:
            strayed = bool(np.linalg.norm(self.line - car, axis=1).min() > options.max_stray)
        else:
            while away and min(away, key=away.__getitem__) == longest + 1:  # nearer still, further ahead
                i = longest + 1
                while i - 1 in away and away[i - 1] > away[i]:
                    i -= 1
                away = {j: distance for j, distance in away.items() if j < i}
            if away:
                self.place = min(away, key=away.__getitem__)
        new = max(0, self.place - self.furthest)
        self.furthest += new
        self.stuck = 0 if new else self.stuck + (self.steps > options.min_steps)
        return new / 100, strayed or self.stuck > options.failure_countdown


def test_ten_metres_pay_one() -> None:
    assert drive(GroundProgress(STRAIGHT, RewardOptions()), 3.0, 13.0, 13.0) == pytest.approx([0.3, 1.0, 0.0])


def test_ground_pays_once() -> None:
    assert drive(GroundProgress(STRAIGHT, RewardOptions()), 10.0, 9.0, 10.0, 8.0, 11.0) == pytest.approx(
        [1.0, 0.0, 0.0, 0.0, 0.1]
    )


@given(st.lists(st.floats(-20, 520), min_size=1, max_size=60))
@settings(deadline=None)
def test_no_way_of_driving_earns_more_than_the_ground_it_covered(places: list[float]) -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions(check_forward=500))
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
    progress = GroundProgress(STRAIGHT, RewardOptions(check_forward=5000))
    progress.step(0.0, 0.0, start)

    assert sum(drive(progress, *[start - swing, start] * times)) == pytest.approx(0.0, abs=0.011)


def test_an_oscillating_car_is_stopped() -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions())
    places = [10.0, 8.0] * 500
    ended = next(step for step, z in enumerate(places, 1) if progress.step(0.0, 0.0, z).terminated)

    assert ended == 81


@given(st.floats(50.2, 150))
@settings(deadline=None)
def test_a_jump_longer_than_check_forward_pays_nothing(jump: float) -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions(check_forward=500, max_stray=1000))

    assert drive(progress, jump, jump, jump) == [0.0, 0.0, 0.0]


def test_a_jump_to_the_end_of_the_line_is_no_longer_than_others() -> None:
    options = RewardOptions(check_forward=500)

    assert drive(GroundProgress(STRAIGHT[:502], options), 50.1) == [0.0]
    assert drive(GroundProgress(STRAIGHT[:501], options), 50.0) == pytest.approx([5.0])


@given(st.lists(st.floats(50.2, 150), min_size=2, max_size=6))
@settings(deadline=None)
def test_several_jumps_in_a_row_pay_nothing_either(jumps: list[float]) -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions(check_forward=500, max_stray=1000))

    assert drive(progress, *np.cumsum(jumps)) == [0.0] * len(jumps)
    assert progress.place == 0.0


def test_a_cut_up_to_check_forward_pays() -> None:
    assert drive(GroundProgress(STRAIGHT, RewardOptions(check_forward=500)), 50.0) == pytest.approx([5.0])


@given(st.integers(0, 6000), st.floats(-12, 12), st.integers(0, 6000), st.floats(-12, 12))
@settings(deadline=None)
def test_no_step_on_a_winding_road_pays_more_than_the_longest_cut(a: int, aside_a: float, b: int, aside_b: float) -> None:
    progress = GroundProgress(DEFAULT.line, RewardOptions(max_stray=1e4))
    for s, aside in ((a / 10, aside_a), (b / 10, aside_b)):
        pose = DEFAULT.pose(s).right(aside)

        assert progress.step(pose.x, 0.0, pose.z).progress <= 5.01


def test_a_car_beside_a_hairpin_keeps_its_place() -> None:
    progress = GroundProgress(DEFAULT.line, RewardOptions())
    lap = np.arange(0.0, DEFAULT.length, 1.0)
    for s in lap:  # 9 m to the right of the centre line, where the legs of the hairpin come close
        pose = DEFAULT.pose(s).right(9.0)
        progress.step(pose.x, 0.0, pose.z)

        assert abs(progress.share * DEFAULT.length - s) < 3.0


@given(st.integers(0, 10**6), st.integers(5, 400), st.integers(0, 30), st.sampled_from((2.0, 20.0, 100.0)))
@settings(deadline=None, max_examples=60)
def test_every_step_is_what_the_rules_say_point_by_point(seed: int, forward: int, backward: int, max_stray: float) -> None:
    line = winding(seed, 1500)
    options = RewardOptions(check_forward=forward, check_backward=backward, max_stray=max_stray, min_steps=20)
    progress, oracle = GroundProgress(line, options), Oracle(line, options)
    chance = np.random.default_rng(seed)
    at = 0
    for _ in range(60):
        at = int(np.clip(at + chance.choice((-30, 3, 12, 25, 60, 600), p=(0.1, 0.2, 0.4, 0.2, 0.07, 0.03)), 0, 1499))
        car = line[at] + chance.normal(0.0, chance.choice((0.1, 3.0, 15.0)), 3)
        outcome = progress.step(*car.tolist())

        assert (outcome.progress, outcome.terminated) == oracle.step(car)
        assert progress.place == oracle.place / 1499


@pytest.mark.parametrize("height", [0.0, 6.0])
def test_a_cut_where_the_track_crosses_itself_pays_nothing_when_it_is_too_long(height: float) -> None:
    line = eight(60.0, height)
    below, above = crossing(line)
    assert above - below > 1000
    progress = GroundProgress(line, RewardOptions(check_forward=500, max_stray=1000))
    until = earned(progress, line[: below + 1 : 10])

    assert until == pytest.approx(below / 100, abs=0.11)
    assert earned(progress, line[above::10]) == pytest.approx(0.0, abs=0.11)  # on the spot, straight on to the end


def test_a_cut_where_the_track_crosses_itself_pays_when_it_is_short() -> None:
    line = eight(60.0, 0.0)
    below, above = crossing(line)
    progress = GroundProgress(line, RewardOptions(check_forward=above - below + 20))
    earned(progress, line[: below + 1 : 10])

    assert earned(progress, line[above::10]) == pytest.approx((len(line) - 1 - below) / 100, abs=0.11)


@pytest.mark.parametrize("forward", [500, 100_000])
@given(st.floats(-5.0, 5.0), st.integers(3, 25), st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_the_cars_height_tells_which_deck_it_is_on(forward: int, aside: float, stride: int, seed: int) -> None:
    line = eight(60.0, 8.0)
    progress = GroundProgress(line, RewardOptions(check_forward=forward, max_stray=30.0))
    ahead = np.gradient(line, axis=0)
    right = np.column_stack([ahead[:, 2], np.zeros(len(line)), -ahead[:, 0]]) / np.hypot(ahead[:, 0], ahead[:, 2])[:, None]
    chance = np.random.default_rng(seed)
    for at in range(0, len(line), stride):
        car = line[at] + aside * right[at] + chance.normal(0.0, (0.1, 0.3, 0.1))
        progress.step(*car.tolist())

        assert abs(progress.place * (len(line) - 1) - at) < 30


def test_without_a_bridge_the_way_so_far_tells_which_road_it_is() -> None:
    line = eight(60.0, 0.0)
    progress = GroundProgress(line, RewardOptions())
    for at in range(0, len(line), 7):
        progress.step(*line[at].tolist())

        assert abs(progress.place * (len(line) - 1) - at) < 2


@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(0.0, 25.0))
@settings(deadline=None, max_examples=40)
def test_a_closed_tour_earns_no_more_than_the_new_ground_it_saw_however_often_it_is_driven(
    seed: int, times: int, astray: float
) -> None:
    line = winding(seed, 1200)
    options = RewardOptions(max_stray=1000.0)
    progress = GroundProgress(line, options)
    chance = np.random.default_rng(seed)
    start = 300
    earned(progress, line[:start:5])
    there = start + np.abs(np.cumsum(chance.normal(0.0, 15.0, 40)).astype(int)) % 500
    tour = line[np.concatenate([there, there[::-1]])] + np.repeat(chance.normal(0.0, astray, (40, 3)), 2, axis=0)
    tour = np.concatenate([tour, line[start : start + 1]])
    before = progress.metres
    first = earned(progress, tour)

    assert first == pytest.approx((progress.metres - before) / 10)
    furthest = progress.metres
    again = earned(progress, np.concatenate([tour] * times))
    assert again == pytest.approx((progress.metres - furthest) / 10)
    assert first + again <= (len(line) - start + 6) / 100


def test_straying_ends_the_episode() -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions(max_stray=100.0))

    assert not progress.step(99.0, 0.0, 5.0).terminated
    assert progress.step(101.0, 0.0, 5.0).terminated


def test_being_far_ahead_on_the_line_is_not_straying() -> None:
    assert not GroundProgress(STRAIGHT, RewardOptions(max_stray=100.0)).step(0.0, 0.0, 400.0).terminated


@given(st.integers(0, 10**6), st.floats(0.0, 60.0), st.floats(1.0, 40.0))
@settings(deadline=None, max_examples=60)
def test_straying_is_measured_from_the_whole_line(seed: int, away: float, max_stray: float) -> None:
    line = winding(seed, 5000)
    chance = np.random.default_rng(seed)
    progress = GroundProgress(line, RewardOptions(max_stray=max_stray))
    for at in chance.integers(0, 5000, 20):
        car = line[at] + away * chance.normal(0.0, 1.0, 3)

        assert progress.step(*car.tolist()).terminated == (np.linalg.norm(line - car, axis=1).min() > max_stray)


def test_an_idle_car_ends_at_step_81() -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions())
    ended = [progress.step(0.0, 0.0, 0.0).terminated for _ in range(81)]

    assert ended == [False] * 80 + [True]


def test_new_ground_starts_the_countdown_again() -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions(min_steps=0, failure_countdown=2))
    ended = [progress.step(0.0, 0.0, z).terminated for z in (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)]

    assert ended == [False, False, False, False, False, True]


def test_the_finish_pays_and_ends() -> None:
    outcome = GroundProgress(STRAIGHT, RewardOptions(constant_penalty=-0.05)).step(0.0, 0.0, 10.0, finished=True)

    assert outcome.terminated
    assert outcome.terms() == pytest.approx({"progress": 1.0, "finish": 10.0, "penalty": -0.05})
    assert outcome.reward == pytest.approx(10.95)


def test_a_reset_starts_over() -> None:
    progress = GroundProgress(STRAIGHT, RewardOptions())
    drive(progress, 10.0)
    progress.reset()

    assert drive(progress, 10.0) == pytest.approx([1.0])


@pytest.mark.parametrize("line", [np.zeros((2, 3)), np.zeros((5, 2)), np.zeros(9)])
def test_a_line_that_is_too_short_is_refused(line: np.ndarray) -> None:
    with pytest.raises(WorldError, match="at least 3 points"):
        GroundProgress(line, RewardOptions())


@pytest.mark.parametrize("place", [float("nan"), 1e12])
def test_a_line_to_nowhere_says_what_is_wrong_with_its_points(place: float) -> None:
    with pytest.raises(
        WorldError, match=r"the line holds points that are no places of a map \(x, y and z must be numbers of at most"
    ):
        resampled([(0.0, 0.0, 0.0), (place, 0.0, 0.0)])
