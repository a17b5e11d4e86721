"""What differs from episode to episode: each setting changes its own thing, by the episode's seed."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tmrld.envs.options import EnvironmentOptions, RandomisationOptions
from tmrld.envs.registry import make
from tmrld.envs.sim.car import Car, substeps
from tmrld.envs.sim.randomness import Conditions, conditions, dropped_frames, late_steps
from tmrld.envs.sim.sensors import LidarSensor
from tmrld.envs.sim.timing import Lockstep
from tmrld.envs.sim.tracks import named
from tmrld.envs.sim.world import PIECE_S, SimWorld

ALL = {
    "start_offset_m": 3.0,
    "start_heading_deg": 20.0,
    "grip": 0.2,
    "power": 0.3,
    "latency_s": 0.2,
    "late_step": 0.3,
    "frame_drop": 0.4,
    "brightness": 0.2,
    "border_level": 30,
    "camera_height": 0.2,
}
EPISODE_FIELDS = {
    "start_offset_m": "start_offset_m",
    "start_heading_deg": "start_heading",
    "grip": "grip",
    "power": "power",
    "latency_s": "latency_s",
    "brightness": "brightness",
    "border_level": "border",
    "camera_height": "camera_height",
}
STEPS = 200
GAS = np.array((1.0, 0.0, 0.0), np.float32)
seeds = st.integers(0, 2**31 - 1)


def drawn(options: RandomisationOptions, seed: int) -> tuple[Conditions, list[float], list[bool]]:
    """All that is drawn for an episode of some steps."""
    return (
        conditions(options, seed),
        list(itertools.islice(late_steps(options, seed), STEPS)),
        list(itertools.islice(dropped_frames(options, seed), STEPS)),
    )


def world(**settings: Any) -> SimWorld:
    randomisation = RandomisationOptions(**settings)
    return SimWorld(lambda seed: named("default"), LidarSensor(256, 128), Lockstep(0.05, 0.04, 0.05), randomisation)


class Twin:
    """The car by itself, which is given controls at certain moments."""

    def __init__(self) -> None:
        self.car = Car()
        self.arriving: list[tuple[float, tuple[float, float, float]]] = []
        self._now = 0.0
        self._held = (0.0, 0.0, 0.0)

    def drive_until(self, until: float) -> None:
        while self.arriving and self.arriving[0][0] <= until:
            moment, controls = self.arriving.pop(0)
            self._drive(moment)
            self._held = controls
        self._drive(until)

    def _drive(self, until: float) -> None:
        if until > self._now:
            pieces = math.ceil((until - self._now) / PIECE_S - 1e-9)
            count, dt = substeps((until - self._now) / pieces)
            for _ in range(pieces * count):
                self.car.step(dt, *self._held)
        self._now = until


def test_every_setting_is_known_here() -> None:
    assert set(ALL) == set(RandomisationOptions.model_fields)
    assert set(EPISODE_FIELDS.values()) == {field.name for field in dataclasses.fields(Conditions)}


@given(seeds)
def test_without_settings_nothing_differs(seed: int) -> None:
    assert drawn(RandomisationOptions(), seed) == (Conditions(), [0.0] * STEPS, [False] * STEPS)


@given(seeds, st.sampled_from(sorted(ALL)))
def test_switching_one_setting_on_changes_nothing_of_the_others(seed: int, name: str) -> None:
    everything = drawn(RandomisationOptions(**ALL), seed)
    without = drawn(RandomisationOptions(**{**ALL, name: 0}), seed)
    alone = drawn(RandomisationOptions(**{name: ALL[name]}), seed)

    if name in EPISODE_FIELDS:
        field = EPISODE_FIELDS[name]
        default = getattr(Conditions(), field)
        assert dataclasses.replace(everything[0], **{field: default}) == without[0]
        assert alone[0] == dataclasses.replace(Conditions(), **{field: getattr(everything[0], field)})
    else:
        assert everything[0] == without[0]
    for place, step_setting in ((1, "late_step"), (2, "frame_drop")):
        if name == step_setting:
            assert everything[place] == alone[place] != without[place]
        else:
            assert everything[place] == without[place]


@given(seeds)
def test_draws_stay_within_the_settings(seed: int) -> None:
    episode, late, _ = drawn(RandomisationOptions(**ALL), seed)

    assert abs(episode.start_offset_m) <= 3
    assert abs(episode.start_heading) <= math.radians(20)
    assert abs(episode.grip - 1) <= 0.2
    assert abs(episode.power - 1) <= 0.3
    assert 0 <= episode.latency_s <= 0.2
    assert late[0] == 0
    assert all(0 <= share <= 1 for share in late)


def test_steps_are_late_and_frames_dropped_as_often_as_asked_for() -> None:
    options = RandomisationOptions(late_step=0.3, frame_drop=0.4)
    late = list(itertools.islice(late_steps(options, 0), 20_000))
    dropped = list(itertools.islice(dropped_frames(options, 0), 20_000))

    assert np.mean([share > 0 for share in late]) == pytest.approx(0.3, abs=0.02)
    assert np.mean([share for share in late if share]) == pytest.approx(0.5, abs=0.02)
    assert np.mean(dropped) == pytest.approx(0.4, abs=0.02)


@given(seeds)
def test_the_start_is_where_it_was_drawn_and_a_perturbation_adds_to_it(seed: int) -> None:
    settings = {"start_offset_m": 3.0, "start_heading_deg": 20.0}
    episode = conditions(RandomisationOptions(**settings), seed)
    perturb = {"perturb": {"offset_m": 2.0, "heading_deg": 10.0}}
    start, plain = world(**settings).reset(seed, {}), world().reset(seed, perturb)
    both = world(**settings).reset(seed, perturb)

    assert (start.x, start.heading) == pytest.approx((episode.start_offset_m, episode.start_heading))
    assert (both.x, both.heading) == pytest.approx((start.x + plain.x, start.heading + plain.heading))


def test_power_is_what_pulls_and_grip_what_holds() -> None:
    weak, strong = Car(power=0.7), Car(power=1.3)
    for _ in range(50):
        weak.step(0.02, 1.0, 0.0, 0.0)
        strong.step(0.02, 1.0, 0.0, 0.0)
    assert strong.speed > 1.3 * weak.speed

    seed = 5
    for name in ("grip", "power"):
        driven = world(**{name: 0.3})
        driven.reset(seed, {})
        share = getattr(conditions(RandomisationOptions(**{name: 0.3}), seed), name)
        twin = Car(**{name: share})
        driven.control(1.0, 0.0, 0.5)
        moment = driven.look()
        for _ in range(2):
            twin.step(0.02, 1.0, 0.0, 0.5)
        assert moment.speed == twin.speed


def test_a_control_reaches_the_car_after_its_latency() -> None:
    seed = 3
    latency = conditions(RandomisationOptions(latency_s=0.5), seed).latency_s
    slow = world(latency_s=0.5)
    slow.reset(seed, {})
    speeds = []
    for _ in range(20):
        slow.control(1.0, 0.0, 0.0)
        speeds.append(slow.look().speed)
    moving = [speed > 0 for speed in speeds]

    assert 0.06 < latency < 0.5
    assert moving == [0.05 * step + 0.04 > latency for step in range(20)]


def test_controls_that_are_on_their_way_arrive_in_their_order() -> None:
    seed = 3
    latency = conditions(RandomisationOptions(latency_s=0.5), seed).latency_s
    slow = world(latency_s=0.5)
    slow.reset(seed, {})
    twin = Twin()
    for step in range(40):
        controls = (float(step % 3 == 0), float(step % 8 == 7), 0.0)
        twin.arriving.append((step * 0.05 + latency, controls))
        twin.drive_until(step * 0.05)
        slow.control(*controls)
        twin.drive_until(step * 0.05 + 0.04)
        assert slow.look().speed == pytest.approx(twin.car.speed, abs=1e-9)
    assert twin.car.speed > 2


def test_a_late_step_holds_the_action_before() -> None:
    """The grid of time steps stays where it was; only a step that is late by the timeout, all of it, moves the grid."""
    seed = 1
    late = list(itertools.islice(late_steps(RandomisationOptions(late_step=0.5), seed), 100))
    driven = world(late_step=0.5)
    driven.reset(seed, {})
    twin, due = Twin(), 0.0
    for step, share in enumerate(late):
        controls = (1.0, 0.0, 0.0) if step % 4 < 3 else (0.0, 1.0, 0.0)
        came = due + share * 0.05
        twin.arriving.append((came, controls))
        twin.drive_until(came)
        driven.control(*controls)
        start = due if share < 1.0 else came
        twin.drive_until(max(came, start + 0.04))
        due = start + 0.05
        assert driven.look().speed == pytest.approx(twin.car.speed, abs=1e-9)
    assert twin.car.speed > 5


def test_a_dropped_frame_is_the_one_before_beside_new_telemetry() -> None:
    seed = 2
    drops = list(itertools.islice(dropped_frames(RandomisationOptions(frame_drop=0.5), seed), 60))
    driven, plain = world(frame_drop=0.5), world()
    seen = driven.reset(seed, {}).seen
    plain.reset(seed, {})
    for step, dropped in enumerate(drops):
        steer = 0.2 * math.sin(step)
        driven.control(0.5, 0.0, steer)
        plain.control(0.5, 0.0, steer)
        moment, other = driven.look(), plain.look()
        seen = seen if dropped else other.seen
        assert np.array_equal(moment.seen, seen)
        assert (moment.x, moment.z, moment.speed) == (other.x, other.z, other.speed)
    assert 10 < sum(drops) < 50


@given(st.integers(0, 1000))
def test_the_same_seed_gives_the_same_episode(seed: int) -> None:
    env: Any = make(EnvironmentOptions(window_width=256, window_height=128, randomisation=RandomisationOptions(**ALL)))

    def episode(seed: int) -> list[Any]:
        rows: list[Any] = [env.reset(seed=seed)]
        rows += [env.step(GAS) for _ in range(12)]
        return rows

    first, other, again = episode(seed), episode(seed + 1), episode(seed)
    env.close()
    for row, repeated in zip(first, again, strict=True):
        for part, same in zip(row[0], repeated[0], strict=True):
            assert np.array_equal(part, same)
        assert row[1:] == repeated[1:]
    assert first[0][1]["x"] != other[0][1]["x"]


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_game_cannot_be_varied(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}: only the simulator varies this"):
        EnvironmentOptions(game="trackmania", clock="realtime", randomisation=RandomisationOptions(**{name: ALL[name]}))

    assert EnvironmentOptions(game="trackmania", clock="realtime", randomisation=RandomisationOptions())
