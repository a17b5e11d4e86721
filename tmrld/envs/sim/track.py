"""Tracks of the simulator: a road in closed form, from a start line to a finish line.

A road is a row of straights and arcs; its centre line, width, checkpoints and finish are exact.  Where it crosses itself, the part
that comes later is a bridge.  Axes and headings are those of `tmrld.envs.sim.car`: z ahead and x right at heading 0, headings
grow clockwise.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.crossings import Crossing, crossings
from tmrld.envs.trackmania.tracks import SPACING_M

BORDER_M = 2.5
"""Width of the black paint along each side, outside of the road's width."""
GATE_SPACING_M = 100.0
BRIDGE_M = 6.0
"""Height of a bridge: a car, and the thickness of a road."""
RAMP_M = 50.0
"""Length of the ramps on both sides of a bridge; at most 18 % steep."""
SIGHT_M = 4.0
"""Distance of the samples in which crossings are looked for."""

Metres = TypeVar("Metres", float, NDArray[np.float64])
"""Places along the centre line: one, or an array of them."""


@dataclass(frozen=True)
class Straight:
    """``length`` metres straight on."""

    length: float

    @property
    def curvature(self) -> float:
        """1/m, positive to the right."""
        return 0.0


@dataclass(frozen=True)
class Arc:
    """A bend of constant ``radius`` (metres) that turns by ``degrees``: positive to the right."""

    radius: float
    degrees: float

    @property
    def length(self) -> float:
        """Length of the centre line, metres."""
        return self.radius * math.radians(abs(self.degrees))

    @property
    def curvature(self) -> float:
        """1/m, positive to the right."""
        return math.copysign(1.0 / self.radius, self.degrees)


Segment = Straight | Arc


@dataclass(frozen=True)
class Pose:
    """A place and a direction: metres and radians."""

    x: float
    z: float
    heading: float

    def ahead(self, distance: float) -> Pose:
        """The pose ``distance`` metres further straight on."""
        return Pose(self.x + distance * math.sin(self.heading), self.z + distance * math.cos(self.heading), self.heading)

    def right(self, distance: float) -> Pose:
        """The pose moved ``distance`` metres to its right."""
        return Pose(self.x + distance * math.cos(self.heading), self.z - distance * math.sin(self.heading), self.heading)

    def along(self, segment: Segment, s: float) -> Pose:
        """The pose ``s`` metres into a segment that starts here."""
        if isinstance(segment, Straight):
            return self.ahead(s)
        side = math.copysign(segment.radius, segment.degrees)
        centre = self.right(side)
        heading = self.heading + s / side
        return Pose(centre.x, centre.z, heading).right(-side)


class Gate:
    """A line across the road that a lap must cross, in order: the last is the finish line."""

    def __init__(self, pose: Pose, half_width: float, metres: float) -> None:
        self.metres = metres
        """Where it lies along the centre line."""
        self.half_width = half_width
        self._x, self._z = pose.x, pose.z
        self._sine, self._cosine = math.sin(pose.heading), math.cos(pose.heading)

    def crossed(self, x0: float, z0: float, x1: float, z1: float) -> float | None:
        """The share of the way from (x0, z0) to (x1, z1) at which it crosses forwards; None if it does not."""
        after = (x1 - self._x) * self._sine + (z1 - self._z) * self._cosine
        if after < 0.0:
            return None
        before = (x0 - self._x) * self._sine + (z0 - self._z) * self._cosine
        if before >= 0.0:
            return None
        share = before / (before - after)
        x, z = x0 + share * (x1 - x0) - self._x, z0 + share * (z1 - z0) - self._z
        return share if abs(x * self._cosine - z * self._sine) <= self.half_width else None


@dataclass(frozen=True)
class Passage:
    """Where the road runs over or under itself: ``deck`` 1 or 0, from ``start`` to ``end`` metres along the centre line."""

    deck: int
    middle: float
    start: float
    end: float


