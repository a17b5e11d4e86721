"""How exactly time is kept: an interface that notes when it is called and how long that takes, and what follows from it.

Seconds throughout, by ``time.perf_counter``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rtgym import RealTimeGymInterface

from tmrld.envs.options import EnvironmentOptions

Seconds = NDArray[np.float64]

TOLERANCE = 0.1
"""Of a time step: who is never further off than that keeps time."""


class Timed(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """Passes every call on to ``interface``, in the thread in which it comes, and notes when controls are given and looks taken."""

    def __init__(self, interface: RealTimeGymInterface) -> None:
        self._interface = interface
        self.episodes: list[list[float]] = []
        """When each control of each episode was given; each begins a time step."""
        self.controls: list[float] = []
        self.looks: list[float] = []
        """How long each took."""

    def errors(self, options: EnvironmentOptions, since: int = 0) -> list[float]:
        """How far each time step began from its place on the grid, in all episodes from number ``since`` on."""
        step_s, timeout_s = options.time_step_s, options.time_step_s * options.timeout_factor
        return [error for starts in self.episodes[since:] for error in grid_errors(starts, step_s, timeout_s)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interface, name)  # what an interface may have beyond rtgym's: a picture, an end

    def get_observation_space(self) -> Any:
        return self._interface.get_observation_space()

    def get_action_space(self) -> Any:
        return self._interface.get_action_space()

    def get_default_action(self) -> Any:
        return self._interface.get_default_action()

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episodes.append([])
        return self._interface.reset(seed=seed, options=options)

    def send_control(self, control: Any) -> None:
        began = time.perf_counter()
        self._interface.send_control(control)
        self.controls.append(time.perf_counter() - began)
        self.episodes[-1].append(began)

    def get_obs_rew_terminated_info(self) -> Any:
        began = time.perf_counter()
        result = self._interface.get_obs_rew_terminated_info()
        self.looks.append(time.perf_counter() - began)
        return result

    def wait(self) -> None:
        self._interface.wait()


def grid_errors(starts: Sequence[float], step_s: float, timeout_s: float) -> list[float]:
    """How far each time step of an episode begins from where it should, the first one excepted: positive is late.

    They should begin ``step_s`` apart, from the first on, so that errors do not add up.  After one that is ``timeout_s`` late or
    more, rtgym's clock begins anew, and so does this grid.
    """
    errors = []
    origin, passed = (starts[0], 0) if starts else (0.0, 0)
    for start in starts[1:]:
        passed += 1
        error = start - (origin + passed * step_s)
        errors.append(error)
        if error >= timeout_s:
            origin, passed = start, 0
    return errors


@dataclass(frozen=True)
class Distribution:
    """Durations, or errors without their sign, of many steps, in seconds."""

    mean: float
    p50: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float] | Seconds) -> Distribution | None:
        """None where there are no values."""
        if not len(values):
            return None
        sizes = np.abs(np.asarray(values, np.float64))
        p50, p99, p999 = np.percentile(sizes, (50.0, 99.0, 99.9)).tolist()
        return cls(float(sizes.mean()), p50, p99, p999, float(sizes.max()))


def verdict(
    step_s: float,
    steps: int,
    late: int,
    error: Distribution | None,
    causes: str = "`tmrld env bench` tells what takes long",
) -> tuple[bool, str]:
    """Whether time is kept, and that in words.

    ``late``: how many of so many steps came after the timeout.  ``causes`` says what tells why.
    """
    rate = f"{1 / step_s:.4g} Hz"
    if error is None:
        return True, "in lockstep no step can be late"
    most = f"99 % of the steps begin within {error.p99 * 1000:.1f} ms of their time"
    if late:
        return False, (
            f"this machine does not keep {rate}: {late:,} of {steps:,} steps came late. {causes[:1].upper()}{causes[1:]}: "
            "close other programs, let a smaller policy drive, or make time_step_s longer"
        )
    if error.p99 > TOLERANCE * step_s:
        return False, (
            f"this machine keeps {rate} on average, but not evenly: {most}, and no step came late. Something else runs beside it: "
            "close other programs, and limit the frame rate of the game"
        )
    return True, f"this machine keeps {rate}: {most}, the worst was off by {error.max * 1000:.1f} ms, and none came late"
