"""Faults that an environment may have, and what is said of each."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.envs.test_pacing import Counter
from tests.support import robot
from tmrld.envs.checks import Finding, checks, misfit
from tmrld.envs.options import FULL_ID, LIDAR_ID, OURS, EnvironmentOptions
from tmrld.errors import WorldError

FEW = 30
QUICK: dict[str, Any] = {"time_step_s": 0.02, "start_obs_capture_s": 0.01}


class Sound(gymnasium.Env[Any, Any]):
    """A walk of a point that follows all rules; each of its heirs breaks one."""

    def __init__(self) -> None:
        self.observation_space: gymnasium.Space[Any] = spaces.Box(-100, 100, (2,), np.float32)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self._place = np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self._place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self._place.copy(), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        self._place = (self._place + action).clip(-100, 100).astype(np.float32)
        return self._place.copy(), float(self._place[0]), False, False, {}


class LeavesItsSpace(Sound):
    """Wanders off."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        return np.full(2, 101, np.float32), *super().step(action)[1:]


class Tattered(Sound):
    """Sees one number less than it says."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        observation, *rest = super().step(action)
        return (observation[:1], *rest)


class Precise(Sound):
    """Sees in 64 bits what is to be in 32."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        observation, *rest = super().step(action)
        return (observation.astype(np.float64), *rest)


class PaysNothingness(Sound):
    """Pays no number in its seventh step."""

    _count = 0

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        self._count += 1
        observation, reward, *rest = super().step(action)
        return (observation, reward if self._count % 7 else float("nan"), *rest)


class EndsInNumbers(Sound):
    """Says 0 for false."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, 0, truncated, info


class Secretive(Sound):
    """Has a word for an info."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        return (*super().step(action)[:4], "all is well")


class Wordy(Sound):
    """Writes its lap time out."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        return (*super().step(action)[:4], {"lap_time_s": "a minute"})


class Fickle(Sound):
    """Has a die of its own."""

    _die = np.random.default_rng()

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        return super().step(action + self._die.normal(0, 0.1, 2))


class BreaksDown(Sound):
    """Does not survive its twelfth step."""

    _count = 0

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        self._count += 1
        if self._count > 12:
            raise OSError("the cable was pulled")
        return super().step(action)


class IsTakenAway(PaysNothingness):
    """Tells in every ninth step that a person has the controls."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        return (*super().step(action)[:4], {"user_drives": self._count % 9 == 0})


class Dawdles(Counter):
    """Looks for longer than a time step of 0.02 s."""

    def get_obs_rew_terminated_info(self) -> Any:
        time.sleep(0.05)
        return super().get_obs_rew_terminated_info()


class ClosesOnce(Sound):
    """Cannot be closed again."""

    _open = True

    def close(self) -> None:
        if not self._open:
            raise ValueError("closed already")
        self._open = False


def found(id: str | Callable[[], Any], steps: int = FEW, **settings: Any) -> list[Finding]:
    """What the checks find."""
    name = id if isinstance(id, str) else f"{__name__}:{id.__name__}"
    return list(checks(EnvironmentOptions(id=name, **settings), steps))


def wrongs(findings: list[Finding]) -> dict[str, str]:
    """Those that are wrong: name and sentence."""
    return {each.check: each.text for each in findings if each.state == "wrong"}


@pytest.mark.parametrize("id", OURS)
def test_nothing_is_wrong_with_ours(id: str) -> None:
    findings = found(id)
    assert wrongs(findings) == {}
    assert {each.check for each in findings} >= {"observations", "rewards", "ends", "info", "seeds", "picture", "closing"}


def test_in_real_time_the_pace_is_told_and_the_seeds_are_not_asked_for() -> None:
    findings = {each.check: each for each in found(FULL_ID, 10, clock="realtime")}
    assert wrongs(list(findings.values())) == {}
    assert re.match("this machine (keeps|does not keep) 20 Hz", findings["pace"].text)
    assert "seeds" not in findings


def test_whoever_comes_late_is_told_what_a_bench_tells() -> None:
    (pace,) = [each for each in found(Dawdles, 5, time_step_s=0.02, start_obs_capture_s=0.01) if each.check == "pace"]
    assert pace.state == "note"
    assert pace.text.startswith("this machine does not keep 50 Hz: ")


def test_episodes_of_one_step_tell_nothing_of_the_pace() -> None:
    (pace,) = [each for each in found(FULL_ID, 2, clock="realtime", max_steps=1) if each.check == "pace"]
    assert (pace.state, pace.text) == ("note", "too few steps to tell whether this machine keeps time")


