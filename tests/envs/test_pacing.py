"""Lockstep in rtgym's loop: nothing waits, and no thread takes turns with the driver's."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from rtgym import RealTimeGymInterface

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.pacing import PacedEnv

ACTION = np.zeros(1, np.float32)


class Counter(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """Shows how many controls it was given, and says from which thread."""

    def __init__(self, broken_at: int | None = None) -> None:
        self._broken_at = broken_at
        self._controls = 0

    def get_observation_space(self) -> Any:
        return spaces.Tuple((spaces.Box(0, 100, (1,), np.float32),))

    def get_action_space(self) -> Any:
        return spaces.Box(-1, 1, (1,), np.float32)

    def get_default_action(self) -> Any:
        return np.zeros(1, np.float32)

    def send_control(self, control: Any) -> None:
        self._controls += 1

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        self._controls = 0
        return [np.zeros(1, np.float32)], {}

    def get_obs_rew_terminated_info(self) -> Any:
        if self._controls == self._broken_at:
            raise OSError("the cable was pulled")
        return [np.full(1, self._controls, np.float32)], 1.0, False, {"thread": threading.get_ident()}


def lockstep(interface: Counter) -> PacedEnv:
    return PacedEnv(lambda: interface, EnvironmentOptions(clock="lockstep"))


def test_steps_run_in_the_drivers_own_thread() -> None:
    env = lockstep(Counter())
    env.reset()
    info = env.step(ACTION)[-1]
    env.close()

    assert info["thread"] == threading.get_ident()


def test_each_step_returns_what_the_control_before_it_led_to() -> None:
    env = lockstep(Counter())
    env.reset()
    seen = [env.step(ACTION)[0][0].item() for _ in range(4)]
    env.close()

    assert seen == [1, 2, 3, 4]  # the first control is the default action, given by the reset


def test_an_exception_reaches_the_driver_in_the_step_that_led_to_it() -> None:
    env = lockstep(Counter(broken_at=3))
    env.reset()
    env.step(ACTION)
    with pytest.raises(OSError, match="cable"):
        env.step(ACTION)
    env.reset()

    assert env.step(ACTION)[0][0].item() == 1
    env.close()
