"""A track in figures, and as a sketch made of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.track import Track

CORNER = math.radians(15.0)
"""A bend that turns by less is none that one would count."""
STEP_M = 1.0
ASPECT = 2.0
"""A character is about twice as high as it is wide."""


@dataclass(frozen=True)
class Figures:
    """What a track measures: metres, and numbers of things."""

    name: str
    length_m: float
    corners: int
    tightest_radius_m: float | None
    """None where the road is straight throughout."""
    narrowest_m: float
    widest_m: float
    crossings: int


def figures(track: Track) -> Figures:
    """A track in figures.  A corner is what turns one way without a straight between."""
    turns = [
        sum(abs(segment.curvature) * segment.length for segment in bend)
        for side, bend in groupby(track.segments, lambda segment: np.sign(segment.curvature))
        if side
    ]
    sharpest = max((abs(segment.curvature) for segment in track.segments), default=0.0)
    widths = [track.width, *(width for _, width in track.widths)]
    return Figures(
        name=track.name,
        length_m=round(track.length, 1),
        corners=sum(turn >= CORNER for turn in turns),
        tightest_radius_m=round(1.0 / sharpest, 1) if sharpest else None,
        narrowest_m=float(min(widths)),
        widest_m=float(max(widths)),
        crossings=len(track.crossings),
    )


def sketch(track: Track, columns: int, rows: int) -> str:
    """The track from above, turned so that it starts upwards: S start, F finish, + where it crosses itself."""
    x, z, _ = track.centre(np.arange(0.0, track.length + STEP_M, STEP_M))
    crossings = [track.pose(crossing.below) for crossing in track.crossings]
    end = track.pose(track.length)
    marks = [*(("+", pose.x, pose.z) for pose in crossings), ("S", 0.0, 0.0), ("F", end.x, end.z)]
    return drawn(np.column_stack([x, z]), marks, columns, rows)


def drawn(places: NDArray[np.float64], marks: Sequence[tuple[str, float, float]], columns: int, rows: int) -> str:
    """Places (n, 2), x to the right and z upwards, as characters; ``marks`` are signs of their own at places among them."""
    x, z = places.T
    scale = min((columns - 1) / max(float(np.ptp(x)), 1e-9), (rows - 1) * ASPECT / max(float(np.ptp(z)), 1e-9))
    left, top = float(x.min()), float(z.max())
    characters = [[" "] * columns for _ in range(rows)]

    def draw(sign: str, x: float, z: float) -> None:
        characters[int((top - z) * scale / ASPECT)][int((x - left) * scale)] = sign

    for place in zip(x.tolist(), z.tolist(), strict=True):
        draw("#", *place)
    for mark in marks:
        draw(*mark)
    lines = ["".join(line).rstrip() for line in characters]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines)
