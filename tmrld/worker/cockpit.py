"""The picture of a drive that is under way: what is seen, where the car is, what its driver does; drawn by pygame, within some ms.

It looks as `tmrld.envs.sim.film` does, which draws more beautifully, and takes ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pygame import Rect, Surface

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.camera import look_of
from tmrld.envs.sim.car import REDLINE
from tmrld.envs.sim.drawing import AMBER, BACKGROUND, BLUE, DIM, EDGE, GREEN, PANEL, RED, TEXT, VIOLET, Colour, finished
from tmrld.envs.sim.film import Scene
from tmrld.envs.sim.map import CAR, ROAD, TrackMap
from tmrld.envs.sim.randomness import conditions
from tmrld.envs.sim.tracks import named
from tmrld.envs.sim.view import View, beam_colour
from tmrld.envs.trackmania.game import course_of
from tmrld.envs.trackmania.lidar import beam_lines
from tmrld.worker.stage import Sight

WIDTH, HEIGHT = 1280, 720
MARGIN = 16
CAMERA = Rect(MARGIN, 66, 864, 440)
SIDE = Rect(CAMERA.right + MARGIN, CAMERA.top, WIDTH - CAMERA.right - 2 * MARGIN, CAMERA.height)
STRIP = Rect(MARGIN, CAMERA.bottom + MARGIN, WIDTH - 2 * MARGIN, HEIGHT - CAMERA.bottom - 2 * MARGIN)
GAP = 10
IMAGES_SHOWN = 4
"""Of the images that a policy sees, the newest so many are shown."""
CHART_S = 20.0
"""The curves show what happened in this time."""
MAP_MARGIN = 22.0
Place = Callable[[float, float], tuple[float, float]]


class Cockpit:
    """Draws one drive.  ``caption`` says who drives, ``beams`` whether the LIDAR's are shown, ``hint`` what keys do."""

    def __init__(self, options: EnvironmentOptions, caption: str, *, beams: bool, hint: str) -> None:
        self._options = options
        self._caption = f"{options.id} · {caption}"
        self._beams = beams
        self._hint = hint
        self._driven = "", -1  # track and seed
        self._view: View | None = None
        self._images = ""
        self._maps = lru_cache(maxsize=2)(lambda track, size: _map_of(options, track, size))

    def paint(self, surface: Surface, sight: Sight | None, notice: str = "") -> None:
        """Draw what is seen now, if anything is, over the whole surface, `WIDTH` × `HEIGHT`; and a notice, if there is one."""
        surface.fill(BACKGROUND)
        for box in (CAMERA, SIDE, STRIP):
            pygame.draw.rect(surface, PANEL, box, border_radius=8)
            pygame.draw.rect(surface, EDGE, box, 1, border_radius=8)
        write(surface, (CAMERA.right, 52), self._hint, 14, DIM, "rs")
        if sight is not None:
            driven = str(sight.scene.info["track"]), sight.seed
            if driven != self._driven:
                self._driven = driven
                self._enter(*driven, sight)
            self._draw_head(surface, sight)
            self._draw_camera(surface, sight)
            self._draw_side(surface, sight)
            _draw_dials(surface, sight.scene)
            _draw_charts(surface, sight.past)
        if notice:
            _draw_notice(surface, notice)

    def _enter(self, track: str, seed: int, sight: Sight) -> None:
        """Prepare what is the same for a whole episode."""
        self._images = next((name for name, frame in sight.scene.seen.items() if frame.ndim >= 2), "")
        if sight.picture is None:
            width, _ = _fitted(self._options.window, CAMERA.size)
            look = look_of(conditions(self._options.randomisation, seed))
            self._view = View(self._options.model_copy(update={"track": track}), width, look)
        self._map_at = SIDE.inflate(-4, -4)
        if self._images:
            used = 2 * self._image_size + 3 * GAP
            self._map_at.top += used
            self._map_at.height -= used
        self._map, self._place = self._maps(track, self._map_at.size)

    @property
    def _image_size(self) -> int:
        return (min(SIDE.width, round(SIDE.height * 0.68)) - 3 * GAP) // 2

    def _draw_head(self, surface: Surface, sight: Sight) -> None:
        scene = sight.scene
        write(surface, (MARGIN + 2, 30), self._driven[0], 24)
        late = f" · late steps: {sight.late_steps}" if sight.late_steps else ""
        write(surface, (MARGIN + 2, 52), f"{self._caption} · seed {sight.seed}{late}", 14, AMBER if late else DIM)
        done, lap_s = bool(scene.info["finished"]), scene.info["lap_time_s"]
        colour = GREEN if done else TEXT
        shown_s = float(lap_s) if done and lap_s is not None else scene.time_s
        progress = float(scene.info["progress"])
        write(surface, (SIDE.right - 2, 42), f"{shown_s:.2f} s", 32, colour, "rs")
        write(surface, (SIDE.left + 2, 42), "finished" if done else f"{progress:.0%} of the track", 17, colour)
        bar(surface, Rect(SIDE.left, 53, SIDE.width, 5), progress, colour)

    def _draw_camera(self, surface: Surface, sight: Sight) -> None:
        pixels = sight.picture
        if pixels is None:
            assert self._view is not None
            pixels = self._view.image(sight.scene.info)
        picture = picture_of(pixels)
        size = _fitted(picture.get_size(), CAMERA.size)
        if picture.get_size() != size:
            picture = pygame.transform.smoothscale(picture, size)
        lidar = sight.scene.seen.get("lidar")
        if self._beams and lidar is not None:
            for line, distance in zip(beam_lines(lidar, self._options.window, size[0]), lidar.tolist(), strict=True):
                colour, start, end = beam_colour(distance), (line[0], line[1]), (line[2], line[3])
                pygame.draw.aaline(picture, colour, start, end)
                pygame.draw.aaline(picture, colour, (start[0], start[1] + 1), (end[0], end[1] + 1))
                pygame.draw.circle(picture, BACKGROUND, end, 5)
                pygame.draw.circle(picture, colour, end, 4)
        surface.blit(picture, picture.get_rect(center=CAMERA.center))

    def _draw_side(self, surface: Surface, sight: Sight) -> None:
        """The images that a policy sees, newest first, and the map."""
        if self._images:
            size = self._image_size
            left = SIDE.left + (SIDE.width - 2 * size - GAP) // 2
            for age in range(IMAGES_SHOWN):
                scene = sight.past[max(0, len(sight.past) - 1 - age)]
                small = picture_of(scene.seen[self._images])
                corner = left + age % 2 * (size + GAP), SIDE.top + GAP + age // 2 * (size + GAP)
                surface.blit(pygame.transform.scale(small, (size, size)), corner)
                write(surface, (corner[0] + size - 5, corner[1] + size - 6), f"-{age}" if age else "now", 12, TEXT, "rs")
        surface.blit(self._map, self._map_at)
        left, top = self._map_at.topleft
        at = [self._place(float(scene.info["x"]), float(scene.info["z"])) for scene in sight.past]
        line = [(left + x, top + y) for x, y in at]
        if len(line) > 1:
            pygame.draw.aalines(surface, AMBER, False, line)
        self._draw_car(surface, sight.scene.info, line[-1])

    def _draw_car(self, surface: Surface, info: Mapping[str, Any], at: tuple[float, float]) -> None:
        """An arrow head on the map."""
        x, z, heading = float(info["x"]), float(info["z"]), float(info["heading"])
        here, ahead = self._place(x, z), self._place(x + 10.0 * math.sin(heading), z + 10.0 * math.cos(heading))
        angle = math.atan2(ahead[1] - here[1], ahead[0] - here[0])
        for size, colour in ((13.0, BACKGROUND), (9.0, CAR)):
            corners = [
                (at[0] + size * reach * math.cos(angle + turn), at[1] + size * reach * math.sin(angle + turn))
                for turn, reach in ((0.0, 1.0), (2.5, 0.85), (math.pi, 0.3), (-2.5, 0.85))
            ]
            pygame.draw.polygon(surface, colour, corners)
            pygame.draw.aalines(surface, colour, True, corners)


