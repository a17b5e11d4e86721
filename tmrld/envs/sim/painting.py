"""Painting a track's ground: grass everywhere, then the road piece by piece, with its borders and lines.

A piece is so short that it has one colour of tarmac, and its edges are two straight cuts across the road and two lines or circles
along it.  So a cell's place on the road need not be known, only on which side of those edges its centre lies, and most of that is
a sum of what its row and its column give.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.ground import (
    BORDER,
    CELL_M,
    GRASS,
    GRASS_LIGHT,
    MARGIN_M,
    RED,
    ROAD,
    ROAD_LIGHT,
    SIDE_M,
    TILE,
    WHITE,
    Ground,
)
from tmrld.envs.sim.track import BORDER_M, Pose, Track
from tmrld.errors import WorldError

BAND_M = 6.0
"""Length of the tarmac's lighter and darker bands."""
EDGE_M = 1e-6
"""Pieces overlap by this much, so that no cell falls between two of them."""
KEPT_BYTES = 256_000_000
"""Of grounds, in a process: some 20 MB are one of a track of 650 m, 60 MB one of 2 km.  The latest one is always kept."""
MOST_CELLS = 2**31 - 1
"""Of a raster: its cells are counted in 32 bits."""

_kept: OrderedDict[tuple[Track, int], Ground] = OrderedDict()  # the one that was asked for last comes last


def ground_of(track: Track, deck: int = 0) -> Ground:
    """The ground of a track as it looks from one of its decks (`Track.deck`), painted when first asked for, or forgotten since.

    Raises WorldError on a track that covers more than some 20 square kilometres.
    """
    key = track, min(deck, track.decks - 1)
    ground = _kept.pop(key, None)
    if ground is None:
        ground = _ground(*key)
        while _kept and sum(each.cells.nbytes for each in _kept.values()) + ground.cells.nbytes > KEPT_BYTES:
            _kept.popitem(last=False)
    _kept[key] = ground
    return ground


def _ground(track: Track, deck: int) -> Ground:
    if deck == track.decks - 1:
        return _painted(track).ground()  # what comes later is painted on top
    above = ground_of(track, 1)
    raster = _Raster(above.cells.copy(), above.tiles.copy(), above.x0, above.z0)
    for passage in track.passages:
        if not passage.deck:
            raster.paint(track, passage.start, passage.end)
    return raster.ground()


def _painted(track: Track) -> _Raster:
    raster = _grass(track)
    raster.paint(track, -track.run_in, track.length + track.run_out)
    raster.paint_line(track, -0.4, 0.4)
    raster.paint_line(track, track.length - 1.0, track.length + 1.0)
    return raster