@dataclass(frozen=True)
class Track:
    """A road from a start line to a finish line.

    The car starts at the origin, heading 0.  ``run_out`` metres of road follow the finish line, ``run_in`` lie before the start.
    The road is ``width`` metres wide at the start; ``widths`` are pairs (metres along the centre line, width there) in their
    order, between which the width changes steadily.
    """

    name: str
    segments: tuple[Segment, ...]
    width: float = 16.0
    run_in: float = 15.0
    run_out: float = 60.0
    widths: tuple[tuple[float, float], ...] = ()

    @cached_property
    def length(self) -> float:
        """From start to finish along the centre line, metres."""
        return sum(segment.length for segment in self.segments)

    @cached_property
    def _starts(self) -> tuple[Pose, ...]:
        """The pose at which each segment starts, and the finish."""
        poses = [Pose(0.0, 0.0, 0.0)]
        for segment in self.segments:
            poses.append(poses[-1].along(segment, segment.length))
        return tuple(poses)

    @cached_property
    def starts(self) -> tuple[float, ...]:
        """Where each segment starts along the centre line, and the finish."""
        reached = [0.0]
        for segment in self.segments:
            reached.append(reached[-1] + segment.length)
        return tuple(reached)

    def pose(self, s: float) -> Pose:
        """The centre line ``s`` metres after the start; before the start and after the finish it runs straight on."""
        part = bisect_left(self.starts, s)
        if part == 0:
            return self._starts[0].ahead(s)
        if part == len(self.starts):
            return self._starts[-1].ahead(s - self.starts[-1])
        return self._starts[part - 1].along(self.segments[part - 1], s - self.starts[part - 1])

    def centre(self, s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """x, z and heading of many places at once, as `pose` has them for one."""
        part = np.searchsorted(self.starts, s)
        start = np.maximum(part - 1, 0)
        x, z, heading, reached = (table[start] for table in self._tables)
        curvature = self._curvatures[part]
        along = s - reached
        radius = 1.0 / np.where(curvature == 0.0, np.inf, curvature)
        after = heading + along * curvature
        straight_x, straight_z = along * np.sin(heading), along * np.cos(heading)
        bent = curvature != 0.0
        radius = np.where(bent, radius, 0.0)
        dx = np.where(bent, radius * (np.cos(heading) - np.cos(after)), straight_x)
        dz = np.where(bent, radius * (np.sin(after) - np.sin(heading)), straight_z)
        return x + dx, z + dz, after

    @cached_property
    def _tables(self) -> tuple[NDArray[np.float64], ...]:
        """x, z, heading and metres of each segment's start."""
        poses = self._starts
        return (
            np.array([pose.x for pose in poses]),
            np.array([pose.z for pose in poses]),
            np.array([pose.heading for pose in poses]),
            np.array(self.starts),
        )

    @cached_property
    def _curvatures(self) -> NDArray[np.float64]:
        """Before the start, of each segment, and after the finish."""
        return np.array([0.0, *(segment.curvature for segment in self.segments), 0.0])

    def half_width(self, s: Metres) -> Metres:
        """From the centre line to the border's inner edge, metres."""
        knots = np.array(((0.0, self.width), *self.widths))
        return _like(s, np.interp(s, knots[:, 0], knots[:, 1]) / 2)

    def curvature(self, s: Metres) -> Metres:
        """Of the centre line, in 1/m: positive where it turns right."""
        return _like(s, self._curvatures[np.searchsorted(self.starts, s)])

    def height(self, s: Metres) -> Metres:
        """Of the centre line above the ground, metres: 0 but for bridges and their ramps."""
        height = np.zeros(np.shape(s))
        for passage in self.passages:
            if passage.deck:
                half = (passage.end - passage.start) / 2
                share = np.clip(1.0 - (np.abs(s - passage.middle) - half) / RAMP_M, 0.0, 1.0)
                height = np.maximum(height, BRIDGE_M * share * share * (3.0 - 2.0 * share))
        return _like(s, height)

    @property
    def decks(self) -> int:
        """How many pictures of the ground there are: 2 where the road crosses itself, else 1."""
        return 2 if self.passages else 1

    @overload
    def deck(self, s: float) -> int: ...

    @overload
    def deck(self, s: NDArray[np.float64]) -> NDArray[np.intp]: ...

    def deck(self, s: float | NDArray[np.float64]) -> int | NDArray[np.intp]:
        """Which picture of the ground a car at ``s`` sees: 1 if it is to pass above at the next crossing or is on it, else 0."""
        passages = self.passages
        if not passages:
            return np.zeros(np.shape(s), np.intp) if isinstance(s, np.ndarray) else 0
        ends = [passage.end for passage in passages]
        decks = np.array([passage.deck for passage in passages] + [passages[-1].deck])
        found = decks[np.searchsorted(ends, s)]
        return found if isinstance(s, np.ndarray) else int(found)

    @cached_property
    def crossings(self) -> tuple[Crossing, ...]:
        """Where the road crosses itself, in the order of the lower parts."""
        s = np.arange(-self.run_in, self.length + self.run_out, SIGHT_M)
        x, z, _ = self.centre(s)
        return crossings(self.centre, s, x, z)

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """Both parts of each crossing, as one passes them.  What comes later runs above what came before."""
        found = []
        for crossing in self.crossings:
            for deck, here, there in ((0, crossing.below, crossing.above), (1, crossing.above, crossing.below)):
                reach, other = self.half_width(here) + BORDER_M, self.half_width(there) + BORDER_M
                half = crossing.overlap(reach, other)
                found.append(Passage(deck, here, here - half, here + half))
        return tuple(sorted(found, key=lambda passage: passage.middle))

    @cached_property
    def line(self) -> NDArray[np.float64]:
        """The reward line: the centre line from start to finish, (n, 3) points 0.1 m apart (as seen from above)."""
        s = np.linspace(0.0, self.length, round(self.length / SPACING_M) + 1)
        x, z, _ = self.centre(s)
        return np.column_stack([x, self.height(s), z])

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """The checkpoints, evenly spread, and the finish line; they reach a little into the grass."""
        count = max(1, round(self.length / GATE_SPACING_M))
        places = [self.length * k / count for k in range(1, count + 1)]
        return tuple(Gate(self.pose(s), self.half_width(s) + BORDER_M + 2.0, s) for s in places)


def _like(s: Metres, values: NDArray[np.float64]) -> Metres:
    """``values`` as what was asked with: a float for a float, else an array."""
    return values if isinstance(s, np.ndarray) else float(values)
