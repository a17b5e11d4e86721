"""The simulator's ground seen from above: a raster of colour indices.

Camera and LIDAR look things up in it, the car asks it for grass.  Its cells measure `CELL_M`; `tmrld.envs.sim.painting` paints
it from a track.  Where a road crosses itself there is one ground for each deck, with that deck's road on top.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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
    ``tiles`` says of each tile whether there may be border in it.
    """

    def __init__(self, cells: NDArray[np.uint8], x0: float, z0: float, tiles: NDArray[np.bool_]) -> None:
        self.cells = cells
        self.tiles = tiles
        self.rows, self.columns = cells.shape
        self.x0, self.z0 = x0, z0
        self._flat = cells.reshape(-1)
        self._bytes = cells.data.cast("B")  # reads single cells several times faster than the array
        self._side = int(SIDE_M / CELL_M)
        self._rings = _rings_around(tiles).reshape(-1)

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
        cells = places.view(np.float32).astype(np.int32)  # row, column, row, column …
        if column + reach > self.columns + self._side or column - reach < -self._side:
            cells[1::2].clip(0, self.columns - 1, out=cells[1::2])
        # Else a column that overshoots lands in the grass on the other side.  A row that does is clipped to plain grass.
        # A pair is one number, row + 2³²·column (bytes run upwards on every processor that we know).  2³²·columns + 1 times that
        # has row·columns + column in its upper half: half the time of two strided operations.
        index = cells.view(np.int64)
        index *= (self.columns << 32) + 1
        index >>= 32
        colours: NDArray[np.uint8] = self._flat.take(index, mode="clip")
        return colours

    def rings(self, spots: NDArray[np.float32], x: float, z: float, heading: float, scale: float = 1.0) -> NDArray[np.uint8]:
        """How many tiles lie between each spot's and the nearest one with border in it: 0 on such a tile, `MAX_RINGS` at most.

        ``spots``: a column (ahead, right, 1) in tiles for each, (3, n); ``scale`` stretches them.  Where a spot leaves the raster the
        answer is that of some other place on it, which is safe: out there no border is nearer than `MAX_RINGS` tiles.
        """
        tile = CELL_M * TILE
        ahead, aside = scale * math.cos(heading), scale * math.sin(heading)
        world = np.array(((ahead, -aside, (z - self.z0) / tile), (aside, ahead, (x - self.x0) / tile)), np.float32)
        tiles = (world @ spots).astype(np.int32)  # rows, columns
        index = tiles[0] * (self.columns // TILE)
        index += tiles[1]
        rings: NDArray[np.uint8] = self._rings.take(index, mode="clip")
        return rings

    def on_road(self, x: float, z: float) -> bool:
        """Whether a wheel at (x, z) has tarmac or paint under it."""
        row = int((z - self.z0) / CELL_M)
        column = int((x - self.x0) / CELL_M)
        if 0 <= row < self.rows and 0 <= column < self.columns:
            return bool(self._bytes[row * self.columns + column] > GRASS_LIGHT)
        return False


def _rings_around(tiles: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """For each tile, the number of steps (also diagonal) to the nearest of these, `MAX_RINGS` at most."""
    rings = np.zeros(tiles.shape, np.uint8)
    reached = tiles.copy()
    for _ in range(MAX_RINGS):
        rings += ~reached
        rows = reached.copy()
        rows[1:] |= reached[:-1]
        rows[:-1] |= reached[1:]
        reached = rows.copy()
        reached[:, 1:] |= rows[:, :-1]
        reached[:, :-1] |= rows[:, 1:]
    return rings
