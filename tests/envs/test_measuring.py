"""How exactly time is kept, worked out from when things happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.envs.test_pacing import Counter
from tmrld.envs.measuring import Timed
from tmrld.envs.timekeeping import Distribution, grid_errors, verdict


@given(st.floats(-1e6, 1e6), st.lists(st.floats(-0.01, 0.0499), max_size=50))
def test_errors_are_those_of_the_grid_and_do_not_add_up(first: float, errors: list[float]) -> None:
    starts = [first, *(first + 0.05 * (k + 1) + error for k, error in enumerate(errors))]
    assert grid_errors(starts, 0.05, 0.05) == pytest.approx(errors, abs=1e-6)


def test_after_a_step_that_came_too_late_the_grid_begins_anew() -> None:
    starts = [0.0, 0.05, 0.17, 0.22, 0.28]
    assert grid_errors(starts, 0.05, 0.05) == pytest.approx([0.0, 0.07, 0.0, 0.01])


@pytest.mark.parametrize("starts", [[], [3.0]])
def test_without_two_steps_there_is_no_error(starts: list[float]) -> None:
    assert grid_errors(starts, 0.05, 0.05) == []


def test_a_distribution_is_that_of_the_sizes() -> None:
    values = [-0.001 * k for k in range(1, 1001)]
    found = Distribution.of(values)
    assert found is not None
    assert (found.mean, found.p50, found.max) == pytest.approx((0.5005, 0.5005, 1.0))
    assert (found.p99, found.p999) == pytest.approx((0.99001, 0.999001))
    assert Distribution.of([]) is None


def test_what_is_timed_is_driven_as_before() -> None:
    timed = Timed(Counter())
    timed.reset()
    for _ in range(3):
        timed.send_control(np.zeros(1, np.float32))
        observation, reward, _, _ = timed.get_obs_rew_terminated_info()
    timed.wait()
    timed.reset()
    timed.send_control(np.zeros(1, np.float32))

    assert (observation[0].item(), reward) == (3, 1.0)
    assert [len(starts) for starts in timed.episodes] == [3, 1]
    assert timed.episodes[0] == sorted(timed.episodes[0])
    assert (len(timed.controls), len(timed.looks)) == (4, 3)
    assert min(timed.controls + timed.looks) >= 0.0
    assert timed.get_action_space() == Counter().get_action_space()
    assert timed.get_observation_space() == Counter().get_observation_space()
    assert timed.get_default_action() == Counter().get_default_action()


def test_what_an_interface_has_beyond_rtgyms_is_still_there() -> None:
    class Held(Counter):
        user_drives = True

        def picture(self, info: Any) -> str:
            return "a picture"

    timed = Timed(Held())
    assert (timed.user_drives, timed.picture({})) == (True, "a picture")
    assert not hasattr(Timed(Counter()), "picture")


def spread(p99: float) -> Distribution:
    return Distribution(p99 / 4, p99 / 4, p99, 2 * p99, 3 * p99)


def test_the_verdict_is_told_in_words() -> None:
    keeps, words = verdict(0.05, 1000, 0, spread(0.002))
    assert keeps
    assert words.startswith(
        "this machine keeps 20 Hz: 99 % of the steps begin within 2.0 ms of their time, the worst was off by 6.0"
    )
    keeps, words = verdict(0.05, 1000, 0, spread(0.006))
    assert not keeps
    assert words.startswith("this machine keeps 20 Hz on average, but not evenly: 99 % of the steps begin within 6.0 ms")
    assert "late. See the table: close" in verdict(0.02, 1000, 3, spread(0.002), "see the table")[1]
    keeps, words = verdict(0.02, 1000, 3, spread(0.002))
    assert not keeps
    assert words.startswith("this machine does not keep 50 Hz: 3 of 1,000 steps came late")
    assert verdict(0.05, 1000, 0, None) == (True, "in lockstep no step can be late")
