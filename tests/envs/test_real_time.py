"""Real time is lockstep: the same seed and actions give the same episode, in whichever kind of time it is driven.

On a virtual clock they agree to the last bit, as long as the moments themselves are exact numbers; with 0.05 s on a clock that
has run for hours, 0.04 s between two looks become 0.03999999999, and positions differ by micrometres.  On the wall clock each
moment comes some tenths of a millisecond late: at the moments that were measured, the episode is that of the simulator again to
the last bit; compared with the moments that were due, it differs by no more than those delays explain.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tmrld.envs.sim.env
from tests.envs.virtual_time import VirtualEnv, VirtualTime
from tmrld.envs.options import EnvironmentOptions, RandomisationOptions, RewardOptions
from tmrld.envs.registry import known, make
from tmrld.envs.sim.randomness import late_steps
from tmrld.envs.sim.timing import Lockstep, WallClock

IDS = [name for name, _ in known()]
PERTURBED = {"perturb": {"offset_m": 2.0, "heading_deg": 20.0, "grip": 0.1}}

GRAIN_S = 1 / 1024
"""Moments that are whole multiples of a power of two have no rounding errors: then both kinds of time agree to the last bit."""


@st.composite
def paces(draw: st.DrawFn) -> dict[str, Any]:
    step = draw(st.integers(5, 150) | st.integers(1000, 3000))
    return {
        "time_step_s": step * GRAIN_S,
        "start_obs_capture_s": draw(st.integers(0, step)) * GRAIN_S,
        "timeout_factor": draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])),
        "history": draw(st.integers(1, 5)),
        "action_buffer": draw(st.integers(1, 4)),
        "max_steps": draw(st.integers(2, 40)),
    }


randomisations = st.builds(
    RandomisationOptions,
    start_offset_m=st.sampled_from([0.0, 3.0]),
    start_heading_deg=st.sampled_from([0.0, 30.0]),
    grip=st.sampled_from([0.0, 0.2]),
    power=st.sampled_from([0.0, 0.2]),
    latency_s=st.sampled_from([0.0, 0.02, 0.3]),
    late_step=st.sampled_from([0.0, 0.1, 0.5]),
    frame_drop=st.sampled_from([0.0, 0.3]),
    brightness=st.sampled_from([0.0, 0.2]),
    border_level=st.sampled_from([0, 30]),
    camera_height=st.sampled_from([0.0, 0.2]),
)
rewards = st.builds(
    RewardOptions,
    min_steps=st.sampled_from([3, 70]),
    failure_countdown=st.sampled_from([0, 10]),
    constant_penalty=st.sampled_from([0.0, -0.25]),
    max_stray=st.sampled_from([1.5, 100.0]),
)


def actions(seed: int) -> Any:
    """Held for some steps each, so that the car gets somewhere; mostly gas."""
    rng = np.random.default_rng(seed)
    while True:
        action = rng.uniform((-0.2, -1.5, -1.0), (1.0, 0.7, 1.0)).clip(-1, 1).astype(np.float32)
        yield from itertools.repeat(action, int(rng.integers(1, 12)))


def assert_same(lockstep: Any, real_time: Any) -> None:
    """The same observation, reward, ends and info."""
    observation, *rest = lockstep
    other, *other_rest = real_time
    for part, other_part in zip(observation, other, strict=True):
        np.testing.assert_array_equal(part, other_part)
    assert rest == other_rest


@pytest.mark.parametrize("name", IDS)
@given(
    paces(),
    randomisations,
    rewards,
    st.integers(0, 2**31 - 1),
    st.integers(1, 60),
    st.integers(0, 300),
    st.sampled_from([None, PERTURBED]),
    st.booleans(),
)
@settings(max_examples=25)
def test_on_a_virtual_clock_real_time_is_lockstep(
    name: str,
    pace: dict[str, Any],
    randomisation: Any,
    reward: Any,
    seed: int,
    enough: int,
    pause: int,
    perturbed: Any,
    early: bool,
) -> None:
    """Two episodes, the first one perhaps given up, with a pause between.

    The driver is late whenever lockstep draws a late step; at all others, it is early in all or in none.
    """
    options = EnvironmentOptions(
        id=name, window_width=256, window_height=128, randomisation=randomisation, reward=reward, **pace
    )
    given = list(itertools.islice(actions(seed), min(enough, options.max_steps)))
    episodes: list[list[Any]] = []
    lockstep = make(options)
    for episode_seed in (seed, seed + 1):
        episodes.append([lockstep.reset(seed=episode_seed, options=perturbed)])
        for action in given:
            episodes[-1].append(lockstep.step(action))
            if episodes[-1][-1][2] or episodes[-1][-1][3]:
                break
    lockstep.close()

    real_time = VirtualEnv(options, early=early)
    for episode_seed, steps in zip((seed, seed + 1), episodes, strict=True):
        _, *late = itertools.islice(late_steps(randomisation, episode_seed), len(steps))  # all but the reset's own control
        assert_same(steps[0], real_time.reset(episode_seed, perturbed))
        for action, step, share in zip(given, steps[1:], late, strict=False):
            assert_same(step, real_time.step(action, share * options.time_step_s))
        real_time.time.now += pause * GRAIN_S
    real_time.close()


def test_the_usual_step_on_a_clock_that_has_run_for_days_differs_by_micrometres() -> None:
    options = EnvironmentOptions(window_width=256, window_height=128)
    given = list(itertools.islice(actions(9), 60))
    lockstep = make(options)
    lockstep.reset(seed=1)
    due = [lockstep.step(action) for action in given]
    lockstep.close()

    real_time = VirtualEnv(options, 2e6 / 3)
    real_time.reset(1)
    for action, (observation, _, *ends, info) in zip(given, due, strict=True):
        other, _, *other_ends, other_info = real_time.step(action)
        assert ends == other_ends
        for key in ("x", "z", "heading", "speed"):
            assert info[key] == pytest.approx(other_info[key], abs=1e-5)
        assert np.mean(observation[1] == other[1]) > 0.98  # a beam may end one pixel further
    real_time.close()


@pytest.mark.parametrize(("late_s", "restarts"), [(0.0, 0), (0.03, 0), (0.0499, 0), (0.05, 1), (0.4, 1)])
def test_rtgym_makes_up_for_a_late_action_and_starts_anew_after_the_timeout(late_s: float, restarts: int) -> None:
    """The action of the third step comes late: until then the one before is held, and the next step is on the grid again."""
    options = EnvironmentOptions(window_width=256, window_height=128)
    real_time = VirtualEnv(options)
    real_time.reset(0)
    ends = []
    for late in (0.0, 0.0, late_s, 0.0):
        came = real_time.time.now + late
        real_time.step(np.zeros(3, np.float32), late)
        ends.append(real_time.time.now)
    real_time.close()

    shift = late_s if restarts else 0.0
    assert ends == pytest.approx([0.1, 0.15, 0.2 + shift, 0.25 + shift])
    assert came == pytest.approx(0.2 + shift)
    assert real_time.env.late_steps == restarts

    timing = Lockstep(0.05, 0.04, 0.05)
    timing.start(iter((0.0, 0.0, 0.0, late_s / 0.05, 0.0)))
    modelled = [(timing.control(), timing.look(), timing._end)[-1] for _ in range(5)]
    assert ends == pytest.approx(modelled[1:])


@pytest.mark.parametrize("pause_s", [0.0, 0.01, 0.045, 0.3, 60.0])
def test_an_episode_begins_with_a_whole_time_step_however_long_nobody_drove(pause_s: float) -> None:
    real_time = VirtualEnv(EnvironmentOptions(window_width=256, window_height=128, max_steps=3))
    for _ in range(2):
        real_time.time.now += pause_s
        start = real_time.time.now
        real_time.reset(0)
        ends = [real_time.time.now] + [(real_time.step(np.zeros(3, np.float32)), real_time.time.now)[1] for _ in range(2)]
        assert np.subtract(ends, start) == pytest.approx([0.05, 0.1, 0.15])
        real_time.step(np.zeros(3, np.float32))
    real_time.close()

    assert real_time.env.late_steps == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 3))
def test_lockstep_never_goes_back_in_time(shares: list[float], capture: float, timeout: float) -> None:
    timing = Lockstep(1.0, capture, timeout)
    timing.start(iter(shares))
    moments = [moment for _ in shares for moment in (timing.control(), timing.look())]

    assert moments == sorted(moments)
    assert moments[-1] <= 2 * len(shares) + capture


def test_a_clock_that_slept_counts_a_second_and_two_steps() -> None:
    clock = VirtualTime(50.0)
    timing = WallClock(clock.perf_counter, 0.05)
    clock.now += 10
    timing.start(iter(()))
    clock.now += 0.5
    assert timing.control() == pytest.approx(0.5)
    clock.now += 3600
    assert timing.look() == pytest.approx(1.6)
    clock.now += 0.25
    assert timing.control() == pytest.approx(1.85)


class Recorder:
    """Stands in for the module ``time``: the wall clock, and what was read off it."""

    def __init__(self) -> None:
        self.readings: list[float] = []

    def perf_counter(self) -> float:
        self.readings.append(time.perf_counter())
        return self.readings[-1]


def drive(env: Any, given: list[Any], perturbed: Any = PERTURBED) -> list[Any]:
    """Episodes, as far as the actions go."""
    rows = [env.reset(seed=4, options=perturbed)]
    for action in given:
        rows.append(env.step(action))
        if rows[-1][2] or rows[-1][3]:
            rows.append(env.reset(seed=5))
    return rows


def on_the_wall_clock(
    options: EnvironmentOptions, given: list[Any], perturbed: Any = PERTURBED
) -> tuple[list[Any], list[float]]:
    """What happened, and what the world read off the clock: when it was made, started, controlled, looked at, controlled …

    What was read in making it, but for once, is left out.
    """
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tmrld.envs.sim.env, "time", recorder)
        env = make(options.model_copy(update={"clock": "realtime"}))
    rows = drive(env, given, perturbed)
    env.close()
    return rows, recorder.readings


@pytest.mark.parametrize("name", IDS)
def test_on_the_wall_clock_an_episode_is_the_simulators_at_the_moments_that_were_measured(name: str) -> None:
    options = EnvironmentOptions(
        id=name,
        time_step_s=0.01,
        start_obs_capture_s=0.008,
        max_steps=20,
        randomisation=RandomisationOptions(latency_s=0.03, frame_drop=0.2, grip=0.1),
    )
    given = list(itertools.islice(actions(2), 30))
    rows, readings = on_the_wall_clock(options, given)

    lockstep = make(options)
    clock = itertools.chain(readings[1:], itertools.repeat(readings[-1])).__next__  # the very last control may not have come
    lockstep.unwrapped.interface._world._timing = WallClock(clock, options.time_step_s)  # type: ignore[attr-defined]
    repeated = drive(lockstep, given)
    lockstep.close()

    for row, again in zip(rows, repeated, strict=True):
        assert_same(row, again)


STRONGEST = 16.0
"""m/s²: more than the car gains or loses in a straight line on the road."""
SUBSTEP_S = 0.02
"""Durations that differ are cut into other substeps: a change of gear ends one later, and each sees the speed at its end."""


class Modelled(Lockstep):
    """Lockstep whose controls come as late as those that were measured; ``errors``: how far measured moments lie from its own."""

    def __init__(self, measured: list[float], options: EnvironmentOptions) -> None:
        super().__init__(options.time_step_s, options.start_obs_capture_s, options.time_step_s * options.timeout_factor)
        self._measured = measured
        self.errors: list[float] = []

    def start(self, late: Iterator[float]) -> None:
        super().start(self._lateness())

    def control(self) -> float:
        return self._compared(super().control())

    def look(self) -> float:
        return self._compared(super().look())

    def _lateness(self) -> Iterator[float]:
        for control in self._measured[::2]:
            yield max(0.0, control - max(self._now, self._end)) / self._step_s

    def _compared(self, moment: float) -> float:
        self.errors.append(abs(self._measured[len(self.errors)] - moment))
        return moment


@pytest.mark.slow
@pytest.mark.parametrize(("step_s", "capture_s"), [(0.05, 0.04), (0.02, 0.016)], ids=["20 Hz", "50 Hz"])
def test_on_the_wall_clock_an_episode_is_that_of_lockstep_within_its_jitter(step_s: float, capture_s: float) -> None:
    """Straight on with gas and brakes.  A look that comes ``e`` late is ``e · speed`` off, a control changes the speed for good.

    Late steps, which a busy computer has, are modelled.  A run whose bound says little all the same is repeated.
    """
    options = EnvironmentOptions(time_step_s=step_s, start_obs_capture_s=capture_s, window_width=256, window_height=128)
    steps, period = round(2.5 / step_s), round(0.5 / step_s)
    gas_and_brake = [(float(k % period < 0.7 * period), float(k % period >= 0.9 * period)) for k in range(steps)]
    given = [np.array((gas, brake, 0.0), np.float32) for gas, brake in gas_and_brake]
    bounds = []
    for _ in range(5):
        rows, (_, _, start, *readings) = on_the_wall_clock(options, given, perturbed=None)
        timing = Modelled([reading - start for reading in readings], options)
        lockstep = make(options)
        lockstep.unwrapped.interface._world._timing = timing  # type: ignore[attr-defined]
        due = drive(lockstep, given[:-1], perturbed=None)
        lockstep.close()

        speed_error = way_error = bound = 0.0
        for k, (row, expected) in enumerate(zip(rows[1:], due[1:], strict=False)):
            real, ideal = row[-1], expected[-1]
            shifts = rows[k][-1]["gear"] != real["gear"]
            speed_error += 2 * STRONGEST * (timing.errors[2 * k] + SUBSTEP_S * shifts)
            way_error += (speed_error + STRONGEST * SUBSTEP_S / 2) * step_s
            bound = way_error + real["speed"] * timing.errors[2 * k + 1]
            assert abs(real["z"] - ideal["z"]) <= bound + 1e-3
        bounds.append(bound)
        if bound < 0.2 * ideal["z"]:
            return
    pytest.fail(f"this computer is too busy to tell: after 2.5 s the place was known within {bounds} m only")
