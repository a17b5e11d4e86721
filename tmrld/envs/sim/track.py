"""Tracks of the simulator: a road in closed form, and the picture of the ground it lies on.

A road is a row of straights and arcs; its centre line, width, start and finish are exact.  The *ground* is a raster of colour indices
seen from above, in cells of `CELL_M`, painted from the road once per process.  Camera and LIDAR look things up in it, the car
asks it for grass.  Axes and headings are those of `tmrld.envs.sim.car`: z ahead and x right at heading 0, headings grow clockwise.
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

CELL_M = 0.1
TILE = 8
"""The raster is also kept in tiles of so many cells squared, see `Ground.rings`."""
MAX_RINGS = 15
MARGIN_M = 14.0
"""Grass before and behind the road (in z) that is part of the raster, more than `MAX_RINGS` tiles; beyond it everything is grass."""
SIDE_M = 75.0
"""Grass to the left and right (in x): half of what is usually looked at, see `Ground.seen`."""

# Colour indices of the ground.  Only BORDER is dark enough for TMRL's LIDAR (every channel below 55).
GRASS, GRASS_LIGHT, ROAD, ROAD_LIGHT, BORDER, WHITE, RED = range(7)
PALETTE = np.array(
    [(62, 118, 52), (74, 134, 60), (112, 112, 118), (122, 122, 127), (14, 14, 16), (238, 238, 238), (200, 52, 44)], np.uint8
)
"""RGB of each colour index."""

BORDER_M = 1.8
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

    def __init__(self, pose: Pose, half_width: float) -> None:
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


class Ground:
    """Colour indices seen from above.  Cell (row, column) covers ``z0 + row·CELL_M …`` and ``x0 + column·CELL_M …``.

    Both counts of cells are multiples of `TILE`; its first and last rows are grass, and so are ``SIDE_M`` metres on either side.
    """

    def __init__(self, cells: NDArray[np.uint8], x0: float, z0: float) -> None:
        self.cells = cells
        self.rows, self.columns = cells.shape
        self.x0, self.z0 = x0, z0
        self._flat = cells.reshape(-1)
        self._bytes = cells.data.cast("B")  # reads single cells several times faster than the array
        self._side = int(SIDE_M / CELL_M)
        self._rings = _rings_to_border(cells).reshape(-1)

    def seen(self, spots: NDArray[np.complex64], reach: float, x: float, z: float, heading: float) -> NDArray[np.uint8]:
        """What lies at those spots for a viewer at (x, z) metres and that heading: uint8, one axis.

        ``spots`` are ``ahead + i·right`` in cells, one axis, none further away than ``reach`` cells.  Each is worked out by
        itself, so that a few spots give the very values that a whole picture gives.
        """
        # (ahead + i·right) · e^(i·heading) is (z + i·x): one multiplication turns the view into the world's axes.
        column = (x - self.x0) / CELL_M
        places = spots * np.complex64(complex(math.cos(heading), math.sin(heading)))
        places += np.complex64(complex((z - self.z0) / CELL_M, column))
        cells = places.view(np.float32).astype(np.int32).reshape(-1, 2)
        if column + reach > self.columns + self._side or column - reach < -self._side:
            cells[:, 1].clip(0, self.columns - 1, out=cells[:, 1])
        # Else a column that overshoots lands in the grass on the other side.  A row that does is clipped to plain grass.
        index = cells[:, 0] * self.columns
        index += cells[:, 1]
        colours: NDArray[np.uint8] = self._flat.take(index, mode="clip")
        return colours

    def rings(self, spots: NDArray[np.complex64], x: float, z: float, heading: float) -> NDArray[np.uint8]:
        """How many tiles lie between each spot's and the nearest one with border in it: 0 on such a tile, `MAX_RINGS` at most.

        ``spots`` as in `seen`, but in tiles.  Where a spot leaves the raster the answer is that of some other place on it, which
        is safe: out there no border is nearer than `MAX_RINGS` tiles.
        """
        tile = CELL_M * TILE
        places = spots * np.complex64(complex(math.cos(heading), math.sin(heading)))
        places += np.complex64(complex((z - self.z0) / tile, (x - self.x0) / tile))
        tiles = places.view(np.float32).astype(np.int32).reshape(-1, 2)
        index = tiles[:, 0] * (self.columns // TILE)
        index += tiles[:, 1]
        rings: NDArray[np.uint8] = self._rings.take(index, mode="clip")
        return rings

    def on_road(self, x: float, z: float) -> bool:
        """Whether a wheel at (x, z) has tarmac or paint under it."""
        row = int((z - self.z0) / CELL_M)
        column = int((x - self.x0) / CELL_M)
        if 0 <= row < self.rows and 0 <= column < self.columns:
            return bool(self._bytes[row * self.columns + column] > GRASS_LIGHT)
        return False


@dataclass(frozen=True)
class Track:
    """A road from a start line to a finish line.

    The car starts at the origin, heading 0.  ``run_out`` metres of road follow the finish line, ``run_in`` lie before the start.
    """

    name: str
    segments: tuple[Segment, ...]
    width: float = 14.0
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
        poses = map(self.pose, np.linspace(0.0, self.length, round(self.length / SPACING_M) + 1).tolist())
        return np.array([(pose.x, 0.0, pose.z) for pose in poses])

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """The checkpoints, evenly spread, and the finish line; they reach a little into the grass."""
        count = max(1, round(self.length / GATE_SPACING_M))
        half_width = self.width / 2 + BORDER_M + 2.0
        return tuple(Gate(self.pose(self.length * k / count), half_width) for k in range(1, count + 1))

    @cached_property
    def ground(self) -> Ground:
        """The painted raster; takes a moment and some megabytes when first asked for."""
        return _paint(self)


def _along(start: Pose, segment: Segment, s: float) -> Pose:
    """The pose ``s`` metres into a segment that starts at ``start``."""
    if isinstance(segment, Straight):
        return start.ahead(s)
    side = math.copysign(segment.radius, segment.degrees)
    centre = start.right(side)
    heading = start.heading + s / side
    return Pose(centre.x, centre.z, heading).right(-side)


def _paint(track: Track) -> Ground:
    """Grass everywhere, then each segment's road and borders, then the lines of start and finish."""
    half = track.width / 2
    reach = half + BORDER_M
    line = track.line
    ends = [track.pose(-track.run_in), track.pose(track.length + track.run_out)]
    xs = [*line[:, 0], *(pose.x for pose in ends)]
    zs = [*line[:, 2], *(pose.z for pose in ends)]
    x0, z0 = min(xs) - reach - SIDE_M, min(zs) - reach - MARGIN_M
    columns = TILE * math.ceil((max(xs) + reach + SIDE_M - x0) / CELL_M / TILE)
    rows = TILE * math.ceil((max(zs) + reach + MARGIN_M - z0) / CELL_M / TILE)
    stripes = (np.arange(max(rows, columns)) // 80 % 2).astype(np.uint8)
    cells = np.array((GRASS, GRASS_LIGHT), np.uint8)[stripes[:rows, None] ^ stripes[:columns]]  # mown in squares of 8 m
    cells[[0, -1], :] = GRASS

    lead_in, lead_out = Straight(track.run_in), Straight(track.run_out)
    s = -track.run_in
    for segment in (lead_in, *track.segments, lead_out):
        for piece in _pieces(segment):
            start = track.pose(s)
            poses = (start, _along(start, piece, piece.length / 2), _along(start, piece, piece.length))
            left = int((min(p.x for p in poses) - reach - 1.0 - x0) / CELL_M)
            right = math.ceil((max(p.x for p in poses) + reach + 1.0 - x0) / CELL_M)
            low = int((min(p.z for p in poses) - reach - 1.0 - z0) / CELL_M)
            high = math.ceil((max(p.z for p in poses) + reach + 1.0 - z0) / CELL_M)
            x = x0 + (np.arange(left, right) + 0.5) * CELL_M - start.x
            z = z0 + (np.arange(low, high) + 0.5)[:, None] * CELL_M - start.z
            along, aside = _road_coordinates(start.heading, piece, x, z)
            on = (along >= -1e-6) & (along <= piece.length + 1e-6) & (np.abs(aside) <= reach)
            cells[low:high, left:right][on] = _colours(along[on] + s, aside[on], half, track.length)
            s += piece.length
    return Ground(cells, x0, z0)


def _pieces(segment: Segment) -> list[Segment]:
    """A segment cut into equal pieces of at most 12 m: the box around a short piece holds little but road."""
    count = math.ceil(segment.length / 12.0)
    if isinstance(segment, Straight):
        return [Straight(segment.length / count)] * count
    return [Arc(segment.radius, segment.degrees / count)] * count


def _road_coordinates(
    heading: float, segment: Segment, x: NDArray[np.float64], z: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres along a segment and to the right of its centre line, for places relative to its start."""
    ahead = x * math.sin(heading) + z * math.cos(heading)
    right = x * math.cos(heading) - z * math.sin(heading)
    if isinstance(segment, Straight):
        return ahead, right
    turn = math.copysign(1.0, segment.degrees)
    inward = segment.radius - turn * right  # from the centre of the bend, out to the start
    angle = np.arctan2(ahead, inward) % (2 * math.pi)
    # Angles a little before the start are small and negative, not almost a full turn.
    angle = np.where(angle > math.pi + math.radians(abs(segment.degrees)) / 2, angle - 2 * math.pi, angle)
    return angle * segment.radius, turn * (segment.radius - np.hypot(ahead, inward))


def _colours(s: NDArray[np.float64], aside: NDArray[np.float64], half: float, finish: float) -> NDArray[np.uint8]:
    """The colour of places on the road: banded tarmac, black borders, a white start line, a chequered finish."""
    distance = np.abs(aside)
    colours = np.where((s // 6.0) % 2 == 0, ROAD, ROAD_LIGHT)
    colours = np.where(np.abs(s) <= 0.4, WHITE, colours)
    chequers = ((s // 1.0) + (aside // 1.0)) % 2 == 0
    colours = np.where(np.abs(s - finish) <= 1.0, np.where(chequers, WHITE, RED), colours)
    return np.where(distance > half, BORDER, colours).astype(np.uint8)


def _rings_to_border(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For each tile, the number of steps (also diagonal) to the nearest tile with border in it, `MAX_RINGS` at most."""
    rows, columns = cells.shape
    near = (cells == BORDER).reshape(rows // TILE, TILE, columns // TILE, TILE).any(axis=(1, 3))
    rings = np.full(near.shape, MAX_RINGS, np.uint8)
    for ring in range(MAX_RINGS):
        rings[near & (rings == MAX_RINGS)] = ring
        near[1:] |= near[:-1].copy()
        near[:-1] |= near[1:].copy()
        near[:, 1:] |= near[:, :-1].copy()
        near[:, :-1] |= near[:, 1:].copy()
    return rings


DEFAULT = Track(
    "default",
    (
        *(Straight(60), Arc(26, 90), Straight(30), Arc(26, -90), Straight(50), Arc(16, 180)),  # hairpin
        *(Straight(35), Arc(30, -90), Straight(30), Arc(15, -150)),  # tight left, blind after the straight
        *(Straight(25), Arc(20, 75), Straight(20), Arc(26, 60), Straight(15), Arc(30, -60), Straight(40)),
    ),
)
"""Eight corners over 600 m; the hairpin and the tight left want less than 60 km/h."""

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
