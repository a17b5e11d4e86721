"""What is grabbed of the game's window, and what the LIDAR measures in it."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tmrld.doctor.arrays import Distances, Frames
from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.patient import Evidence
from tmrld.envs.options import FULL_ID, EnvironmentOptions
from tmrld.envs.trackmania.eyes import Eye, eye_of
from tmrld.envs.trackmania.lidar import BEAMS, beam_lines, beam_pixels
from tmrld.errors import GameError

AREA = "picture"
JPEG_QUALITY = 80
MOST_JPEG_BYTES = 1 << 20
SMALLEST = 64
"""A picture is not made lower or narrower than this, in pixels, to take less."""
BLACK = 16
"""A picture that is nowhere brighter than this, of 255, is black."""
PLAIN = 3.0
"""A picture whose levels spread by less than this (standard deviation) is of one colour."""
MEASURABLE = 17
"""If so many of the 19 beams meet no border, there is none."""
BLOCKED = 15
NEAR_PX = 8
"""If so many meet something within so many pixels, it is the car."""
FORWARD = slice(7, 12)
LOPSIDED = 2.0
"""If one side is on average so many times as far as the other, the car does not stand in the middle, or the camera is askew."""
FROZEN_S = 0.5
"""Pictures that do not change for this long while the car drives are old."""
MOST_GRABS = 2000
FILM_EVERY_S, FILM_WIDTH, MOST_FILM = 0.5, 320, 120
"""How often a small picture is kept for people to look at, how wide it may be, and how many there may be."""


class Pictures(Evidence):
    """What was grabbed, one picture per time step.

    ``problem`` says why none, or no more, could be grabbed.  ``frames`` are the first and the last picture; ``times`` is when each
    grab began, as records count time, ``took_s`` how long it took, and ``saw_s`` how long it took to make of it what a policy sees;
    ``changed`` is the share of pixels that differ from those of the picture before.  ``lidar`` is what was measured in each; no rows
    for images.  ``film`` are small pictures for people, two a second from the beginning on.
    """

    problem: str = ""
    frames: Frames
    times: list[float] = Field([])
    took_s: list[float] = Field([])
    saw_s: list[float] = Field([])
    changed: list[float] = Field([])
    lidar: Distances
    film: Frames

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.frames.shape[2], self.frames.shape[1]


def no_pictures(problem: str = "") -> Pictures:
    """When there are none."""
    none = np.zeros((0, 1, 1, 3), np.uint8)
    return Pictures(problem=problem, frames=none, lidar=np.zeros((0, BEAMS), np.float32), film=none)


# Looking


def gather_pictures(
    grab: Callable[[], NDArray[np.uint8]],
    options: EnvironmentOptions,
    going: Callable[[], bool],
    clock: Callable[[], float],
) -> Pictures:
    """Grab one picture per time step as long as ``going`` says so, at least two; ``clock`` tells time as records count it.

    ``grab`` returns (height, width, 4), blue first, and raises GameError.
    """
    eye: Eye | None = None
    problem = ""
    try:
        eye = eye_of(options)
    except GameError as error:
        problem = str(error)
    kept: list[NDArray[np.uint8]] = []
    film = _Film()
    times, took_s, saw_s, changed = list[float](), list[float](), list[float](), list[float]()
    lidar: list[NDArray[np.float32]] = []
    before: NDArray[np.uint8] | None = None
    while len(times) < 2 or (going() and len(times) < MOST_GRABS):
        now = clock()
        try:
            picture = grab()
        except GameError as error:
            problem = str(error)
            break
        grabbed = clock()
        if eye is not None:
            seen = eye(picture)
            if options.id != FULL_ID:
                lidar.append(seen)
        times.append(now)
        took_s.append(grabbed - now)
        saw_s.append(clock() - grabbed)
        frame = np.ascontiguousarray(picture[:, :, :3])
        if before is not None:
            changed.append(float((frame != before).any(axis=2).mean()) if frame.shape == before.shape else 1.0)
        before = frame
        film.add(frame, now)
        kept = [kept[0] if kept and kept[0].shape == frame.shape else frame, frame]
        time.sleep(max(0.0, now + options.time_step_s - clock()))
    if not kept:
        return no_pictures(problem)
    return Pictures(
        problem=problem,
        frames=np.stack(kept),
        times=times,
        took_s=took_s,
        saw_s=saw_s,
        changed=changed,
        lidar=np.array(lidar, np.float32).reshape(-1, BEAMS),
        film=np.stack(film.frames),
    )


class _Film:
    """Small pictures of one size, some time apart."""

    def __init__(self) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self._next_s = -math.inf

    def add(self, frame: NDArray[np.uint8], now_s: float) -> None:
        """Keep this one if it is time to, and there is room."""
        if now_s < self._next_s or len(self.frames) >= MOST_FILM:
            return
        every = math.ceil(frame.shape[1] / FILM_WIDTH)
        small = np.ascontiguousarray(frame[::every, ::every])
        if not self.frames or small.shape == self.frames[0].shape:
            self.frames.append(small)
            self._next_s = now_s + FILM_EVERY_S


def drawn(seen: Pictures, most_bytes: int = MOST_JPEG_BYTES) -> bytes:
    """The last picture as a JPEG, with the LIDAR's beams in it where it was measured; b"" where there is no picture.

    It is made smaller until it takes no more than ``most_bytes``.
    """
    if not len(seen.frames):
        return b""
    from PIL import Image, ImageDraw

    from tmrld.envs.sim.view import beam_colour

    image = Image.fromarray(np.ascontiguousarray(seen.frames[-1][:, :, ::-1]))
    if len(seen.lidar):
        draw = ImageDraw.Draw(image)
        lidar = seen.lidar[-1]
        for line, distance in zip(beam_lines(lidar, seen.size, seen.size[0]), lidar.tolist(), strict=True):
            colour = beam_colour(distance)
            draw.line(line, colour, 2)
            x, y = line[2:]
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
    while len(data := _jpeg(image)) > most_bytes and min(image.size) > SMALLEST:
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4))
    return data


def _jpeg(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


# Judging

CODES = frozenset(
    {
        "picture-missing",
        "picture-size",
        "picture-black",
        "picture-plain",
        "picture-frozen",
        "capture-slow",
        "capture-too-slow",
        "lidar-no-borders",
        "lidar-blocked",
        "lidar-blocked-ahead",
        "lidar-lopsided",
    }
)


def judge_pictures(
    seen: Pictures, options: EnvironmentOptions, *, moves: NDArray[np.float64], at_start: bool
) -> Iterator[Diagnosis]:
    """``moves`` are the times at which the plugin told that the car had moved.

    ``at_start`` says that the car stands at the start, and so in the middle of the road.
    """
    if seen.problem:
        yield wrong(AREA, "capture", f"no picture can be taken: {seen.problem}", "what it says", code="picture-missing")
    if not len(seen.frames):
        return
    width, height = options.window
    if seen.size != (width, height):
        yield wrong(
            AREA,
            "size",
            f"pictures of the window are {seen.size[0]}x{seen.size[1]}, and should be {width}x{height}: what is seen in them "
            "is wrong",
            "let the window have its size (above); with scaling, set the monitor to 100 %",
            code="picture-size",
        )
    if (unseen := _judge_sight(seen)) is not None:
        yield unseen
        return
    still_s = _still_s(seen, moves)
    if still_s > FROZEN_S:
        yield wrong(
            AREA,
            "movement",
            f"the car drives, but the picture of the window did not change for {still_s:.1f} s",
            "leave the game's window open and on this desktop; turn full screen off; and let no recorder or overlay hold the "
            "picture",
            code="picture-frozen",
        )
    elif seen.changed:
        yield ok(
            AREA, "content", f"it shows something, and {'changes' if any(seen.changed) else 'stands still as the car does'}"
        )
    if options.game == "trackmania":
        yield _judge_pace(seen, options)
    if len(seen.lidar):
        yield _judge_lidar(seen, at_start=at_start)


def moving_picture(seen: Pictures) -> bool:
    """Whether its pictures differ by more than a clock or a cursor does, most of the time."""
    return len(seen.changed) > 3 and float(np.median(seen.changed)) > 0.2


def visible(seen: Pictures) -> bool:
    """Whether there are pictures that are not black."""
    return bool(len(seen.frames)) and int(seen.frames.max()) > BLACK


def _judge_sight(seen: Pictures) -> Diagnosis | None:
    last = seen.frames[-1]
    if not visible(seen):
        return wrong(
            AREA,
            "content",
            "the picture of the window is black",
            "turn full screen off in the game's display settings, unlock the screen, and keep the monitor (or a dummy plug) "
            "connected; a "
            "remote desktop must stay open",
            code="picture-black",
        )
    if float(last.std(axis=(0, 1)).max()) < PLAIN:
        colour = ", ".join(str(round(float(level))) for level in last.mean(axis=(0, 1))[::-1])
        return wrong(
            AREA,
            "content",
            f"the picture of the window is of one colour (red, green, blue: {colour})",
            "wait until the game has loaded, load a map, and look whether something lies over the window",
            code="picture-plain",
        )
    return None


def _still_s(seen: Pictures, moves: NDArray[np.float64]) -> float:
    """The longest time for which no pixel changed although the car moved."""
    longest = since = 0.0
    for before, now, changed in zip(seen.times, seen.times[1:], seen.changed, strict=False):
        drives = bool(((moves > before) & (moves <= now)).any())
        since = since + now - before if drives and changed == 0.0 else 0.0
        longest = max(longest, since)
    return longest


def _judge_pace(seen: Pictures, options: EnvironmentOptions) -> Diagnosis:
    each_s = np.array(seen.took_s) + np.array(seen.saw_s)
    usual, slowest = (1000 * float(np.quantile(each_s, share)) for share in (0.5, 0.95))
    room = 1000 * (options.time_step_s - options.start_obs_capture_s)
    text = f"a picture takes {usual:.1f} ms, 1 in 20 takes {slowest:.1f} ms or more, and a time step has {room:.0f} ms for it"
    mend = (
        "end other programs, and lower the game's graphics settings and frame rate (30 frames per second are enough), so that "
        "the "
        "processor has room; or an earlier environment.start_obs_capture_s"
    )
    if usual > room:
        return wrong(AREA, "capture", text, mend, code="capture-too-slow")
    if slowest > room:
        return note(AREA, "capture", text, mend, code="capture-slow")
    return ok(AREA, "capture", text)


def _judge_lidar(seen: Pictures, *, at_start: bool) -> Diagnosis:
    free = np.array([len(rows) - 1 for rows, _ in beam_pixels(*seen.size)], np.float32)
    lidar = seen.lidar
    endless = np.median((lidar >= free).sum(axis=1))
    near = np.median((lidar < NEAR_PX).sum(axis=1))
    usual = np.median(lidar, axis=0)
    if near >= BLOCKED:
        return wrong(
            AREA,
            "LIDAR",
            f"{near:.0f} of its {BEAMS} beams are blocked at once: the car itself is in the picture, or it is dark",
            "choose the game's camera in front of the car, with the car hidden (key 3, once or twice), and hide the interface "
            "(OpenPlanet's overlay, too: F3)",
            code="lidar-blocked",
        )
    if endless >= MEASURABLE:
        return wrong(
            AREA,
            "LIDAR",
            f"{endless:.0f} of its {BEAMS} beams meet no border of the road",
            "the LIDAR needs a road with black borders, as on TMRL's maps, seen by the camera in front of the car (key 3); on "
            "other maps "
            'use images: environment.id = "tmrld/TM20Full-v0"',
            code="lidar-no-borders",
        )
    if float(usual[FORWARD].max()) < NEAR_PX:
        return wrong(
            AREA,
            "LIDAR",
            "its beams ahead are blocked at once, and those to the sides are not: the car, or its shadow, is in the picture",
            "choose the game's camera in front of the car, with the car hidden (key 3, once or twice)",
            code="lidar-blocked-ahead",
        )
    right, left = usual[: BEAMS // 2] + 1.0, usual[: BEAMS // 2 : -1] + 1.0
    ratio = float(np.exp(np.mean(np.log(left) - np.log(right))))
    text = f"beams reach {usual.min():.0f} to {usual.max():.0f} pixels, ahead {usual[BEAMS // 2]:.0f}"
    if at_start and not 1 / LOPSIDED < ratio < LOPSIDED:
        side = "left" if ratio > 1 else "right"
        return note(
            AREA,
            "LIDAR",
            f"{text}; at the start they reach {max(ratio, 1 / ratio):.1f} times as far to the {side} as to the other side",
            "if the car stands in the middle of the road: choose the camera in front of the car (key 3), and look in the "
            "picture where the "
            "beams end: nothing else may be dark there",
            code="lidar-lopsided",
        )
    return ok(AREA, "LIDAR", text)
