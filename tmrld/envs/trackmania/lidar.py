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
_TO_HIGHEST_BIT = (128 - DARK) * 0x010101


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
def _gathering(width: int, height: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """All beams at once: their pixels' places in the picture, one beam after the other; where each begins and ends among them;
    and what each reads when it meets no border."""
    beams = beam_pixels(width, height)
    places = np.concatenate([rows.astype(np.intp) * width + columns for rows, columns in beams])
    lengths = np.array([len(rows) for rows, _ in beams])
    ends = lengths.cumsum()
    return places, ends - lengths, ends, (lengths - 1).astype(np.float32)


def distances(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The 19 distances in pixels seen in ``image``, (height, width, 3 or 4): float32 (19,).  A fourth channel is not looked at."""
    height, width, channels = image.shape
    places, begins, ends, free = _gathering(width, height)
    if channels == 4:
        # A pixel is one word, and its channels are compared side by side: adding 128 - DARK to the lower seven bits of a byte sets
        # its highest bit from DARK on, and never carries into the next byte.
        pixels = np.ascontiguousarray(image).reshape(-1).view("<u4").take(places)
        bright = pixels & 0x7F7F7F
        bright += _TO_HIGHEST_BIT
        bright |= pixels
        bright &= 0x808080
        dark = np.flatnonzero(bright == 0)
    else:
        dark = np.flatnonzero((image.reshape(-1, channels).take(places, axis=0) < DARK).all(axis=1))
    measured = free.copy()
    # The first dark pixel from each beam's begin on; it is the beam's own if it comes before its end.
    first = np.append(dark, ends[-1]).take(dark.searchsorted(begins))
    met = first < ends
    measured[met] = (first - begins)[met]
    return measured
