"""What the stand-in's window shows of the world, as pixels for a screen: in the same places the very colours of `sim.camera`.

It is drawn for every frame, beside whatever else this computer does.  So the ground's colours become pixels in one step, and
sky and hills, which only turn, are kept as a panorama.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.camera import PLAIN, Look, camera
from tmrld.envs.sim.ground import Ground

DIRECTIONS = 4096
"""Columns of the panorama: one is narrower than a pixel in the middle of a window 1,800 pixels wide."""
NOTHING = np.empty(0, np.uint8)


class Viewpoint:
    """The simulator's sensor that only remembers where the camera is: what can be seen from there is painted when it is shown."""

    def __init__(self) -> None:
        self._place: tuple[Ground, float, float, float] | None = None

    def see(self, ground: Ground, x: float, z: float, heading: float, look: Look) -> NDArray[np.uint8]:
        """Nothing yet.  The stand-in's world always looks plain."""
        self._place = ground, x, z, heading
        return NOTHING

    @property
    def place(self) -> tuple[Ground, float, float, float]:
        """The ground, x and z in metres, and the heading in radians."""
        assert self._place is not None, "a world looks before it is shown"
        return self._place


class Painter:
    """Paints frames of one size."""

    def __init__(self, width: int, height: int) -> None:
        view = camera(width, height)
        self.size = width, height
        self.frame = np.zeros((height, width), np.uint32)
        """The pixels that were painted last: blue, green, red and 255, byte for byte."""
        rows, columns = np.arange(view.first_row, height), np.arange(width)
        self._sky, self._land = self.frame[: view.first_row], self.frame[view.first_row :]
        self._spots = view.spots(rows[:, None], columns)
        self._reach = float(np.abs(self._spots).max(initial=0.0)) + 1.0
        self._turns = view.azimuth(columns) * (DIRECTIONS / math.tau)
        directions = (np.arange(DIRECTIONS) + 0.5) * (math.tau / DIRECTIONS)
        self._panorama = _pixels(view.backdrop(directions, PLAIN))
        self._palette = _pixels(PLAIN.palette)

    def paint(self, viewpoint: Viewpoint) -> None:
        """What is seen from there, into `frame`."""
        ground, x, z, heading = viewpoint.place
        direction = (self._turns + heading * (DIRECTIONS / math.tau)).astype(np.intp)
        direction &= DIRECTIONS - 1
        self._panorama.take(direction, axis=1, out=self._sky, mode="clip")
        seen = ground.seen(self._spots, self._reach, x, z, heading)
        self._palette.take(seen.reshape(self._land.shape), out=self._land, mode="clip")


def _pixels(colours: NDArray[Any]) -> NDArray[np.uint32]:
    """RGB in the last axis to pixels, on processors that write the lowest byte first."""
    red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
    return np.uint32(0xFF000000) | red << np.uint32(16) | green << np.uint32(8) | blue
