"""What one episode of the simulator is made of beyond its track: drawn by the episode's seed, each part by a stream of its own.

Each setting of `RandomisationOptions` draws from its own stream, so that switching one on leaves what the others draw as it was.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tmrld.envs.options import RandomisationOptions

STREAMS = ("start_offset_m", "start_heading_deg", "grip", "power", "latency_s", "brightness", "border_level", "camera_height")
"""Their places number the streams: append new ones at the end."""
LATE_STREAM, DROP_STREAM = 1000, 1001
"""The streams of what is drawn at each step."""
BLOCK = 256
"""So many steps are drawn for at once, which is faster."""
LATE_PARTS = 1024
"""A step is late by a whole number of such parts of a step, so that times stay sums without rounding where the step's length is."""


@dataclass(frozen=True)
class Conditions:
    """What holds for one episode.  The defaults are the simulator without any randomisation."""

    start_offset_m: float = 0.0
    start_heading: float = 0.0  # radians
    grip: float = 1.0
    power: float = 1.0
    latency_s: float = 0.0
    brightness: float = 1.0
    border: tuple[int, int, int] = (0, 0, 0)  # added to the border's red, green and blue
    camera_height: float = 1.0


def conditions(options: RandomisationOptions, seed: int) -> Conditions:
    """The conditions of the episode with that seed."""

    def stream(name: str) -> np.random.Generator:
        return np.random.default_rng([seed, STREAMS.index(name)])

    def either_way(name: str) -> float:
        size = float(getattr(options, name))
        return float(stream(name).uniform(-size, size)) if size else 0.0

    border = (
        stream("border_level").integers(0, options.border_level, 3, endpoint=True).tolist()
        if options.border_level
        else (0, 0, 0)
    )
    return Conditions(
        start_offset_m=either_way("start_offset_m"),
        start_heading=math.radians(either_way("start_heading_deg")),
        grip=1.0 + either_way("grip"),
        power=1.0 + either_way("power"),
        latency_s=float(stream("latency_s").uniform(0.0, options.latency_s)) if options.latency_s else 0.0,
        brightness=1.0 + either_way("brightness"),
        border=(border[0], border[1], border[2]),
        camera_height=1.0 + either_way("camera_height"),
    )


def late_steps(options: RandomisationOptions, seed: int) -> Iterator[float]:
    """By which share of a time step each control of an episode comes late: 0 (in time), or up to 1.  Without end.

    The first comes in time: the episode's clock starts with it.
    """
    yield 0.0
    if not options.late_step:
        yield from itertools.repeat(0.0)
    draw = np.random.default_rng([seed, LATE_STREAM])
    while True:
        chances, parts = draw.random(BLOCK).tolist(), draw.integers(1, LATE_PARTS, BLOCK, endpoint=True).tolist()
        yield from (
            part / LATE_PARTS if chance < options.late_step else 0.0 for chance, part in zip(chances, parts, strict=True)
        )


def dropped_frames(options: RandomisationOptions, seed: int) -> Iterator[bool]:
    """Whether the frame of each step of an episode does not arrive, so that the one before is seen again.  Without end."""
    if not options.frame_drop:
        yield from itertools.repeat(False)
    draw = np.random.default_rng([seed, DROP_STREAM])
    while True:
        yield from (chance < options.frame_drop for chance in draw.random(BLOCK).tolist())