def _grass(track: Track) -> _Raster:
    """The raster that holds this track and enough grass around it, without the road."""
    reach = max((track.width, *(width for _, width in track.widths))) / 2 + BORDER_M
    line = track.line
    ends = [track.pose(-track.run_in), track.pose(track.length + track.run_out)]
    xs = np.append(line[:, 0], [pose.x for pose in ends])
    zs = np.append(line[:, 2], [pose.z for pose in ends])
    x0, z0 = float(xs.min()) - reach - SIDE_M, float(zs.min()) - reach - MARGIN_M
    columns = TILE * math.ceil((float(xs.max()) + reach + SIDE_M - x0) / CELL_M / TILE)
    rows = TILE * math.ceil((float(zs.max()) + reach + MARGIN_M - z0) / CELL_M / TILE)
    if rows * columns > MOST_CELLS:
        raise WorldError(
            f"the ground of the track {track.name} would measure {columns * CELL_M:,.0f} by {rows * CELL_M:,.0f} m: that is too much "
            "to be painted; let its road turn back now and then"
        )
    stripes = np.arange(max(rows, columns)) // 80 % 2  # mown in squares of 8 m
    mown = np.array((GRASS, GRASS_LIGHT), np.uint8)[np.arange(2)[:, None] ^ stripes[:columns]]
    cells = mown.take(stripes[:rows], axis=0)
    cells[[0, -1], :] = GRASS
    return _Raster(cells, np.zeros((rows // TILE, columns // TILE), bool), x0, z0)


@dataclass(frozen=True)
class _Piece:
    """A piece of road from ``start`` to ``end``, ``s`` metres after the start line, of one curvature and ``length``."""

    s: float
    length: float
    curvature: float
    start: Pose
    end: Pose
    half: float
    end_half: float

    def aside(self, x: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres to the right of the centre line."""
        if self.curvature == 0.0:
            return (x - self.start.x) * math.cos(self.start.heading) - (z - self.start.z) * math.sin(self.start.heading)
        centre = self.start.right(1.0 / self.curvature)
        distance = np.hypot(x - centre.x, z - centre.z)
        return 1.0 / self.curvature - math.copysign(1.0, self.curvature) * distance

    def along(self, x: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres along the centre line, from ``start``; right for places beside the piece, less than half a turn away."""
        if self.curvature == 0.0:
            return (x - self.start.x) * math.sin(self.start.heading) + (z - self.start.z) * math.cos(self.start.heading)
        centre = self.start.right(1.0 / self.curvature)
        side = math.copysign(1.0, self.curvature)
        heading = np.arctan2((z - centre.z) * side, (centre.x - x) * side)  # of the road there
        turned = (heading - self.start.heading + math.pi) % (2 * math.pi) - math.pi
        return turned / self.curvature


@dataclass(frozen=True)
class _Raster:
    """Cells (rows, columns) being painted, and which ``tiles`` have had border in them."""

    cells: NDArray[np.uint8]
    tiles: NDArray[np.bool_]
    x0: float
    z0: float

    def ground(self) -> Ground:
        return Ground(self.cells, self.x0, self.z0, self.tiles)

    def paint(self, track: Track, start: float, end: float) -> None:
        """Tarmac and borders from ``start`` to ``end`` along the centre line."""
        for piece in _pieces(track, start, end):
            tarmac = ROAD if (piece.s + piece.length / 2) // BAND_M % 2 == 0 else ROAD_LIGHT
            rows, columns = self._box(piece)
            x, z = self._centres(rows, columns)
            on = _between_ends(piece, x, z)
            if piece.half == piece.end_half:
                inside, road = _beside(piece, x, z)
                road &= on
                on &= inside
            else:
                place_x, place_z = np.broadcast_arrays(x, z)
                distance = np.full(on.shape, np.inf)
                found_x, found_z = place_x[on], place_z[on]
                share = piece.along(found_x, found_z) / piece.length
                # Measured from the border's inner edge.
                distance[on] = np.abs(piece.aside(found_x, found_z)) - piece.half - share * (piece.end_half - piece.half)
                road = distance <= 0.0
                on = distance <= BORDER_M
            view = self.cells[rows, columns]
            np.copyto(view, BORDER, where=on)
            np.copyto(view, tarmac, where=road)
            on ^= road
            tiles = on.view(np.uint64).reshape(on.shape[0] // TILE, TILE, -1)
            self.tiles[rows.start // TILE : rows.stop // TILE, columns.start // TILE : columns.stop // TILE] |= (
                np.bitwise_or.reduce(tiles, axis=1) != 0
            )

    def paint_line(self, track: Track, start: float, end: float) -> None:
        """White or chequered paint across the tarmac: white for the start line, which holds 0, else the finish."""
        for piece in _pieces(track, start, end):
            rows, columns = self._box(piece)
            x, z = np.broadcast_arrays(*self._centres(rows, columns))
            on = _between_ends(piece, x, z) & (np.abs(piece.aside(x, z)) <= min(piece.half, piece.end_half))
            s, aside = piece.s + piece.along(x[on], z[on]), piece.aside(x[on], z[on])
            chequers = (s // 1.0 + aside // 1.0) % 2 == 0
            self.cells[rows, columns][on] = WHITE if start < 0.0 else np.where(chequers, WHITE, RED)

    def _box(self, piece: _Piece) -> tuple[slice, slice]:
        """Rows and columns that hold a piece, whole tiles."""
        half = max(piece.half, piece.end_half) + BORDER_M
        corners = [pose.right(side) for pose in (piece.start, piece.end) for side in (-half, half)]
        bulge = abs(piece.curvature) * piece.length * piece.length / 4  # of the outer edge, and more
        xs = [corner.x for corner in corners]
        zs = [corner.z for corner in corners]
        return (
            self._tiles(min(zs) - bulge - self.z0, max(zs) + bulge - self.z0),
            self._tiles(min(xs) - bulge - self.x0, max(xs) + bulge - self.x0),
        )

    @staticmethod
    def _tiles(low: float, high: float) -> slice:
        """The cells from ``low`` to ``high`` metres, filled up to whole tiles."""
        tile = CELL_M * TILE
        return slice(TILE * int(low / tile), TILE * math.ceil(high / tile))

    def _centres(self, rows: slice, columns: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x (columns,) and z (rows, 1) of cells' centres."""
        return self._x[columns], self._z[rows, None]

    @cached_property
    def _x(self) -> NDArray[np.float64]:
        return self.x0 + (np.arange(self.cells.shape[1], dtype=np.float64) + 0.5) * CELL_M

    @cached_property
    def _z(self) -> NDArray[np.float64]:
        return self.z0 + (np.arange(self.cells.shape[0], dtype=np.float64) + 0.5) * CELL_M


def _pieces(track: Track, start: float, end: float) -> Iterator[_Piece]:
    """The road from ``start`` to ``end`` metres, cut where its bands, its curvature or its widening change."""
    bands = np.arange(math.floor(start / BAND_M) + 1, math.ceil(end / BAND_M)) * BAND_M
    cuts = np.concatenate([[start, end], bands, track.starts, [s for s, _ in track.widths]])
    cuts = np.unique(cuts[(cuts >= start) & (cuts <= end)])
    cuts = cuts[np.append(True, np.diff(cuts) > EDGE_M)]
    poses = [Pose(*place) for place in zip(*(values.tolist() for values in track.centre(cuts)), strict=True)]
    halves = track.half_width(cuts).tolist()
    curvatures = track.curvature((cuts[1:] + cuts[:-1]) / 2).tolist()
    for i, (s, after) in enumerate(zip(cuts.tolist(), cuts[1:].tolist(), strict=False)):
        yield _Piece(s, after - s, curvatures[i], poses[i], poses[i + 1], halves[i], halves[i + 1])


def _between_ends(piece: _Piece, x: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which cells lie between the cuts at the piece's start and end."""
    start, end = piece.start, piece.end
    after = (x - start.x) * math.sin(start.heading) + (z - start.z) * math.cos(start.heading)
    before = (x - end.x) * math.sin(end.heading) + (z - end.z) * math.cos(end.heading)
    return (after >= -EDGE_M) & (before <= EDGE_M)


def _beside(piece: _Piece, x: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which cells are within the borders' outer edges, and which within their inner ones, of a piece of constant width."""
    if piece.curvature == 0.0:
        distance = np.abs(piece.aside(x, z))
        return distance <= piece.half + BORDER_M, distance <= piece.half
    radius = 1.0 / abs(piece.curvature)
    centre = piece.start.right(1.0 / piece.curvature)
    square = (x - centre.x) ** 2 + (z - centre.z) ** 2
    found = []
    for half in (piece.half + BORDER_M, piece.half):
        found.append((square >= (radius - half) ** 2) & (square <= (radius + half) ** 2))
    return found[0], found[1]
