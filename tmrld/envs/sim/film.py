"""Pictures of an episode for people: what the car sees, where it drives, and what its driver does about it.

Pure: an episode that was driven goes in as a row of `Scene`s, pictures of 1280 × 720 come out, any of them and in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim import drawing
from tmrld.envs.sim.camera import PLAIN, Look
from tmrld.envs.sim.car import REDLINE
from tmrld.envs.sim.charts import Chart, Curve
from tmrld.envs.sim.drawing import SCALE, Colour
from tmrld.envs.sim.map import TrackMap
from tmrld.envs.sim.tracks import named
from tmrld.envs.sim.view import View, beam_colour
from tmrld.errors import BadInput

WIDTH, HEIGHT = 1280, 720
MARGIN = 16
TOP, MIDDLE = 66, 482
"""Where the upper panels begin, and where they end."""
CAMERA = (MARGIN, TOP, 832, MIDDLE)
MAP = (848, TOP, WIDTH - MARGIN, MIDDLE)
TELEMETRY = (MARGIN, MIDDLE + MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN)
FRAMES_SHOWN = 4
"""Of the images that a policy sees, the newest so many are shown."""
FRAME_GAP = 8


@dataclass(frozen=True)
class Scene:
    """One step of an episode as it is shown: what was seen, and what was done about it.

    ``info`` is the environment's, ``seen`` the newest frame of each part of the observation, ``score`` the rewards so far.
    """

    time_s: float
    info: Mapping[str, Any]
    seen: Mapping[str, NDArray[Any]]
    action: tuple[float, ...]
    score: float

    @property
    def kmh(self) -> float:
        """How fast the car drives."""
        return float(self.info["speed"]) * 3.6

    def telemetry(self, name: str) -> float | None:
        """Gear or revolutions, from the info or from the observation; None where neither has it."""
        if (value := self.info.get(name)) is not None:
            return float(value)
        return float(self.seen[name].ravel()[0]) if name in self.seen else None


class Film:
    """All pictures of one episode."""

    def __init__(self, options: EnvironmentOptions, scenes: Sequence[Scene], caption: str = "", look: Look = PLAIN) -> None:
        """``scenes``: at least one, in order.  ``caption`` is a line that says who drives."""
        self.scenes = scenes
        """What is shown, step by step."""
        track = named(str(scenes[0].info.get("track") or options.track))
        self._images = _image_part(scenes[0])
        left, top, right, bottom = CAMERA
        height = bottom - top
        column = 0
        if self._images:
            column = (height - (FRAMES_SHOWN + 1) * FRAME_GAP) // FRAMES_SHOWN + 2 * FRAME_GAP
        free = right - left - column
        width = min(free, round(height * options.window[0] / options.window[1]))
        self._view = View(options.model_copy(update={"track": track.name}), width * SCALE, look)
        self._camera_at = (left + (free - width) // 2, top + (height - self._view.height // SCALE) // 2)
        self._images_at = (right - column + FRAME_GAP, top + FRAME_GAP)
        self._image_size = column - 2 * FRAME_GAP

        kmh = [scene.kmh for scene in scenes]
        fastest = max(*kmh, 1.0)
        self._map = TrackMap(track, MAP[2] - MAP[0] - 4, MAP[3] - MAP[1] - 4)
        self._line = [self._map.place(float(scene.info["x"]), float(scene.info["z"])) for scene in scenes]
        self._line_colours = [drawing.speed_colour(each / fastest) for each in kmh]
        self._charts = _charts(scenes)
        self._still = self._paint_still(track.name, f"{track.length:,.0f} m", options.id, caption)

    def __len__(self) -> int:
        return len(self.scenes)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """All frames in order."""
        return (self.frame(index) for index in range(len(self)))

    def time_s(self, index: int) -> float:
        """When that scene was, in seconds after the start; -1 is the last one."""
        return self.scenes[index].time_s

    def index_at(self, time_s: float) -> int:
        """The number of the first scene at or after a time.  Raises BadInput when the episode has ended by then."""
        for index, scene in enumerate(self.scenes):
            if scene.time_s >= time_s - 1e-9:
                return index
        raise BadInput(
            f"the episode has ended {time_s:g} s after its start: it lasts {self.time_s(-1):.2f} s, choose an earlier moment"
        )

    def frame(self, index: int) -> NDArray[np.uint8]:
        """The picture of that scene: RGB (720, 1280, 3)."""
        scene = self.scenes[index]
        picture = self._still.copy()
        self._draw_camera(picture, scene)
        if self._images:
            self._draw_images(picture, index)
        self._draw_map(picture, index)
        draw = ImageDraw.Draw(picture)
        self._draw_time(draw, scene)
        self._draw_dials(draw, scene)
        for chart in self._charts:
            chart.draw(draw, index)
        return drawing.finished(picture)

    def map_place(self, x: float, z: float) -> tuple[float, float]:
        """Where the place (x, z) metres lies in the picture, in its pixels."""
        across, down = self._map.place(x, z)
        return MAP[0] + 2 + across / SCALE, MAP[1] + 2 + down / SCALE

    def _paint_still(self, name: str, length: str, id: str, caption: str) -> Image.Image:
        """What is the same in all frames."""
        picture = drawing.blank(WIDTH, HEIGHT)
        draw = ImageDraw.Draw(picture)
        for box in (CAMERA, MAP, TELEMETRY):
            drawing.panel(draw, box)
        picture.paste(self._map.picture, ((MAP[0] + 2) * SCALE, (MAP[1] + 2) * SCALE))
        drawing.write(draw, (MARGIN + 2, 30), name, 24)
        drawing.write(draw, (MARGIN + 2, 52), " · ".join(each for each in (id, length, caption) if each), 14, drawing.DIM)
        for chart in self._charts:
            chart.paint(draw)
        return picture

    def _draw_camera(self, picture: Image.Image, scene: Scene) -> None:
        image = Image.fromarray(self._view.image(scene.info))
        lidar = scene.seen.get("lidar")
        if lidar is not None:
            draw = ImageDraw.Draw(image, "RGBA")
            for line, distance in zip(self._view.beams(lidar), lidar.tolist(), strict=True):
                colour = beam_colour(distance)
                draw.line(line, (*colour, 170), 3)
                x, y = line[2:]
                draw.ellipse((x - 6, y - 6, x + 6, y + 6), (*colour, 255), (*drawing.BACKGROUND, 255), 2)
        left, top = self._camera_at
        picture.paste(image, (left * SCALE, top * SCALE))

    def _draw_images(self, picture: Image.Image, index: int) -> None:
        """What the policy sees, enlarged: the newest image on top."""
        draw = ImageDraw.Draw(picture)
        left, top = self._images_at
        size = self._image_size
        for age in range(FRAMES_SHOWN):
            pixels = self.scenes[max(0, index - age)].seen[self._images]
            image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
            image = image.resize((size * SCALE, size * SCALE), Image.Resampling.NEAREST)
            y = top + age * (size + FRAME_GAP)
            picture.paste(image, (left * SCALE, y * SCALE))
            label = "now" if age == 0 else f"-{age}"
            drawing.write(draw, (left + size - 5, y + size - 6), label, 12, drawing.TEXT, "rs")

    def _draw_map(self, picture: Image.Image, index: int) -> None:
        area = self._map.picture.copy()
        self._map.draw_line(area, self._line[: index + 1], self._line_colours[: index + 1])
        info = self.scenes[index].info
        self._map.draw_car(area, float(info["x"]), float(info["z"]), float(info["heading"]))
        picture.paste(area, ((MAP[0] + 2) * SCALE, (MAP[1] + 2) * SCALE))

    def _draw_time(self, draw: ImageDraw.ImageDraw, scene: Scene) -> None:
        """The lap's time and how far it came, over the map."""
        finished = bool(scene.info.get("finished"))
        lap = scene.info.get("lap_time_s")
        shown = float(lap) if finished and lap is not None else scene.time_s
        colour = drawing.GREEN if finished else drawing.TEXT
        drawing.write(draw, (MAP[2] - 2, 40), f"{shown:.2f} s", 32, colour, "rs")
        progress = float(scene.info.get("progress", 0.0))
        drawing.write(draw, (MAP[0] + 2, 40), "finished" if finished else f"{progress:.0%} of the track", 17, colour)
        bar = (MAP[0] * SCALE, 52 * SCALE, MAP[2] * SCALE, 56 * SCALE)
        draw.rectangle(bar, drawing.EDGE)
        draw.rectangle((bar[0], bar[1], bar[0] + round((bar[2] - bar[0]) * progress), bar[3]), colour)

    def _draw_dials(self, draw: ImageDraw.ImageDraw, scene: Scene) -> None:
        """Speed, gear and revolutions, pedals and wheel: the left end of the telemetry strip."""
        left, top = TELEMETRY[0] + 22, TELEMETRY[1]
        drawing.write(draw, (left + 104, top + 66), f"{scene.kmh:.0f}", 60, drawing.TEXT, "rs")
        drawing.write(draw, (left + 112, top + 66), "km/h", 16, drawing.DIM)
        gear, rpm = scene.telemetry("gear"), scene.telemetry("rpm")
        if gear is not None:
            drawing.write(draw, (left + 112, top + 46), "R" if gear == 0 else f"gear {gear:.0f}", 16, drawing.TEXT)
        if rpm is not None:
            share = min(rpm / REDLINE, 1.0)
            _bar(draw, (left, top + 82, left + 158, top + 90), share, drawing.RED if share > 0.93 else drawing.BLUE)
        gas, brake, steer = scene.action[:3]
        for place, (name, value, colour) in enumerate((("gas", gas, drawing.GREEN), ("brake", brake, drawing.RED))):
            y = top + 112 + 26 * place
            drawing.write(draw, (left, y + 8), name, 13, drawing.DIM)
            _bar(draw, (left + 42, y, left + 158, y + 9), max(value, 0.0), colour)
        y = top + 164
        drawing.write(draw, (left, y + 8), "steer", 13, drawing.DIM)
        _bar(draw, (left + 42, y, left + 158, y + 9), 0.0, drawing.AMBER)
        middle, reach = left + 100, 58 * steer
        ends = sorted((middle, middle + reach))
        draw.rectangle([round(each * SCALE) for each in (ends[0], y, ends[1], y + 9)], drawing.AMBER)
        draw.rectangle([round(each * SCALE) for each in (middle - 0.5, y - 2, middle + 0.5, y + 11)], drawing.TEXT)


