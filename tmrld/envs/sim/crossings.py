"""Where a line crosses itself: pure geometry, for roads that run over themselves on a bridge."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Centre = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]
"""From metres along the line to x, z and heading there."""
ROWS = 256
"""Samples that are compared with all others at once: bounds the memory."""
NEIGHBOURS = 4
"""Samples to either side that lie on the same piece of road, and are not looked at."""
SLACK_M = 4.0
"""Roads that overlap are taken for that much longer: they may bend, and a car has a length."""
LONGEST_M = 60.0
"""Of an overlap on either side of the crossing; only roads at a slant come near it."""


@dataclass(frozen=True)
class Crossing:
    """The line passes the same place at ``below`` and, later, at ``above`` metres; ``angle`` (radians, up to a right one) between."""

    below: float
    above: float
    angle: float

    def overlap(self, half: float, other: float) -> float:
        """How far a road of this half width overlaps, to either side, with one of the ``other`` half width; metres along it."""
        along = (other + half * math.cos(self.angle)) / max(math.sin(self.angle), 0.1)
        return min(along + SLACK_M, LONGEST_M)


def crossings(centre: Centre, s: NDArray[np.float64], x: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[Crossing, ...]:
    """All crossings of the line through the samples (x, z) at ``s``, refined with ``centre``, in the order of ``below``."""
    found = []
    for first, second in _close_pieces(x, z):
        below, above = _meeting(x, z, first, second)
        if 0.0 <= below < 1.0 and 0.0 <= above < 1.0:
            places = np.array([s[first] + below * (s[first + 1] - s[first]), s[second] + above * (s[second + 1] - s[second])])
            found.append(_refined(centre, places))
    return tuple(sorted(found, key=lambda crossing: crossing.below))


def _close_pieces(x: NDArray[np.float64], z: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of pieces between samples that are near enough to meet, as (earlier, later)."""
    middle_x, middle_z = (x[1:] + x[:-1]) / 2, (z[1:] + z[:-1]) / 2
    longest = float(np.hypot(np.diff(x), np.diff(z)).max())
    pairs = []
    for row in range(0, len(middle_x), ROWS):
        rest = slice(row + NEIGHBOURS, None)
        dx = middle_x[row : row + ROWS, None] - middle_x[rest]
        dz = middle_z[row : row + ROWS, None] - middle_z[rest]
        for i, j in np.argwhere(dx * dx + dz * dz <= longest * longest).tolist():
            if j >= i:  # counted from NEIGHBOURS further on
                pairs.append((row + i, row + NEIGHBOURS + j))
    return pairs


def _meeting(x: NDArray[np.float64], z: NDArray[np.float64], first: int, second: int) -> tuple[float, float]:
    """At which share of each piece the two meet, if they were prolonged; infinite for parallel ones."""
    ax, az = x[first + 1] - x[first], z[first + 1] - z[first]
    bx, bz = x[second + 1] - x[second], z[second + 1] - z[second]
    cx, cz = x[second] - x[first], z[second] - z[first]
    area = ax * bz - az * bx
    if abs(area) < 1e-12:
        return math.inf, math.inf
    return float((cx * bz - cz * bx) / area), float((cx * az - cz * ax) / area)


def _refined(centre: Centre, places: NDArray[np.float64]) -> Crossing:
    """The crossing near these two places: three of Newton's steps on the line itself leave less than a micrometre."""
    for _ in range(3):
        x, z, heading = centre(places)
        ax, az, bx, bz = math.sin(heading[0]), math.cos(heading[0]), math.sin(heading[1]), math.cos(heading[1])
        area = ax * bz - az * bx
        if abs(area) < 1e-6:
            break
        cx, cz = x[1] - x[0], z[1] - z[0]
        places = places + np.array([(cx * bz - cz * bx) / area, (cx * az - cz * ax) / area])
    angle = abs(math.remainder(float(heading[1] - heading[0]), math.pi))
    return Crossing(float(places[0]), float(places[1]), angle)
