"""rtgym on a virtual clock: its thread "sleeps" by moving the clock on, so that real time takes no time and is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import rtgym.envs.real_time_env

import tmrld.envs.pacing
import tmrld.envs.sim.env
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import make


class VirtualTime:
    """Stands in for the module ``time``."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, duration_s: float) -> None:
        assert duration_s >= 0
        self.now += duration_s


class VirtualEnv:
    """An environment in real time whose clock is virtual, with a driver who may hand in an action late."""

    def __init__(self, options: EnvironmentOptions, start_s: float = 0.0) -> None:
        self.time = VirtualTime(start_s)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tmrld.envs.sim.env, "time", self.time)
            self.env: Any = make(options.model_copy(update={"clock": "realtime"})).unwrapped

    def reset(self, seed: int, options: dict[str, Any] | None = None) -> Any:
        return self._on_time(lambda: self.env.reset(seed=seed, options=options))

    def step(self, action: Any, late_s: float = 0.0) -> Any:
        """One step, whose action comes ``late_s`` after the end of the time step before."""
        self.time.now += late_s
        return self._on_time(lambda: self.env.step(action))

    def _on_time(self, call: Callable[[], Any]) -> Any:
        """The result of ``call``, at the end of the time step that it began.

        rtgym's thread has nothing left to do when this returns: the clock is the driver's again.
        """
        with pytest.MonkeyPatch.context() as patch:
            for module in (tmrld.envs.pacing, rtgym.envs.real_time_env):
                patch.setattr(module, "time", self.time)
            result = call()
            if self.env._RealTimeEnvTS__ts_running:
                assert self.env._RealTimeEnvTS__ev_end_ts.wait(60)
            self.env._await_end()
        return result
