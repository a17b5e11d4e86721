"""The front camera: what the driver sees of the ground, in the size of the game's window.

A pinhole camera looks level over flat ground; its picture is shifted up so that the horizon lies at `HORIZON` of the height.
The picture is the ground's colours below the horizon, hills and sky above.  The car itself is hidden, as TMRL asks for.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.ground import CELL_M, PALETTE, Ground

HEIGHT_M = 5.0
"""Of the camera above the ground."""
HORIZON = 0.22
"""Of the window's height, from the top."""
FOCAL = 0.95
"""Focal length over the window's height: at 958 × 488 the view is 92 degrees wide."""
FAR_M = 100.0
"""Hills hide the ground beyond this: borders there would be thinner than a pixel, and flicker."""

SKY_TOP = (96, 148, 206)
SKY_LOW = (196, 214, 228)
HILLS = (112, 142, 138)


class Camera:
    """A camera for one size of window.  `spots` says where on the ground a pixel looks; `render` draws a frame."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._focal = FOCAL * height
        self._horizon = HORIZON * height
        first = math.ceil(self._horizon + self._focal * HEIGHT_M / FAR_M - 0.5)
        self.first_row = min(height, first)
        """The topmost row that shows ground."""
        rows = np.arange(self.first_row, height)[:, None]
        columns = np.arange(width)[None, :]
        self._spots = self.spots(rows, columns)
        self._reach = float(np.abs(self._spots).max()) + 1.0
        self._backdrop = self._paint_backdrop()
        self._hill_rows = np.arange(self.first_row)[:, None]
        self._azimuth = np.arctan2(np.arange(width) + 0.5 - width / 2, self._focal)

    def spots(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.complex64]:
        """The ground seen at the centres of these pixels, as `Ground.seen` wants it: for rows from `first_row` on, in one axis."""
        depth = self._focal * HEIGHT_M / (rows + 0.5 - self._horizon) / CELL_M
        return (depth + 1j * depth * (columns + 0.5 - self.width / 2) / self._focal).astype(np.complex64).ravel()

    def render(self, ground: Ground, x: float, z: float, heading: float) -> NDArray[np.uint8]:
        """The frame seen from a car at that pose (metres, radians): RGB, (height, width, 3)."""
        frame = np.empty((self.height, self.width, 3), np.uint8)
        frame[: self.first_row] = self._backdrop
        # Hills are a fixed outline round the horizon, so that turning can be seen everywhere.
        azimuth = self._azimuth + heading
        outline = (
            0.09 + 0.02 * np.sin(3 * azimuth) + 0.015 * np.sin(7 * azimuth + 1.0)
        )  # of the height; never below the horizon
        tops = self.first_row - outline * self.height
        frame[: self.first_row][self._hill_rows >= tops] = HILLS
        seen = ground.seen(self._spots, self._reach, x, z, heading)
        frame[self.first_row :] = PALETTE.take(seen, axis=0).reshape(-1, self.width, 3)
        return frame

    def _paint_backdrop(self) -> NDArray[np.uint8]:
        """Sky, paler towards the horizon: (first_row, 1, 3)."""
        share = np.linspace(0.0, 1.0, self.first_row)[:, None]
        sky = (1.0 - share) * np.array(SKY_TOP) + share * np.array(SKY_LOW)
        backdrop: NDArray[np.uint8] = sky.astype(np.uint8)[:, None, :]
        return backdrop


@lru_cache(maxsize=4)
def camera(width: int, height: int) -> Camera:
    """The camera for that size of window; made once."""
    return Camera(width, height)