def test_an_interface_of_ones_own_goes_by_the_clock_whatever_the_options_say(tmp_path: Path) -> None:
    findings = found(robot.ID, 3, kwargs={"diary": str(tmp_path / "diary")}, **QUICK)
    assert wrongs(findings) == {}
    assert {"pace", "seeds"} & {each.check for each in findings} == {"pace"}


def test_a_person_who_takes_over_ends_the_driving(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    findings = found(robot.ID, 50, kwargs={"diary": str(tmp_path / "diary")}, **QUICK)
    assert wrongs(findings) == {}
    assert {"observations", "rewards", "pace", "seeds"}.isdisjoint(each.check for each in findings)
    (driving,) = [each for each in findings if each.check == "driving"]
    assert driving.state == "note"
    assert driving.text.startswith("1 step, 1 episode, then a person took over: take your hands off the controls")
    assert findings[-1].check == "closing"


def test_what_was_wrong_before_a_person_took_over_is_told() -> None:
    findings = found(IsTakenAway)
    assert [(each.check, each.state) for each in findings if each.state == "wrong"] == [("rewards", "wrong")]
    assert "seeds" not in {each.check for each in findings}


def test_nothing_is_wrong_with_a_sound_one() -> None:
    assert wrongs(found(Sound)) == {}


@pytest.mark.parametrize(
    ("kind", "check", "text"),
    [
        (
            LeavesItsSpace,
            "observations",
            "step 1 returned the observation with values from 101 to 101: its space says -100 to 100",
        ),
        (Tattered, "observations", "step 1 returned the observation of shape (1,): its space says (2,)"),
        (Precise, "observations", "step 1 returned the observation of type float64: its space says float32"),
        (PaysNothingness, "rewards", "returned the reward nan: return a number that is finite"),
        (EndsInNumbers, "ends", "step 1 returned terminated = 0: return true or false"),
        (Secretive, "info", "step 1 returned an info that is a str: return a dict"),
        (Wordy, "info", "step 1 returned an info with 'lap_time_s' = 'a minute', which is read as a number here"),
        (Fickle, "seeds", "step 1 differs when the same seed and actions are given again: draw all chance from self.np_random"),
        (BreaksDown, "driving", "then OSError: the cable was pulled: this is the environment's own code to mend"),
        (ClosesOnce, "closing", "closing it twice fails: ValueError: closed already: closing again should do nothing"),
    ],
)
def test_each_fault_is_told_with_what_to_do(kind: type[Sound], check: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = wrongs(found(kind))
    assert text in told[check]


def test_what_gymnasium_finds_wrong_is_told() -> None:
    assert "not equivalent for the same seed" in wrongs(found(Fickle))["Gymnasium's check_env"]


def test_gymnasiums_warnings_are_notes_in_plain_words() -> None:
    notes = [each.text for each in found(LIDAR_ID, 1) if each.state == "note"]
    assert notes == ["a part of the observation has no upper bound: networks here do not need one"]
    notes = [each.text for each in found("Pendulum-v1", 1) if each.state == "note"]
    assert notes == ["the actions are not in [-1, 1]: here policies act in [-1, 1], which is stretched to them"]


def test_an_environment_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(WorldError, match="did you mean 'Pendulum-v1'"):
        found("Pendulun-v1")


BOX = spaces.Box(0, 1, (2,), np.float32)
FINE = np.array((0.0, 1.0), np.float32)


@pytest.mark.parametrize(
    ("space", "value", "text"),
    [
        (BOX, FINE, ""),
        (BOX, [0.0, 1.0], "it as a list: return a NumPy array"),
        (BOX, FINE * 2, "it with values from 0 to 2: its space says 0 to 1"),
        (BOX, FINE * np.nan, "it with values from nan to nan"),
        (spaces.Tuple((BOX, BOX)), (FINE, FINE), ""),
        (spaces.Tuple((BOX, BOX)), (FINE,), "it as 1 parts: return a tuple of 2"),
        (spaces.Tuple((BOX, BOX)), [FINE, FINE], "it as a list: return a tuple of 2"),
        (spaces.Tuple((BOX, BOX)), (FINE, FINE[:1]), "it[1] of shape (1,)"),
        (spaces.Dict({"a": BOX}), {"a": FINE}, ""),
        (spaces.Dict({"a": BOX}), {"b": FINE}, "it with ['b']: return a dict with ['a']"),
        (spaces.Dict({"a": BOX}), FINE, "it with a ndarray: return a dict with ['a']"),
        (spaces.Dict({"a": spaces.Tuple((BOX,))}), {"a": (FINE - 1,)}, "it['a'][0] with values from -1 to 0"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(space: gymnasium.Space[Any], value: Any, text: str) -> None:
    said = misfit(space, value, "it")
    assert said.startswith(text)
    assert bool(said) == bool(text)