# The parts of the strip


def _draw_dials(surface: Surface, scene: Scene) -> None:
    """Speed, gear and revolutions, pedals and wheel."""
    left, top = STRIP.left + 22, STRIP.top
    write(surface, (left + 104, top + 62), f"{scene.kmh:.0f}", 58, TEXT, "rs")
    write(surface, (left + 112, top + 62), "km/h", 16, DIM)
    gear, rpm = scene.telemetry("gear"), scene.telemetry("rpm")
    if gear is not None:
        write(surface, (left + 112, top + 42), "R" if gear == 0 else f"gear {gear:.0f}", 16)
    if rpm is not None:
        share = min(rpm / REDLINE, 1.0)
        bar(surface, Rect(left, top + 76, 158, 8), share, RED if share > 0.93 else BLUE)
    gas, brake, steer = scene.action[:3]
    for row, (name, value, colour) in enumerate((("gas", gas, GREEN), ("brake", brake, RED))):
        y = top + 102 + 24 * row
        write(surface, (left, y + 8), name, 13, DIM)
        bar(surface, Rect(left + 42, y, 116, 9), max(value, 0.0), colour)
    y = top + 150
    write(surface, (left, y + 8), "steer", 13, DIM)
    wheel = Rect(left + 42, y, 116, 9)
    bar(surface, wheel, 0.0, AMBER)
    reach = round(wheel.width / 2 * min(max(steer, -1.0), 1.0))
    pygame.draw.rect(surface, AMBER, Rect(wheel.centerx + min(reach, 0), y, abs(reach), wheel.height))
    pygame.draw.rect(surface, TEXT, Rect(wheel.centerx, y - 2, 1, wheel.height + 4))


