"""Histograms of what steps take, as one picture.  Counts are drawn by their logarithm, so that what is rare can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from tmrld.envs.sim import drawing
from tmrld.envs.sim.drawing import SCALE, Colour

WIDTH, HEIGHT = 1280, 720
MARGIN = 16
HEAD = 76
BINS = 72
SHOWN = 99.9
"""Percent of the values lie in the range that is shown; what lies beyond is counted in the last bin, in red."""
STEPS = (1.0, 2.0, 5.0)
"""Distances between two marks of an axis, times a power of ten."""


@dataclass(frozen=True)
class Panel:
    """Values of one kind, in milliseconds, with their name and a line that explains it."""

    name: str
    text: str
    values: Sequence[float]
    colour: Colour


def picture(title: str, text: str, panels: Sequence[Panel]) -> NDArray[np.uint8]:
    """Up to four histograms under a title and a line: RGB (720, 1280, 3)."""
    image = drawing.blank(WIDTH, HEIGHT)
    draw = ImageDraw.Draw(image)
    drawing.write(draw, (MARGIN + 2, 36), title, 24)
    drawing.write(draw, (MARGIN + 2, 60), text, 14, drawing.DIM)
    columns = 2 if len(panels) > 1 else 1
    rows = math.ceil(len(panels) / columns)
    width = (WIDTH - (columns + 1) * MARGIN) / columns
    height = (HEIGHT - HEAD - rows * MARGIN) / rows
    for number, panel in enumerate(panels):
        left = MARGIN + number % columns * (width + MARGIN)
        top = HEAD + number // columns * (height + MARGIN)
        _draw_panel(draw, (left, top, left + width, top + height), panel)
    return drawing.finished(image)


def _draw_panel(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], panel: Panel) -> None:
    left, top, right, bottom = box
    drawing.panel(draw, box)
    drawing.write(draw, (left + 20, top + 32), panel.name, 17, panel.colour)
    drawing.write(draw, (left + 20, top + 52), panel.text, 12, drawing.DIM)
    values = np.asarray(panel.values, np.float64)
    if not len(values):
        drawing.write(draw, ((left + right) / 2, (top + bottom) / 2), "nothing was measured", 14, drawing.DIM, "ms")
        return
    p50, p99 = np.percentile(np.abs(values), (50.0, 99.0)).tolist()
    numbers = f"p50 {_ms(p50)}   p99 {_ms(p99)}   max {_ms(float(np.abs(values).max()))}"
    drawing.write(draw, (right - 20, top + 32), numbers, 14, drawing.TEXT, "rs")
    low, high = _span(values)
    counts, _ = np.histogram(values, BINS, (low, high))
    beyond = int((values > high).sum())
    if beyond:
        text = f"{beyond:,} beyond the right end"
        drawing.write(draw, (right - 20, top + 52), text, 12, drawing.RED, "rs")
    area = left + 20, top + 70, right - 20, bottom - 34
    _draw_bars(draw, area, counts, beyond, panel.colour)
    _draw_axis(draw, area, low, high)


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    """The lowest and highest value that are shown; they differ."""
    low, high = min(float(values.min()), 0.0), float(np.percentile(values, SHOWN))
    if high <= low:
        high = low + max(abs(low), 1e-3)
    edge = (high - low) * 0.02
    return low - edge * (low < 0.0), high + edge


def _draw_bars(
    draw: ImageDraw.ImageDraw, area: tuple[float, float, float, float], counts: NDArray[np.int64], beyond: int, colour: Colour
) -> None:
    left, top, right, bottom = area
    width = (right - left) / (len(counts) + 1)
    highest = math.log1p(max(int(counts.max()), beyond))
    for power in range(6):  # a line at 1, 10, 100 … steps
        y = bottom - math.log1p(10**power) / highest * (bottom - top)
        if y >= top - 1:
            draw.line([round(each * SCALE) for each in (left, y, right, y)], drawing.EDGE, 1)
            drawing.write(draw, (right, y - 3), f"{10**power:,}", 10, drawing.DIM, "rs")

    for number, count in enumerate([*counts.tolist(), beyond]):
        if count:
            x = left + number * width
            y = bottom - math.log1p(count) / highest * (bottom - top)
            shade = drawing.RED if number == len(counts) else colour
            draw.rectangle([round(each * SCALE) for each in (x + 0.5, y, x + width - 0.5, bottom)], shade)


def _draw_axis(draw: ImageDraw.ImageDraw, area: tuple[float, float, float, float], low: float, high: float) -> None:
    left, _, right, bottom = area
    draw.line([round(each * SCALE) for each in (left, bottom, right, bottom)], drawing.DIM, SCALE)
    right -= (right - left) / (BINS + 1)
    step = _tick(high - low)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        x = left + (number * step - low) / (high - low) * (right - left)
        draw.line([round(each * SCALE) for each in (x, bottom, x, bottom + 4)], drawing.DIM, SCALE)
        drawing.write(draw, (x, bottom + 18), f"{number * step:g} ms", 11, drawing.DIM, "ms")


def _tick(span: float) -> float:
    """A round distance between marks, of which a span has some eight."""
    power = 10.0 ** math.floor(math.log10(span / 8))
    return next((each * power for each in STEPS if each * power >= span / 8), 10.0 * power)


def _ms(value: float) -> str:
    """Milliseconds to three digits."""
    return f"{value:.3g} ms"
