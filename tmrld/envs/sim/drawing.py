"""What every drawn picture shares: its colours, its font, and smooth edges.

Pillow draws hard edges.  So pictures are drawn `SCALE` times as large as they will be, and made smaller at the end; all sizes that
these modules pass to Pillow are multiplied by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SCALE = 2

Colour = tuple[int, int, int]
Point = tuple[float, float]

BACKGROUND: Colour = (13, 17, 23)
PANEL: Colour = (22, 27, 34)
EDGE: Colour = (48, 54, 61)
DIM: Colour = (139, 148, 158)
TEXT: Colour = (230, 237, 243)
BLUE: Colour = (88, 166, 255)
GREEN: Colour = (63, 185, 80)
RED: Colour = (248, 81, 73)
AMBER: Colour = (227, 179, 65)
VIOLET: Colour = (188, 140, 255)

SLOW_TO_FAST = np.array((RED, AMBER, GREEN), np.float64)
"""Colours of speeds from 0 to the highest, as race engineers have them."""


def blank(width: int, height: int, colour: Colour = BACKGROUND) -> Image.Image:
    """An empty picture that will have this size when it is `finished`."""
    return Image.new("RGB", (width * SCALE, height * SCALE), colour)


def finished(picture: Image.Image) -> NDArray[np.uint8]:
    """The picture in its final size: RGB (height, width, 3)."""
    return np.asarray(picture.reduce(SCALE))


@lru_cache(maxsize=32)
def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, in pixels of the finished picture."""
    return ImageFont.load_default(size * SCALE)


def write(draw: ImageDraw.ImageDraw, at: Point, text: str, size: float, colour: Colour = TEXT, anchor: str = "ls") -> None:
    """Text at a place; ``anchor`` as in Pillow: "ls" is the left end of the base line, "rs" the right end, "ms" the middle."""
    draw.text((at[0] * SCALE, at[1] * SCALE), text, colour, font(size), anchor)


def panel(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], radius: float = 8) -> None:
    """A panel from (left, top) to (right, bottom)."""
    left, top, right, bottom = (round(each * SCALE) for each in box)
    draw.rounded_rectangle((left, top, right - 1, bottom - 1), radius * SCALE, PANEL, EDGE, SCALE)


def polyline(draw: ImageDraw.ImageDraw, points: Sequence[Point], colour: Colour, width: float) -> None:
    """A line through points that are given in pixels of the drawing, `SCALE` times the finished picture's."""
    if len(points) > 1:
        draw.line(list(points), colour, max(1, round(width * SCALE)), "curve")


def speed_colour(share: float) -> Colour:
    """From red over amber to green: the speed as a share of the highest."""
    place = min(max(share, 0.0), 1.0) * (len(SLOW_TO_FAST) - 1)
    low = min(int(place), len(SLOW_TO_FAST) - 2)
    red, green, blue = (SLOW_TO_FAST[low] + (place - low) * (SLOW_TO_FAST[low + 1] - SLOW_TO_FAST[low])).round().tolist()
    return int(red), int(green), int(blue)


def coloured_line(draw: ImageDraw.ImageDraw, points: Sequence[Point], colours: Sequence[Colour], width: float) -> None:
    """A line through points in pixels of the drawing; the piece that ends at point k has the colour k."""
    for ends, colour in zip(pairwise(points), colours[1:], strict=False):
        draw.line(ends, colour, max(1, round(width * SCALE)))
