"""The front camera: what the driver sees of the ground, in the size of the game's window.

A pinhole camera looks level over flat ground; its picture is shifted up so that the horizon lies at `HORIZON` of the height.
The picture is the ground's colours below the horizon, hills and sky above.  The car itself is hidden, as TMRL asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.ground import BORDER, CELL_M, PALETTE, Ground
from tmrld.envs.sim.randomness import Conditions
from tmrld.envs.trackmania.lidar import DARK

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


@dataclass(frozen=True, eq=False)
class Look:
    """How the world looks throughout an episode.  Nothing but the border may be dark to the LIDAR."""

    palette: NDArray[np.uint8] = field(default_factory=lambda: PALETTE)
    """RGB of each colour index of the ground, (7, 3)."""
    height: float = 1.0
    """Of the camera, over `HEIGHT_M`."""
    brightness: float = 1.0
    """Of sky and hills; that of the ground is in the palette."""

    @cached_property
    def border_is_dark(self) -> bool:
        """Whether the LIDAR sees the border."""
        return bool((self.palette[BORDER] < DARK).all())


PLAIN = Look()
"""The simulator without any randomisation."""


def look_of(conditions: Conditions) -> Look:
    """How the world looks under these conditions.  Within the ranges of the settings only the border may be dark."""
    palette = PALETTE.astype(np.float64)
    palette[BORDER] += conditions.border
    palette *= conditions.brightness
    return Look(palette.round().clip(0, 255).astype(np.uint8), conditions.camera_height, conditions.brightness)


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
        """The ground seen at the centres of these pixels from `HEIGHT_M`, as `Ground.seen` wants it: for rows from `first_row` on."""
        depth = self._focal * HEIGHT_M / (rows + 0.5 - self._horizon) / CELL_M
        return (depth + 1j * depth * (columns + 0.5 - self.width / 2) / self._focal).astype(np.complex64).ravel()

    def render(self, ground: Ground, x: float, z: float, heading: float, look: Look = PLAIN) -> NDArray[np.uint8]:
        """The frame seen from a car at that pose (metres, radians): RGB, (height, width, 3)."""
        frame = np.empty((self.height, self.width, 3), np.uint8)
        above = frame[: self.first_row]
        above[:] = shaded(self._backdrop, look.brightness)
        tops = self.first_row - hills(self._azimuth + heading) * self.height
        above[self._hill_rows >= tops] = shaded(np.array(HILLS), look.brightness)
        seen = ground.seen(self._spots, self._reach, x, z, heading, look.height)
        frame[self.first_row :] = look.palette.take(seen, axis=0).reshape(-1, self.width, 3)
        return frame

    def _paint_backdrop(self) -> NDArray[np.uint8]:
        """Sky, paler towards the horizon: (first_row, 1, 3)."""
        share = np.linspace(0.0, 1.0, self.first_row)[:, None]
        sky = (1.0 - share) * np.array(SKY_TOP) + share * np.array(SKY_LOW)
        backdrop: NDArray[np.uint8] = sky.astype(np.uint8)[:, None, :]
        return backdrop


def hills(azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
    """How high the hills stand above the ground in these directions, as shares of the window's height; never 0 or less.

    They are a fixed outline round the horizon, so that turning can be seen everywhere.
    """
    return 0.09 + 0.02 * np.sin(3 * azimuth) + 0.015 * np.sin(7 * azimuth + 1.0)


def shaded(colours: NDArray[np.integer], brightness: float) -> NDArray[np.uint8]:
    """The colours, that much brighter."""
    return (colours * brightness).round().clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def camera(width: int, height: int) -> Camera:
    """The camera for that size of window; made once."""
    return Camera(width, height)
