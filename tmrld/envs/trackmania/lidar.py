"""TMRL's LIDAR: how far the road reaches in 19 directions, measured in the pixels of one frame.

Beam 0 points right, 9 up, 18 left, ten degrees apart.  All start at one point low in the middle of the picture and walk
outwards in steps of one pixel, from `FIRST_PIXEL` until they reach the edge.  A distance is the number of pixels walked past
the first one until a pixel is dark in every channel, which is the black border of the road; a beam that meets none reads
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
"""A pixel is border when all its channels are below this."""


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


def distances(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The 19 distances in pixels seen in ``image``, (height, width, channels): float32 (19,)."""
    height, width = image.shape[:2]
    result = np.empty(BEAMS, np.float32)
    for beam, (rows, columns) in enumerate(beam_pixels(width, height)):
        border = np.flatnonzero((image[rows, columns] < DARK).all(axis=1))
        result[beam] = border[0] if len(border) else len(rows) - 1
    return result