def _draw_charts(surface: Surface, past: Sequence[Scene]) -> None:
    """Speed, pedals, wheel and reward of the last `CHART_S` seconds; now is at the right end."""
    now = past[-1].time_s
    past = [scene for scene in past if scene.time_s >= now - CHART_S]
    kmh = [scene.kmh for scene in past]
    score = [scene.score for scene in past]
    rows: tuple[tuple[int, int, float, float, list[tuple[str, Colour, list[float]]]], ...] = (
        (14, 64, 0.0, max(*kmh, 100.0) * 1.05, [("km/h", BLUE, kmh)]),
        (
            *(76, 102, 0.0, 1.0),
            [
                ("gas", GREEN, [max(scene.action[0], 0.0) for scene in past]),
                ("brake", RED, [max(scene.action[1], 0.0) for scene in past]),
            ],
        ),
        (112, 134, -1.0, 1.0, [("steer", AMBER, [scene.action[2] for scene in past])]),
        (144, 166, min(*score, 0.0), max(*score, 1.0), [("reward", VIOLET, score)]),
    )
    left, right = STRIP.left + 270, STRIP.right - 66
    for first, last, low, high, curves in rows:
        top, bottom = STRIP.top + first, STRIP.top + last
        zero = bottom + low / (high - low) * (bottom - top)
        pygame.draw.line(surface, EDGE, (left, zero), (right, zero))
        for row, (name, colour, values) in enumerate(curves):
            middle = (top + bottom) / 2 + (row - (len(curves) - 1) / 2) * 13
            write(surface, (left - 10, middle), name, 12, colour, "rm")
            points = [
                (
                    right - (now - scene.time_s) / CHART_S * (right - left),
                    bottom - (value - low) / (high - low) * (bottom - top),
                )
                for scene, value in zip(past, values, strict=True)
            ]
            if len(points) > 1:
                pygame.draw.aalines(surface, colour, False, points)
            pygame.draw.circle(surface, colour, points[-1], 3)
        if len(curves) == 1:
            value = curves[0][2][-1]
            shown = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"
            write(surface, (right + 12, (top + bottom) / 2), shown, 15, curves[0][1], "lm")


def _draw_notice(surface: Surface, notice: str) -> None:
    """A line in the middle of the picture."""
    lettering, _, _ = _lettering(notice, 26 if len(notice) < 60 else 16, TEXT)
    box = lettering.get_rect(center=(CAMERA.centerx, CAMERA.top + 110)).inflate(48, 32)
    back = Surface(box.size, pygame.SRCALPHA)
    pygame.draw.rect(back, (*BACKGROUND, 215), back.get_rect(), border_radius=10)
    surface.blit(back, box)
    surface.blit(lettering, lettering.get_rect(center=box.center))


