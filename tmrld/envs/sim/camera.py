"""The front camera: what the driver sees of the ground, in the size of the game's window.

A pinhole camera looks level over flat ground; its picture is shifted up so that the horizon lies at `HORIZON` of the height.
The picture is the ground's colours below the horizon, hills and sky above.  The car itself is hidden, as TMRL asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

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
    if (conditions.brightness, conditions.border, conditions.camera_height) == (1.0, (0, 0, 0), 1.0):
        return PLAIN
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
        self._sky = self._paint_sky()

    def depth(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """How far ahead the ground lies that the centres of these rows show from `HEIGHT_M`, in metres; from `first_row` on."""
        depth: NDArray[np.float64] = self._focal * HEIGHT_M / (rows + 0.5 - self._horizon)
        return depth

    def spots(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.complex64]:
        """The ground that the centres of these pixels show from `HEIGHT_M`, as `Ground.seen` wants it; from `first_row` on."""
        depth = self.depth(rows) / CELL_M
        return (depth + 1j * depth * (columns + 0.5 - self.width / 2) / self._focal).astype(np.complex64).ravel()

    def azimuth(self, columns: NDArray[Any]) -> NDArray[np.float64]:
        """The direction that these columns show, in radians from straight ahead to the right."""
        azimuth: NDArray[np.float64] = np.arctan2(columns + 0.5 - self.width / 2, self._focal)
        return azimuth

    def backdrop(self, azimuth: NDArray[np.floating[Any]], look: Look) -> NDArray[np.uint8]:
        """Sky and hills in these directions of the world: RGB (first_row, directions, 3)."""
        # Hills are a fixed outline round the horizon, so that turning can be seen everywhere; of the height, never below the ground.
        outline = 0.09 + 0.02 * np.sin(3 * azimuth) + 0.015 * np.sin(7 * azimuth + 1.0)
        tops = self.first_row - outline * self.height
        hidden = (np.arange(self.first_row)[:, None] >= tops)[..., None]
        return np.where(hidden, _shaded(np.array(HILLS), look), _shaded(self._sky, look))

    def render(self, ground: Ground, x: float, z: float, heading: float, look: Look = PLAIN) -> NDArray[np.uint8]:
        """The frame seen from a car at that pose (metres, radians): RGB, (height, width, 3)."""
        frame = np.empty((self.height, self.width, 3), np.uint8)
        frame[: self.first_row] = self.backdrop(self._azimuth + heading, look)
        spots, reach = self._spots
        seen = ground.seen(spots, reach, x, z, heading, look.height)
        frame[self.first_row :] = look.palette.take(seen, axis=0).reshape(-1, self.width, 3)
        return frame

    @cached_property
    def _azimuth(self) -> NDArray[np.float64]:
        return self.azimuth(np.arange(self.width))

    @cached_property
    def _spots(self) -> tuple[NDArray[np.complex64], float]:
        """Of all pixels that show ground, and how far the furthest lies, in cells."""
        spots = self.spots(np.arange(self.first_row, self.height)[:, None], np.arange(self.width))
        return spots, float(np.abs(spots).max()) + 1.0

    def _paint_sky(self) -> NDArray[np.uint8]:
        """Paler towards the horizon: (first_row, 1, 3)."""
        share = np.linspace(0.0, 1.0, self.first_row)[:, None]
        sky = (1.0 - share) * np.array(SKY_TOP) + share * np.array(SKY_LOW)
        painted: NDArray[np.uint8] = sky.astype(np.uint8)[:, None, :]
        return painted


def _shaded(colours: NDArray[Any], look: Look) -> NDArray[np.uint8]:
    shaded: NDArray[np.uint8] = (colours * look.brightness).round().clip(0, 255).astype(np.uint8)
    return shaded


@lru_cache(maxsize=4)
def camera(width: int, height: int) -> Camera:
    """The camera for that size of window; made once."""
    return Camera(width, height)
