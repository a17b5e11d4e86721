"""What is to be said of how exactly time is kept: distributions and a verdict, of numbers that were measured.  Seconds throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

TOLERANCE = 0.1
"""Of a time step: who is never further off than that keeps time."""


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
