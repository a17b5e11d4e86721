"""A track from above, as a picture: its road, start and finish, checkpoints, and whatever drives on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tmrld.envs.sim import drawing
from tmrld.envs.sim.drawing import SCALE, Colour, Point
from tmrld.envs.sim.track import BORDER_M, Track

ROAD: Colour = (66, 74, 86)
BORDER: Colour = (118, 128, 142)
GATE: Colour = (112, 126, 146)
CAR: Colour = (255, 255, 255)
STEP_M = 1.0
"""Between two samples of the road's edges."""
LINE_WIDTH = 2.2
CAR_LENGTH = 9.0
"""Of the marker, in pixels: a car of true size could not be seen."""
PORTRAIT_WIDTH = 960
PORTRAIT_HEAD = 56
"""The strip with the name, in pixels."""
LEAST_SHARE = 0.25
"""Of the width: no map is flatter."""
SCALE_BARS_M = (10, 20, 50, 100, 200, 500, 1000, 2000)


class TrackMap:
    """A map of one track, ``width`` × ``height`` pixels.  It is turned by a quarter where that makes it larger.

    All places on it are in pixels of the drawing, `SCALE` times those of the finished picture.
    """

    def __init__(self, track: Track, width: int, height: int, margin: float = 22.0, colour: Colour = drawing.PANEL) -> None:
        self.width, self.height = width, height
        self._track = track
        s = np.arange(-track.run_in, track.length + track.run_out + STEP_M, STEP_M)
        corners = np.concatenate([self._beside(s, -1.0), self._beside(s, 1.0)])
        low, high = corners.min(axis=0), corners.max(axis=0)
        size_x, size_z = (high - low).tolist()
        free_x, free_y = width - 2 * margin, height - 2 * margin
        upright, lying = min(free_x / size_x, free_y / size_z), min(free_x / size_z, free_y / size_x)
        self._lies = lying > upright
        self._pixels_per_m = max(upright, lying) * SCALE
        self._middle = ((low + high) / 2).tolist()
        self.picture = self._paint(s, colour)
        """The map without any car, in the size of the drawing."""

    def place(self, x: float, z: float) -> Point:
        """Where the place (x, z) metres lies on the map."""
        right, up = (x - self._middle[0]) * self._pixels_per_m, (z - self._middle[1]) * self._pixels_per_m
        if self._lies:  # what was ahead is now to the right, and what was to the right is below
            right, up = up, -right
        return self.width * SCALE / 2 + right, self.height * SCALE / 2 - up

    def draw_line(self, picture: Image.Image, points: Sequence[Point], colours: Sequence[Colour]) -> None:
        """A driven line through places of the map; the piece that ends at point k has the colour k."""
        drawing.coloured_line(ImageDraw.Draw(picture), points, colours, LINE_WIDTH)

    def draw_car(self, picture: Image.Image, x: float, z: float, heading: float) -> None:
        """The car as an arrow head with its middle at that place."""
        draw = ImageDraw.Draw(picture)
        middle = self.place(x, z)
        length = CAR_LENGTH * SCALE
        for size, colour in ((1.45, drawing.BACKGROUND), (1.0, CAR)):
            corners = [
                self._from(middle, heading + angle, length * reach * size)
                for angle, reach in ((0.0, 1.0), (2.5, 0.85), (math.pi, 0.3), (-2.5, 0.85))
            ]
            draw.polygon(corners, colour)

    def _from(self, point: Point, heading: float, pixels: float) -> Point:
        """A point of the map that far away in that direction."""
        angle = heading + math.pi / 2 if self._lies else heading
        return point[0] + pixels * math.sin(angle), point[1] - pixels * math.cos(angle)

    def _beside(self, s: NDArray[np.float64], side: float, more: float = 0.0) -> NDArray[np.float64]:
        """x and z of the road's left (-1) or right (1) edge, ``more`` metres further out: (n, 2)."""
        x, z, heading = self._track.centre(s)
        aside = side * (self._track.half_width(s) + more)
        return np.column_stack([x + aside * np.cos(heading), z - aside * np.sin(heading)])

    def _paint(self, s: NDArray[np.float64], colour: Colour) -> Image.Image:
        picture = drawing.blank(self.width, self.height, colour)
        draw = ImageDraw.Draw(picture)
        pixel = SCALE / self._pixels_per_m  # metres
        border = max(BORDER_M, 1.2 * pixel)  # thinner ones would come and go
        layers = [np.full(len(s) - 1, True)]
        for passage in self._track.passages:
            if passage.deck:
                middle = (s[:-1] + s[1:]) / 2
                layers.append((middle >= passage.start) & (middle <= passage.end))
        for layer, wanted in enumerate(layers):
            if layer:  # a gap beside the bridge shows that it is one
                self._paint_road(draw, s, wanted, border + 2 * pixel, colour)
            for more, shade in ((border, BORDER), (0.0, ROAD)):  # each reaches a little further, and hides the end of the last
                wanted = np.convolve(wanted, (1, 1, 1), "same") > 0
                self._paint_road(draw, s, wanted, more, shade)
        for gate in self._track.gates[:-1]:
            self._paint_across(draw, gate.metres, GATE, 1.0)
        self._paint_across(draw, 0.0, drawing.TEXT, 2.0)
        self._paint_finish(draw)
        self._paint_start_arrow(draw)
        self._paint_scale(draw)
        return picture

    def _paint_road(
        self, draw: ImageDraw.ImageDraw, s: NDArray[np.float64], wanted: NDArray[np.bool_], more: float, colour: Colour
    ) -> None:
        """The pieces that are wanted, ``more`` metres wider on both sides than the road."""
        lefts = [self.place(x, z) for x, z in self._beside(s, -1.0, more).tolist()]
        rights = [self.place(x, z) for x, z in self._beside(s, 1.0, more).tolist()]
        for k in np.flatnonzero(wanted).tolist():
            draw.polygon((lefts[k], lefts[k + 1], rights[k + 1], rights[k]), colour, colour)

    def _ends(self, s: float) -> tuple[Point, Point]:
        """The two ends of a line across the road."""
        pose, half = self._track.pose(s), self._track.half_width(s)
        left, right = pose.right(-half), pose.right(half)
        return self.place(left.x, left.z), self.place(right.x, right.z)

    def _paint_across(self, draw: ImageDraw.ImageDraw, s: float, colour: Colour, width: float) -> None:
        draw.line(self._ends(s), colour, round(width * SCALE))

    def _paint_finish(self, draw: ImageDraw.ImageDraw) -> None:
        """Two rows of chequers."""
        finish = self._track.length
        pose, half = self._track.pose(finish), self._track.half_width(finish)
        deep = max(1.5, 3.0 * SCALE / self._pixels_per_m)
        for row in range(2):
            for column in range(6):
                colour = drawing.TEXT if (row + column) % 2 else drawing.BACKGROUND
                near, far = pose.ahead(row * deep), pose.ahead((row + 1) * deep)
                a, b = (column / 3 - 1) * half, ((column + 1) / 3 - 1) * half
                corners = (near.right(a), near.right(b), far.right(b), far.right(a))
                draw.polygon([self.place(corner.x, corner.z) for corner in corners], colour)

    def _paint_start_arrow(self, draw: ImageDraw.ImageDraw) -> None:
        """Which way round."""
        pose = self._track.pose(0.0)
        tip = self.place(pose.x, pose.z)
        tail = self._from(tip, pose.heading + math.pi, 4 * SCALE)
        head = self._from(tip, pose.heading, 8 * SCALE)
        sides = [self._from(tail, pose.heading + side * math.pi / 2, 4 * SCALE) for side in (-1, 1)]
        draw.polygon((head, *sides), drawing.BLUE)

    def _paint_scale(self, draw: ImageDraw.ImageDraw) -> None:
        """A bar of some round length, at the lower left."""
        longest = self.width / 4 * SCALE / self._pixels_per_m
        metres = max((bar for bar in SCALE_BARS_M if bar <= longest), default=SCALE_BARS_M[0])
        x, y = 14.0, self.height - 12.0
        end = x + metres * self._pixels_per_m / SCALE
        for line in ((x, y, end, y), (x, y - 3, x, y), (end, y - 3, end, y)):
            draw.line([each * SCALE for each in line], drawing.DIM, SCALE)
        drawing.write(draw, (end + 6, y + 3), f"{metres} m", 11, drawing.DIM)


def portrait(track: Track) -> NDArray[np.uint8]:
    """The map of a track alone, with its name: RGB, `PORTRAIT_WIDTH` pixels wide and as high as its shape wants."""
    extent = np.ptp(track.line[:, [0, 2]], axis=0)
    share = (float(extent.min()) + 2 * track.width) / (float(extent.max()) + 2 * track.width)
    height = round(min(max(share, LEAST_SHARE), 1.0) * PORTRAIT_WIDTH) + PORTRAIT_HEAD
    picture = drawing.blank(PORTRAIT_WIDTH, height, drawing.PANEL)
    picture.paste(TrackMap(track, PORTRAIT_WIDTH, height - PORTRAIT_HEAD).picture, (0, PORTRAIT_HEAD * SCALE))
    draw = ImageDraw.Draw(picture)
    drawing.write(draw, (22, 40), track.name, 26)
    drawing.write(draw, (PORTRAIT_WIDTH - 22, 40), f"{track.length:,.0f} m", 20, drawing.DIM, "rs")
    return drawing.finished(picture)
