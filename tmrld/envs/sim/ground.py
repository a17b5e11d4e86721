"""The simulator's ground seen from above: a raster of colour indices, painted from a track.

Camera and LIDAR look things up in it, the car asks it for grass.  Its cells measure `CELL_M`; the raster is painted once per
process and track.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.track import BORDER_M, Arc, Segment, Straight, Track

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

    def seen(
        self, spots: NDArray[np.complex64], reach: float, x: float, z: float, heading: float, scale: float = 1.0
    ) -> NDArray[np.uint8]:
        """What lies at those spots for a viewer at (x, z) metres and that heading: uint8, one axis.

        ``spots`` are ``ahead + i·right`` in cells, one axis, none further away than ``reach`` cells; ``scale`` stretches them all.
        Each is worked out by itself, so that a few spots give the very values that a whole picture gives.
        """
        # (ahead + i·right) · e^(i·heading) is (z + i·x): one multiplication turns the view into the world's axes.
        column = (x - self.x0) / CELL_M
        places = spots * np.complex64(complex(scale * math.cos(heading), scale * math.sin(heading)))
        places += np.complex64(complex((z - self.z0) / CELL_M, column))
        reach *= scale
        cells = places.view(np.float32).astype(np.int32).reshape(-1, 2)
        if column + reach > self.columns + self._side or column - reach < -self._side:
            cells[:, 1].clip(0, self.columns - 1, out=cells[:, 1])
        # Else a column that overshoots lands in the grass on the other side.  A row that does is clipped to plain grass.
        index = cells[:, 0] * self.columns
        index += cells[:, 1]
        colours: NDArray[np.uint8] = self._flat.take(index, mode="clip")
        return colours

    def rings(self, spots: NDArray[np.complex64], x: float, z: float, heading: float, scale: float = 1.0) -> NDArray[np.uint8]:
        """How many tiles lie between each spot's and the nearest one with border in it: 0 on such a tile, `MAX_RINGS` at most.

        ``spots`` as in `seen`, but in tiles.  Where a spot leaves the raster the answer is that of some other place on it, which
        is safe: out there no border is nearer than `MAX_RINGS` tiles.
        """
        tile = CELL_M * TILE
        places = spots * np.complex64(complex(scale * math.cos(heading), scale * math.sin(heading)))
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


@lru_cache(maxsize=4)
def ground_of(track: Track) -> Ground:
    """The ground of a track, painted when first asked for: grass everywhere, then each segment with its borders and lines."""
    half = track.width / 2
    reach = half + BORDER_M
    line = track.line
    ends = [track.pose(-track.run_in), track.pose(track.length + track.run_out)]
    xs = np.append(line[:, 0], [pose.x for pose in ends])
    zs = np.append(line[:, 2], [pose.z for pose in ends])
    x0, z0 = float(xs.min()) - reach - SIDE_M, float(zs.min()) - reach - MARGIN_M
    columns = TILE * math.ceil((float(xs.max()) + reach + SIDE_M - x0) / CELL_M / TILE)
    rows = TILE * math.ceil((float(zs.max()) + reach + MARGIN_M - z0) / CELL_M / TILE)
    stripes = (np.arange(max(rows, columns)) // 80 % 2).astype(np.uint8)
    cells = np.array((GRASS, GRASS_LIGHT), np.uint8)[stripes[:rows, None] ^ stripes[:columns]]  # mown in squares of 8 m
    cells[[0, -1], :] = GRASS

    lead_in, lead_out = Straight(track.run_in), Straight(track.run_out)
    s = -track.run_in
    for segment in (lead_in, *track.segments, lead_out):
        for piece in _pieces(segment):
            start = track.pose(s)
            poses = (start, track.pose(s + piece.length / 2), track.pose(s + piece.length))
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
    heading: float, segment: Segment, x: NDArray[np.floating[Any]], z: NDArray[np.floating[Any]]
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
