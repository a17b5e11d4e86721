"""The window shrunk to the size that a policy sees, without drawing the window.

TMRL shrinks by bilinear interpolation (OpenCV's ``resize``), so that each pixel of the image is a weighted mean of four pixels of
the window: those alone are looked at.  Near the car even they are more than enough, since they lie closer together than
`COARSE_M`: one look in their midst stands for them.  Sky and hills only turn, and are kept as a panorama.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.camera import PLAIN, Look, camera
from tmrld.envs.sim.ground import Ground

COARSE_M = 0.3
"""Rows of the window that lie further apart than this on the ground are each looked at."""
DIRECTIONS = 1024
"""Columns of the panorama."""
TO_GRAY = (0.299, 0.587, 0.114)
"""Of red, green and blue: ITU-R BT.601, as OpenCV does it."""


@dataclass(frozen=True)
class Taps:
    """Which two pixels of a window's side make each pixel of an image's: ``low`` and ``high``, by 1 - ``share`` and ``share``."""

    centre: NDArray[np.float64]
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, image: int, window: int) -> Taps:
        """For sides of so many pixels; pixel centres lie at .5, and the window ends with its outermost ones."""
        centre = ((np.arange(image) + 0.5) * window / image - 0.5).clip(0, window - 1)
        low = centre.astype(np.intp)
        return cls(centre, low, np.minimum(low + 1, window - 1), centre - low)


class ImageSensor:
    """Makes uint8 images: (height, width) in gray, or (height, width, 3) in RGB."""

    def __init__(self, width: int, height: int, gray: bool, window_width: int, window_height: int) -> None:
        self._gray = gray
        self._shape = (height, width) if gray else (height, width, 3)
        view = camera(window_width, window_height)
        rows, columns = Taps.of(height, window_height), Taps.of(width, window_width)

        # Rows of the image from the top: sky and hills, then four looks a pixel, then one.
        horizon = self._horizon = int(np.searchsorted(rows.high, view.first_row))
        low, high = (np.maximum(row, view.first_row) for row in (rows.low, rows.high))
        coarse = np.flatnonzero(view.depth(low) - view.depth(high) > COARSE_M)
        near = self._near = max(horizon, int(coarse[-1]) + 1) if len(coarse) else horizon
        spots = [view.spots(row[horizon:near, None], column) for row in (low, high) for column in (columns.low, columns.high)]
        self._far_spots = 4 * len(spots[0])
        self._spots = np.concatenate([*spots, view.spots(rows.centre[near:, None], columns.centre)])
        self._reach = float(np.abs(self._spots).max(initial=0.0)) + 1.0

        # Where the upper of two rows lies above the ground, it shows hills.
        share = rows.share[horizon:near, None]
        on_ground = (rows.low >= view.first_row)[horizon:near, None]
        left, right = 1.0 - columns.share, columns.share
        upper = (1.0 - share) * on_ground
        self._weights = np.stack((upper * left, upper * right, share * left, share * right)).astype(np.float32)
        if not gray:
            self._weights = np.repeat(self._weights[..., None], 3, axis=-1)
        self._hill_share = ((1.0 - share) * ~on_ground).astype(np.float32)

        self._view, self._rows = view, rows
        self._turns = view.azimuth(columns.centre) * (DIRECTIONS / math.tau)
        self._paint(PLAIN)

    def see(self, ground: Ground, x: float, z: float, heading: float, look: Look) -> NDArray[np.uint8]:
        """What the window would show from that pose (metres, radians), shrunk."""
        if look is not self._look:
            self._paint(look)
        image = np.empty(self._shape, np.uint8)
        direction = (self._turns + heading * (DIRECTIONS / math.tau)).astype(np.intp)
        direction &= DIRECTIONS - 1
        image[: self._horizon] = self._panorama.take(direction, axis=0).swapaxes(0, 1)
        seen = ground.seen(self._spots, self._reach, x, z, heading, look.height)
        four = self._exact_colours.take(seen[: self._far_spots], axis=0).reshape(self._weights.shape)
        four *= self._weights
        mixed = four.sum(axis=0)
        mixed += self._hills
        image[self._horizon : self._near] = mixed
        near = image[self._near :].reshape(-1, *self._shape[2:])
        self._colours.take(seen[self._far_spots :], axis=0, out=near, mode="clip")
        return image

    def _paint(self, look: Look) -> None:
        """Make ready what changes from look to look."""
        self._look = look
        directions = (np.arange(DIRECTIONS) + 0.5) * (math.tau / DIRECTIONS)
        backdrop = self._toned(self._view.backdrop(directions, look))  # (rows of the window, directions[, 3])
        low, high, share = (part[: self._horizon] for part in (self._rows.low, self._rows.high, self._rows.share))
        share = share.reshape(-1, *[1] * (backdrop.ndim - 1))
        panorama = ((1.0 - share) * backdrop[low] + share * backdrop[high]).round().astype(np.uint8)
        self._panorama = np.ascontiguousarray(panorama.swapaxes(0, 1))
        hills = np.multiply.outer(self._hill_share, backdrop[-1, 0])
        self._hills = (hills + 0.5).astype(np.float32)  # so that what they are added to is rounded, not cut off
        colours = self._toned(look.palette)
        self._exact_colours = colours.astype(np.float32)
        self._colours = colours.round().astype(np.uint8)

    def _toned(self, colours: NDArray[np.uint8]) -> NDArray[np.float64]:
        return colours @ np.array(TO_GRAY) if self._gray else colours.astype(np.float64)