# Drawing


def picture_of(pixels: NDArray[np.uint8]) -> Surface:
    """An RGB or gray picture as a surface of its own."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    height, width = pixels.shape[:2]
    return pygame.image.frombytes(np.ascontiguousarray(pixels).tobytes(), (width, height), "RGB")


def bar(surface: Surface, box: Rect, share: float, colour: Colour) -> None:
    """A bar that is filled up to a share of its length."""
    pygame.draw.rect(surface, EDGE, box)
    pygame.draw.rect(surface, colour, Rect(box.left, box.top, round(box.width * min(max(share, 0.0), 1.0)), box.height))


def write(surface: Surface, at: tuple[float, float], text: str, size: int, colour: Colour = TEXT, anchor: str = "ls") -> None:
    """Text at a place; ``anchor``: its left (l), middle (m) or right (r) end, of the base line (s) or half as high as letters (m)."""
    lettering, left, top = _lettering(text, size, colour)
    x = at[0] - {"l": -left, "m": lettering.get_width() / 2, "r": lettering.get_width()}[anchor[0]]
    y = at[1] + top if anchor[1] == "s" else at[1] - size * 0.36 + (top + size * 0.72)
    surface.blit(lettering, (round(x), round(y)))


@lru_cache(maxsize=512)
def _lettering(text: str, size: int, colour: Colour) -> tuple[Surface, float, float]:
    """Text in the font of our pictures, and where its upper left corner lies, from the left end of its base line."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text or " ", anchor="ls")
    image = Image.new("RGBA", (max(1, round(right - left)), max(1, round(bottom - top))), (*colour, 0))
    ImageDraw.Draw(image).text((-left, -top), text, colour, font, "ls")
    return pygame.image.frombytes(image.tobytes(), image.size, "RGBA"), left, top


def _fitted(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape that has room in a box."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _map_of(options: EnvironmentOptions, track: str, size: tuple[int, int]) -> tuple[Surface, Place]:
    """A map without a car, and where a place (x, z) in metres lies on it."""
    if options.game == "sim":
        drawn = TrackMap(named(track), *size)
        ground = picture_of(finished(drawn.picture))
        scale = drawn.picture.width / size[0]

        def place(x: float, z: float) -> tuple[float, float]:
            across, down = drawn.place(x, z)
            return across / scale, down / scale

        return ground, place
    return _line_map(course_of(options.track).line, size)


def _line_map(line: NDArray[np.float64], size: tuple[int, int]) -> tuple[Surface, Place]:
    """The same for a line, (n, 3) metres, of whose road nothing is known; north is up."""
    low, high = line.min(axis=0), line.max(axis=0)
    extent = np.maximum(high - low, 1.0)
    scale = float(min((size[0] - 2 * MAP_MARGIN) / extent[0], (size[1] - 2 * MAP_MARGIN) / extent[2]))
    middle = ((low + high) / 2).tolist()

    def place(x: float, z: float) -> tuple[float, float]:
        return size[0] / 2 + (x - middle[0]) * scale, size[1] / 2 - (z - middle[2]) * scale

    ground = Surface(size)
    ground.fill(PANEL)
    points: list[tuple[float, float]] = [place(x, z) for x, _, z in line[::5].tolist()]
    for across, down in points:
        pygame.draw.circle(ground, ROAD, (across, down), max(3.0, 6.0 * scale))
    pygame.draw.circle(ground, BLUE, points[0], 5)
    _chequers(ground, points[-1])
    return ground, place


def _chequers(ground: Surface, at: tuple[Any, Any]) -> None:
    for row in range(2):
        for column in range(4):
            box = Rect(round(at[0]) - 8 + 4 * column, round(at[1]) - 4 + 4 * row, 4, 4)
            pygame.draw.rect(ground, TEXT if (row + column) % 2 else BACKGROUND, box)
