"""When things happen in the simulator: in lockstep by rtgym's rules, or when they happen on the wall clock.

A time step begins when a control is given, its look is due ``capture_s`` later, and it ends after ``step_s``: then the next
control is expected.  So an action works on the observation that follows the next one.  `Lockstep` works these moments out,
`WallClock` reads them off; times are seconds since the episode's start.

A control that comes late (a slow policy or computer) is obeyed when it comes: until then the car does what it was told before.
What follows is rtgym's "elastic" time step.  Late by less than ``timeout_s``, the look and the end stay where they were due, so
that the next step makes up for it; late by more, the clock starts anew from there.  `Lockstep` is late on purpose, by the shares
of a step that it is given; the wall clock is late by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

LONGEST_GAP_S = 1.0
"""On the wall clock, a silence longer than this and two time steps (a computer that slept) counts as this long."""


class Timing(Protocol):
    """Tells the time of what the driver does."""

    def start(self, late: Iterator[float]) -> None:
        """An episode starts at 0.  ``late``: by which share of a step each control comes late, where that is not a fact."""

    def control(self) -> float:
        """A control is given: when."""

    def look(self) -> float:
        """The world is looked at: when."""


class Lockstep:
    """Time is what the driver makes of it, however fast the steps go by."""

    def __init__(self, step_s: float, capture_s: float, timeout_s: float) -> None:
        """``capture_s`` must not be greater than ``step_s``."""
        self._step_s, self._capture_s, self._timeout_s = step_s, capture_s, timeout_s
        self._now = self._look_due = self._end = 0.0
        self._late: Iterator[float] = iter(())

    def start(self, late: Iterator[float]) -> None:
        """An episode starts at 0."""
        self._now = self._look_due = self._end = 0.0
        self._late = late

    def control(self) -> float:
        """The step before ends, or has ended a while ago; another begins."""
        now = self._now = max(self._now, self._end) + next(self._late) * self._step_s
        start = self._end if now < self._end + self._timeout_s else now
        self._look_due = start + self._capture_s
        self._end = start + self._step_s
        return now

    def look(self) -> float:
        """When the look is due, or at once if that has passed."""
        self._now = max(self._now, self._look_due)
        return self._now


class WallClock:
    """Time is that of a clock."""

    def __init__(self, clock: Callable[[], float], step_s: float) -> None:
        """``clock`` tells monotonic seconds."""
        self._clock = clock
        self._longest_s = LONGEST_GAP_S + 2.0 * step_s
        self._origin = self._last = clock()

    def start(self, late: Iterator[float]) -> None:
        """An episode starts now."""
        self._origin, self._last = self._clock(), 0.0

    def control(self) -> float:
        """Now."""
        return self._read()

    def look(self) -> float:
        """Now."""
        return self._read()

    def _read(self) -> float:
        now = self._clock() - self._origin
        slept = now - self._last - self._longest_s
        if slept > 0.0:
            self._origin += slept
            now -= slept
        self._last = now
        return now
