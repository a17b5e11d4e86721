"""Tracks of the simulator: a road in closed form, from a start line to a finish line.

A road is a row of straights and arcs; its centre line, width, checkpoints and finish are exact.
Axes and headings are those of `tmrld.envs.sim.car`: z ahead and x right at heading 0, headings grow clockwise.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.trackmania.tracks import SPACING_M
from tmrld.errors import WorldError

BORDER_M = 2.5
"""Width of the black paint along each side, outside of the road's width."""
GATE_SPACING_M = 100.0


@dataclass(frozen=True)
class Straight:
    """``length`` metres straight on."""

    length: float


@dataclass(frozen=True)
class Arc:
    """A bend of constant ``radius`` (metres) that turns by ``degrees``: positive to the right."""

    radius: float
    degrees: float

    @property
    def length(self) -> float:
        """Length of the centre line, metres."""
        return self.radius * math.radians(abs(self.degrees))


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


class Gate:
    """A line across the road that a lap must cross, in order: the last is the finish line."""

    def __init__(self, pose: Pose, half_width: float, metres: float) -> None:
        self.metres = metres
        """Where it lies along the centre line."""
        self._x, self._z = pose.x, pose.z
        self._sine, self._cosine = math.sin(pose.heading), math.cos(pose.heading)
        self._half_width = half_width

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
        return share if abs(x * self._cosine - z * self._sine) <= self._half_width else None


@dataclass(frozen=True)
class Track:
    """A road from a start line to a finish line.

    The car starts at the origin, heading 0.  ``run_out`` metres of road follow the finish line, ``run_in`` lie before the start.
    """

    name: str
    segments: tuple[Segment, ...]
    width: float = 16.0
    run_in: float = 15.0
    run_out: float = 60.0

    @property
    def length(self) -> float:
        """From start to finish along the centre line, metres."""
        return sum(segment.length for segment in self.segments)

    @cached_property
    def _starts(self) -> tuple[Pose, ...]:
        """The pose at which each segment starts, and the finish."""
        poses = [Pose(0.0, 0.0, 0.0)]
        for segment in self.segments:
            poses.append(_along(poses[-1], segment, segment.length))
        return tuple(poses)

    def pose(self, s: float) -> Pose:
        """The centre line ``s`` metres after the start; before the start and after the finish it runs straight on."""
        if s <= 0.0:
            return self._starts[0].ahead(s)
        for start, segment in zip(self._starts, self.segments, strict=False):
            if s <= segment.length:
                return _along(start, segment, s)
            s -= segment.length
        return self._starts[-1].ahead(s)

    @cached_property
    def line(self) -> NDArray[np.float64]:
        """The reward line: the centre line from start to finish, (n, 3) points 0.1 m apart."""
        s = np.linspace(0.0, self.length, round(self.length / SPACING_M) + 1)
        line = np.zeros((len(s), 3))
        reached = 0.0
        for start, segment in zip(self._starts, self.segments, strict=False):
            here = (s >= reached) & (s <= reached + segment.length)
            line[here, 0], line[here, 2] = _centre_line(start, segment, s[here] - reached)
            reached += segment.length
        line[-1] = (self._starts[-1].x, 0.0, self._starts[-1].z)
        return line

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """The checkpoints, evenly spread, and the finish line; they reach a little into the grass."""
        count = max(1, round(self.length / GATE_SPACING_M))
        half_width = self.width / 2 + BORDER_M + 2.0
        return tuple(Gate(self.pose(self.length * k / count), half_width, self.length * k / count) for k in range(1, count + 1))


def _along(start: Pose, segment: Segment, s: float) -> Pose:
    """The pose ``s`` metres into a segment that starts at ``start``."""
    if isinstance(segment, Straight):
        return start.ahead(s)
    side = math.copysign(segment.radius, segment.degrees)
    centre = start.right(side)
    heading = start.heading + s / side
    return Pose(centre.x, centre.z, heading).right(-side)


def _centre_line(start: Pose, segment: Segment, s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and z of many places on a segment, as `_along` has them for one."""
    if isinstance(segment, Straight):
        return start.x + s * math.sin(start.heading), start.z + s * math.cos(start.heading)
    side = math.copysign(segment.radius, segment.degrees)
    centre = start.right(side)
    headings = start.heading + s / side
    return centre.x - side * np.cos(headings), centre.z + side * np.sin(headings)


DEFAULT = Track(
    "default",
    (
        *(Straight(60), Arc(40, 60), Straight(25), Arc(36, -80), Straight(40), Arc(30, 150)),  # slow right
        *(Straight(30), Arc(34, -80), Straight(25), Arc(30, -110)),  # slow left
        *(Straight(30), Arc(36, 70), Straight(20), Arc(40, 45), Straight(15), Arc(45, -50), Straight(40)),
    ),
)
"""Eight corners over 650 m; the two tightest want some 80 km/h."""

LONG = Track(
    "long",
    (
        *(Straight(150), Arc(40, 90), Straight(80), Arc(60, -90), Straight(120), Arc(16, 180), Straight(90), Arc(35, -90)),
        *(Straight(80), Arc(18, -170), Straight(50), Arc(25, 80), Straight(40), Arc(35, 60), Straight(120), Arc(45, -100)),
        *(Straight(130), Arc(50, -70), Straight(120), Arc(18, 165), Straight(90), Arc(60, -60), Straight(50), Arc(26, -90)),
        *(Straight(40), Arc(26, 90), Straight(140)),
    ),
)
"""Two kilometres with straights long enough for 150 km/h, and hairpins after them."""

TRACKS = {track.name: track for track in (DEFAULT, LONG)}


def named(name: str) -> Track:
    """The track of that name.  Raises WorldError naming the nearest one."""
    if name in TRACKS:
        return TRACKS[name]
    near = difflib.get_close_matches(name, TRACKS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(TRACKS)}"
    raise WorldError(f"the simulator has no track called {name!r}: {hint}")
