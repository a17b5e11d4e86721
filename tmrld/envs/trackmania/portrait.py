"""The line of a recorded track from above: as a picture, and as characters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from tmrld.envs.sim import drawing
from tmrld.envs.sim.figures import drawn
from tmrld.envs.sim.map import LEAST_SHARE, PORTRAIT_HEAD, PORTRAIT_WIDTH, ROAD

MARGIN = 28.0
LINE_WIDTH = 7.0
"""Of the road, which nobody has measured, in pixels."""
EVERY = 10
"""Of the points, 1 m apart, so many are drawn."""


def sketch(line: NDArray[np.float64], columns: int, rows: int) -> str:
    """The line (n, 3) from above, turned so that it starts upwards: S start, F finish."""
    places = _turned(line)
    marks = [(sign, *places[end].tolist()) for sign, end in (("S", 0), ("F", -1))]
    return drawn(places[:: EVERY // 2], marks, columns, rows) if len(places) > EVERY else ""


def portrait(line: NDArray[np.float64], name: str, lap_time_s: float | None) -> NDArray[np.uint8]:
    """A picture of the line (n, 3) with its name, length and lap: RGB, as high as the track's shape wants."""
    places = line[:, [0, 2]]
    size = np.maximum(np.ptp(places, axis=0), 1e-9)
    if size[1] > size[0]:  # lying, as screens do
        places = np.column_stack([places[:, 1], -places[:, 0]])
        size = size[::-1]
    share = min(max(float(size[1] / size[0]), LEAST_SHARE), 1.0)
    height = round(share * PORTRAIT_WIDTH)
    scale = min((PORTRAIT_WIDTH - 2 * MARGIN) / size[0], (height - 2 * MARGIN) / size[1]) * drawing.SCALE
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    x = PORTRAIT_WIDTH / 2 * drawing.SCALE + (places[:, 0] - middle[0]) * scale
    y = (PORTRAIT_HEAD + height / 2) * drawing.SCALE - (places[:, 1] - middle[1]) * scale
    points = [*zip(x[::EVERY].tolist(), y[::EVERY].tolist(), strict=True), (float(x[-1]), float(y[-1]))]
    picture = drawing.blank(PORTRAIT_WIDTH, height + PORTRAIT_HEAD, drawing.PANEL)
    draw = ImageDraw.Draw(picture)
    drawing.polyline(draw, points, ROAD, LINE_WIDTH)
    drawing.polyline(draw, points, drawing.BLUE, 1.5)
    for place, colour in ((points[0], drawing.GREEN), (points[-1], drawing.RED)):
        reach = LINE_WIDTH * drawing.SCALE
        draw.ellipse((place[0] - reach, place[1] - reach, place[0] + reach, place[1] + reach), colour)
    length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    lap = "" if lap_time_s is None else f", {lap_time_s:.2f} s"
    drawing.write(draw, (22, 40), name, 26)
    drawing.write(draw, (PORTRAIT_WIDTH - 22, 40), f"{length:,.0f} m{lap}", 20, drawing.DIM, "rs")
    return drawing.finished(picture)


def _turned(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """x and z of the line, (n, 2), turned so that its first metres lead upwards."""
    places = line[:, [0, 2]] - line[0, [0, 2]]
    ahead = places[min(len(places) - 1, 10 * EVERY)]
    angle = math.atan2(ahead[0], ahead[1])
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned: NDArray[np.float64] = places @ turn
    return turned
