"""Curves over the time of an episode, for a picture: the whole curve faintly, and what has happened by now in full colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from tmrld.envs.sim import drawing
from tmrld.envs.sim.drawing import SCALE, Colour, Point

FAINT = 0.72
"""How much of the panel's colour is in what is still to come."""
TICKS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
LINE_WIDTH = 1.6


@dataclass(frozen=True)
class Curve:
    """One value per scene, its colour and its name."""

    values: Sequence[float]
    colour: Colour
    name: str


class Chart:
    """Curves in one box (left, top, right, bottom) of the picture; ``span`` is the lowest and highest value."""

    def __init__(
        self,
        box: tuple[float, float, float, float],
        times: Sequence[float],
        span: tuple[float, float],
        curves: Sequence[Curve],
        *,
        has_axis: bool,
    ) -> None:
        self._box = box
        self._times = times
        self._curves = curves
        self._has_axis = has_axis
        self._first = times[0]
        self._duration = max(times[-1] - times[0], 1e-9)
        low, high = span
        bottom, rise = box[3], box[3] - box[1]
        self._points: list[list[Point]] = [
            [
                (self._x(time) * SCALE, (bottom - (value - low) / (high - low) * rise) * SCALE)
                for time, value in zip(times, curve.values, strict=True)
            ]
            for curve in curves
        ]
        self._zero = bottom - (0.0 - low) / (high - low) * rise

    def paint(self, draw: ImageDraw.ImageDraw) -> None:
        """What is the same in all frames: axis, names, and the curves faintly."""
        left, top, right, bottom = self._box
        draw.line([each * SCALE for each in (left, self._zero, right, self._zero)], drawing.EDGE, SCALE)
        for curve, points in zip(self._curves, self._points, strict=True):
            drawing.polyline(draw, points, _faint(curve.colour), LINE_WIDTH)
        step = (bottom - top) / (len(self._curves) + 1)
        for row, curve in enumerate(self._curves, 1):
            drawing.write(
                draw,
                (left - 10, top + step * row + (row - (len(self._curves) + 1) / 2) * 4),
                curve.name,
                12,
                curve.colour,
                "rm",
            )
        if self._has_axis:
            ticks = next((each for each in TICKS_S if self._duration / each <= 12), TICKS_S[-1])
            for second in range(0, int(self._first + self._duration) + 1, ticks):
                if second >= self._first:
                    x = self._x(second)
                    drawing.write(draw, (x, bottom + 14), f"{second} s", 11, drawing.DIM, "ms")

    def draw(self, draw: ImageDraw.ImageDraw, index: int) -> None:
        """What has happened by the scene of that index, and a line at the present."""
        _, top, right, bottom = self._box
        x = self._x(self._times[index]) * SCALE
        draw.line((x, (top - 4) * SCALE, x, (bottom + 2) * SCALE), drawing.DIM, SCALE)
        ends = []
        for curve, points in zip(self._curves, self._points, strict=True):
            drawing.polyline(draw, points[: index + 1], curve.colour, LINE_WIDTH)
            ends.append((points[index], curve))
        for (x, y), curve in ends:
            radius = 3 * SCALE
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), curve.colour)
        if len(self._curves) == 1:
            value = self._curves[0].values[index]
            shown = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"
            drawing.write(draw, (right + 12, (top + bottom) / 2), shown, 15, self._curves[0].colour, "lm")

    def _x(self, time: float) -> float:
        left, _, right, _ = self._box
        return left + (time - self._first) / self._duration * (right - left)


def _faint(colour: Colour) -> Colour:
    red, green, blue = (round(FAINT * under + (1 - FAINT) * over) for under, over in zip(drawing.PANEL, colour, strict=True))
    return red, green, blue
