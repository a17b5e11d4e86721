"""Recording the line of a track while a person drives it: what the plugin tells, as a run from the start to the finish.

::

    FINISHED ──┐ the flag is taken back
    AWAY ──────┤ at the start                     restart
    VOID ──────┼─► READY ──► RUNNING ──► DONE   ◄─────────┐
               │         moves    │   flag                │
               └──────────────────┴───────────────────────┘
                        jump, too short, …: VOID

A recording begins with the first movement of a car that stands at the start, and ends with the record that says "finished".  Whoever
restarts the race in between (the car is back where it started from) begins anew.  A car that jumps elsewhere, as a respawn at a
checkpoint makes it, spoils the run: its line would lead where no road is.  Then a restart is waited for.

Pure: records come in, one after the other, each with the time at which it came.
"""

from __future__ import annotations

import math
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.trackmania.telemetry import Record
from tmrld.envs.trackmania.tracks import MAX_POINTS, SPACING_M, resampled
from tmrld.errors import WorldError

STANDS_M_S = 0.5
"""A car that is no faster stands."""
MOVED_M = 0.1
"""A car that stands still may sink into its springs by some centimetres."""
START_M = 5.0
"""A car that has driven less far since the race began, as the plugin counts it, is at the start."""
BACK_M = 0.5
"""So close to where it began, a car that stands has been put there by a restart."""
SHORTEST_M = 10.0
"""A finish that is nearer to the start is none of a track."""
JUMP_M = 2.0
JUMP_S = 0.03
JUMP_FACTOR = 1.2
"""From one record to the next a car moves no further than `JUMP_M`, and `JUMP_FACTOR` times what its speed makes of the time between
and `JUMP_S`, by which records may come late."""
GAP_S = 0.25
"""A longer silence counts as so long: what lies between its ends was not seen."""
STEP_M = 0.01
"""Points that are closer together tell nothing new of the line."""


class Phase(Enum):
    """How it stands with the recording."""

    FINISHED = auto()  # the race was finished before anything was seen of it
    AWAY = auto()  # the car is somewhere on the track
    READY = auto()  # it stands at the start
    RUNNING = auto()  # it drives, and is recorded
    VOID = auto()  # the run cannot become a line
    DONE = auto()


class Recorder:
    """One line, from the first record to the finish."""

    def __init__(self, scale: float = 1.0) -> None:
        """``scale`` makes metres per second of the speed that the plugin tells."""
        self.scale = scale
        self._phase: Phase | None = None
        self._last: Record | None = None
        self._points: list[tuple[float, float, float]] = []
        self._length = 0.0
        self._began = self._ended = 0.0
        self._reason = ""
        self._line: NDArray[np.float64] | None = None
        self.restarts = 0
        """How often the race was begun anew after the recording had begun."""

    @property
    def reason(self) -> str:
        """Why the last run cannot become a line; "" if none was spoilt."""
        return self._reason

    @property
    def length_m(self) -> float:
        """How far the car has driven in this run."""
        return self._length

    @property
    def run_s(self) -> float:
        """From the first movement to the newest record of this run; the lap's time, once it is done."""
        return self._ended - self._began

    @property
    def line(self) -> NDArray[np.float64]:
        """What was recorded, a point every 0.1 m: (n, 3).  Only when it is `Phase.DONE`."""
        assert self._line is not None
        return self._line

    def see(self, record: Record) -> Phase:
        """The next record has come.  Returns how it stands now; after `Phase.DONE` nothing changes any more."""
        if self._phase is not Phase.DONE:
            self._phase = self._next(record)
            self._last = record
        return self._phase

    def _next(self, record: Record) -> Phase:
        if not all(map(math.isfinite, (record.x, record.y, record.z, record.speed, record.received))):
            return self._spoilt("the plugin has told a place that is no number: reload it in OpenPlanet")
        match self._phase:
            case Phase.READY:
                return self._ready(record)
            case Phase.RUNNING:
                return self._running(record)
            case before:
                return self._waiting(record, before)

    def _waiting(self, record: Record, before: Phase | None) -> Phase:
        """Nothing is recorded: look whether the car is at the start."""
        was_finished = self._last is not None and self._last.finished
        if record.finished:
            return Phase.FINISHED if before is None or before is Phase.AWAY else before
        begins = was_finished or abs(record.distance) < START_M or self._is_back(record)
        if begins and self._speed(record) <= STANDS_M_S:
            return self._at_start(record)
        if before in (None, Phase.FINISHED):
            return Phase.AWAY
        return before

    def _at_start(self, record: Record) -> Phase:
        self._points = [_place(record)]
        self._length = 0.0
        self._began = self._ended = record.received
        return Phase.READY

    def _ready(self, record: Record) -> Phase:
        """The car stands at the start; where it stands may change, if it does so at once."""
        if record.finished:
            return Phase.FINISHED
        moved = math.dist(_place(record), self._points[0])
        if moved <= MOVED_M:
            self._began = self._ended = record.received
            return Phase.READY
        assert self._last is not None
        if self._jumped(self._last, record):  # to another start, or another track
            return self._waiting(record, Phase.AWAY)
        return self._follow(record)

    def _running(self, record: Record) -> Phase:
        assert self._last is not None
        if self._is_back(record) and self._length > 2 * BACK_M:
            self.restarts += 1
            return self._at_start(record)
        if self._jumped(self._last, record):
            far = math.dist(_place(self._last), _place(record))
            silent = record.received - self._last.received
            if silent > GAP_S:
                return self._spoilt(f"nothing was heard of the game for {silent:.1f} s, in which the car has moved {far:.0f} m")
            return self._spoilt(f"the car has jumped by {far:.0f} m, as a respawn makes it")
        return self._follow(record)

    def _follow(self, record: Record) -> Phase:
        place = _place(record)
        step = math.dist(self._points[-1], place)
        if step >= STEP_M or record.finished:
            self._points.append(place)
            self._length += step
        self._ended = record.received
        if self._length > (MAX_POINTS - 1) * SPACING_M:
            return self._spoilt(f"it is longer than {MAX_POINTS * SPACING_M / 1000:.0f} km")
        return self._finish() if record.finished else Phase.RUNNING

    def _finish(self) -> Phase:
        if self._length < SHORTEST_M:
            return self._spoilt(
                f"it is too short: {self._length:.1f} m from start to finish, at least {SHORTEST_M:g} m are needed"
            )
        try:
            self._line = resampled(self._points, "the run")
        except WorldError as error:
            return self._spoilt(str(error))
        return Phase.DONE

    def _spoilt(self, reason: str) -> Phase:
        self._reason = reason
        return Phase.VOID

    def _speed(self, record: Record) -> float:
        """In metres per second, whichever way the car drives."""
        return abs(record.speed) * self.scale

    def _is_back(self, record: Record) -> bool:
        """Whether the car stands where this run, or the one that was spoilt, began."""
        return (
            bool(self._points)
            and not record.finished
            and self._speed(record) <= STANDS_M_S
            and math.dist(_place(record), self._points[0]) <= BACK_M
        )

    def _jumped(self, before: Record, after: Record) -> bool:
        """Whether the car moved further than it can have driven."""
        passed_s = min(max(after.received - before.received, 0.0), GAP_S) + JUMP_S
        reach = JUMP_M + JUMP_FACTOR * max(self._speed(before), self._speed(after)) * passed_s
        return math.dist(_place(before), _place(after)) > reach


def _place(record: Record) -> tuple[float, float, float]:
    return record.x, record.y, record.z