def _bar(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], share: float, colour: Colour) -> None:
    """A bar that is filled up to a share of its length."""
    left, top, right, bottom = (round(each * SCALE) for each in box)
    draw.rectangle((left, top, right, bottom), drawing.EDGE)
    if share > 0.0:
        draw.rectangle((left, top, left + round((right - left) * min(share, 1.0)), bottom), colour)


def _image_part(scene: Scene) -> str:
    """The part of the observation that holds images; "" if none does."""
    return next((name for name, frame in scene.seen.items() if frame.ndim >= 2), "")


def _charts(scenes: Sequence[Scene]) -> list[Chart]:
    """Speed, pedals, wheel and reward over the time of the episode."""
    times = [scene.time_s for scene in scenes]
    gas, brake, steer = ([scene.action[k] for scene in scenes] for k in range(3))
    left, right, top = TELEMETRY[0] + 270, TELEMETRY[2] - 66, TELEMETRY[1]
    pedals = [
        Curve([max(g, 0.0) for g in gas], drawing.GREEN, "gas"),
        Curve([max(b, 0.0) for b in brake], drawing.RED, "brake"),
    ]
    speed = Curve([scene.kmh for scene in scenes], drawing.BLUE, "km/h")
    score = Curve([scene.score for scene in scenes], drawing.VIOLET, "reward")
    rows = (
        (14, 74, (0.0, max(*speed.values, 1.0) * 1.05), [speed]),
        (84, 114, (0.0, 1.0), pedals),
        (124, 148, (-1.0, 1.0), [Curve(steer, drawing.AMBER, "steer")]),
        (158, 180, (min(*score.values, 0.0), max(*score.values, 1.0)), [score]),
    )
    return [
        Chart((left, top + first, right, top + last), times, span, curves, has_axis=last == rows[-1][1])
        for first, last, span, curves in rows
    ]
