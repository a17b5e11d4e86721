"""TMRL's LIDAR: how far the road reaches in 19 directions, measured in the pixels of one frame.

Beam 0 points right, 9 up, 18 left, ten degrees apart.  All start at one point low in the middle of the picture and walk
outwards in steps of one pixel, from `FIRST_PIXEL` until they reach the edge.  A distance is the number of pixels walked past
the first one until a pixel is dark in red, green and blue, which is the black border of the road; a beam that meets none reads
one less than its own length.  Source: ``tmrl.tools.Lidar`` (v0.7.1); at 958 × 488 the origin is row 438, column 479.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BEAMS = 19
FIRST_PIXEL = 20
"""Beams start this many pixels from the origin, past whatever is drawn of the car."""
DARK = 55
"""A pixel is border when red, green and blue are all below this."""
_ALL_FOUR = 0x01010101
"""Four times True, in one word."""


@lru_cache(maxsize=8)
def beam_pixels(width: int, height: int) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], ...]:
    """Rows and columns that each beam visits in a picture of that size, nearest first: 19 pairs of equally long arrays."""
    origin_row, origin_column = 44 * height // 49, width // 2
    steps = np.arange(FIRST_PIXEL, width + height)
    beams = []
    for degrees in range(90, 280, 10):
        angle = math.radians(degrees)
        rows = np.trunc(origin_row + steps * math.cos(angle)).astype(np.int32)
        columns = np.trunc(origin_column + steps * math.sin(angle)).astype(np.int32)
        outside = (rows <= 0) | (columns <= 0) | (columns >= width - 1)
        length = int(outside.argmax())
        beams.append((rows[:length], columns[:length]))
    return tuple(beams)


@lru_cache(maxsize=8)
def _gathering(width: int, height: int) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """All beams at once, (19, longest): the place of each pixel in the picture, and (19, longest, 4): what a dark one is not above.

    The last pixel of a beam counts as dark whatever it shows: so a beam that meets no border reads one less than its length.
    """
    beams = beam_pixels(width, height)
    longest = max(len(rows) for rows, _ in beams)
    places = np.zeros((BEAMS, longest), np.intp)
    limits = np.full((BEAMS, longest, 4), 255, np.uint8)
    for beam, (rows, columns) in enumerate(beams):
        places[beam, : len(rows)] = rows.astype(np.intp) * width + columns
        limits[beam, : len(rows) - 1, :3] = DARK - 1
    return places, limits


def distances(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The 19 distances in pixels seen in ``image``, (height, width, 3 or 4): float32 (19,).  A fourth channel is not looked at."""
    height, width, channels = image.shape
    places, limits = _gathering(width, height)
    if channels == 4:  # as captured: a pixel is one word, and its channels are compared side by side
        pixels = np.ascontiguousarray(image).reshape(-1).view(np.uint32).take(places)
        dark = (pixels.view(np.uint8) <= limits.reshape(BEAMS, -1)).view(np.uint32) == _ALL_FOUR
    else:
        dark = (image.reshape(-1, channels).take(places, axis=0) <= limits[:, :, :channels]).all(axis=2)
    measured: NDArray[np.float32] = dark.argmax(axis=1).astype(np.float32)
    return measured


def beam_lines(lidar: NDArray[np.float32], window: tuple[int, int], width: int) -> list[list[float]]:
    """The beams that read these distances (19,) in a window, as lines ``[x0, y0, x1, y1]`` in a picture of it that is so wide."""
    scale = width / window[0]
    lines = []
    for (rows, columns), distance in zip(beam_pixels(*window), lidar.tolist(), strict=True):
        last = min(int(distance), len(rows) - 1)
        ends = (columns[0], rows[0], columns[last], rows[last])
        lines.append([round((float(end) + 0.5) * scale, 1) for end in ends])
    return lines
