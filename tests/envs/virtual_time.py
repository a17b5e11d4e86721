"""rtgym on a virtual clock: its thread "sleeps" by moving the clock on, so that real time takes no time and is exact."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import rtgym.envs.real_time_env

import tmrld.envs.pacing
import tmrld.envs.sim.env
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import make

PATIENCE_S = 60.0


class VirtualTime:
    """Stands in for the module ``time``."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.passes = threading.Event()
        """Unless it is set, whoever sleeps does not wake."""
        self.passes.set()
        self.somebody_sleeps = threading.Event()

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, duration_s: float) -> None:
        assert duration_s >= 0
        wakes = self.now + duration_s
        self.somebody_sleeps.set()
        assert self.passes.wait(PATIENCE_S)
        self.now = max(self.now, wakes)


class VirtualEnv:
    """An environment in real time whose clock is virtual, with a driver who may hand in an action late.

    An early driver hands in each action before the time step ends: time passes only while it waits.  Another does so at the very end.
    """

    def __init__(self, options: EnvironmentOptions, start_s: float = 0.0, early: bool = False) -> None:
        self.time = VirtualTime(start_s)
        self._early = early
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tmrld.envs.sim.env, "time", self.time)
            env: Any = make(options.model_copy(update={"clock": "realtime"})).unwrapped
        self.env = env
        self._wait = env._wait_thread
        env._wait_thread = self._wait_while_time_passes

    def reset(self, seed: int, options: dict[str, Any] | None = None) -> Any:
        return self._on_time(lambda: self.env.reset(seed=seed, options=options))

    def step(self, action: Any, late_s: float = 0.0) -> Any:
        """One step, whose action comes ``late_s`` after the end of the time step before."""
        if late_s:
            self._on_time(self.env.stop)
            self.time.now += late_s
        return self._on_time(lambda: self.env.step(action))

    def close(self) -> None:
        self._on_time(self.env.close)

    def _wait_while_time_passes(self) -> None:
        self.time.passes.set()
        self._wait()
        if self._early:
            self.time.passes.clear()
            self.time.somebody_sleeps.clear()

    def _on_time(self, call: Callable[[], Any]) -> Any:
        """The result of ``call``.  When this returns, rtgym's thread has nothing to do but sleep: the clock is the driver's again."""
        with pytest.MonkeyPatch.context() as patch:
            for module in (tmrld.envs.pacing, rtgym.envs.real_time_env):
                patch.setattr(module, "time", self.time)
            result = call()
            deadline = time.monotonic() + PATIENCE_S
            while self.env._RealTimeEnvTS__ts_running and not (self.env._RealTimeEnvTS__ev_end_ts.is_set() or self._is_asleep):
                assert time.monotonic() < deadline
                time.sleep(0)
        return result

    @property
    def _is_asleep(self) -> bool:
        return self._early and self.time.somebody_sleeps.is_set()
