"""Progress along a recorded line: what a step earned, and whether the episode is over.

The idea is TMRL's (``tmrl.custom.tm.utils.compute_reward``, v0.7.1): a car's place is the point of the line nearest to it, searched
near its last place, and 100 points of new ground (10 m) pay 1.0.  Where TMRL can be cheated, this cannot:

* only ground beyond the furthest point ever reached pays, so that going back and forth earns nothing;
* a jump further ahead than ``check_forward`` points pays nothing, however straight the line;
* straying ``max_stray`` metres from the line ends the episode, as TMRL documents;
* a lap without advance ends after ``failure_countdown`` more steps, where "advance" means new ground.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tmrld.envs.options import RewardOptions
from tmrld.envs.trackmania.tracks import MIN_POINTS, SPACING_M
from tmrld.errors import WorldError

POINTS_PER_REWARD = 100
"""1.0 = 100 points = 10 m, TMRL's scale."""

REWARD_TERMS = ("progress", "finish", "penalty")


@dataclass(slots=True)
class Outcome:
    """What one step earned.  The reward is the sum of the three terms; ``advance`` counts points of new ground."""

    progress: float
    finish: float
    penalty: float
    terminated: bool
    advance: int

    @property
    def reward(self) -> float:
        """The step's reward."""
        return self.progress + self.finish + self.penalty

    def terms(self) -> dict[str, float]:
        """The reward's parts by name, in the order of `REWARD_TERMS`."""
        return {"progress": self.progress, "finish": self.finish, "penalty": self.penalty}


class Progress:
    """The place of one car on one line, from reset to reset."""

    def __init__(self, line: ArrayLike, options: RewardOptions) -> None:
        """``line``: (n, 3) points, 0.1 m apart.  Raises WorldError when it has fewer than 3."""
        points = np.ascontiguousarray(line, np.float64)
        if points.ndim != 2 or points.shape[1:] != (3,) or len(points) < MIN_POINTS:
            raise WorldError(
                f"a reward line needs at least {MIN_POINTS} points of three numbers, {SPACING_M} m apart, not shape {points.shape}"
            )
        # |p - c|² - |c|² = |p|² - 2 p·c: (c, 1) times these columns; from the first point, so that large coordinates lose no digits.
        self._origin = tuple(points[0].tolist())
        points = points - points[0]
        self._columns = np.vstack((-2.0 * points.T, np.einsum("ij,ij->i", points, points)))
        self._last = len(points) - 1
        self._options = options
        self.reset()

    def reset(self) -> None:
        """Back to the start of the line."""
        self._place = 0
        self._furthest = 0
        self._steps = 0
        self._stuck = 0

    @property
    def share(self) -> float:
        """The furthest place reached as a share of the line, 0 to 1."""
        return self._furthest / self._last

    @property
    def place(self) -> float:
        """Where the car is now, as a share of the line, 0 to 1."""
        return self._place / self._last

    @property
    def metres(self) -> float:
        """How far along the line the furthest place reached lies."""
        return self._furthest * SPACING_M

    def step(self, x: float, y: float, z: float, finished: bool = False) -> Outcome:
        """The car is now at (x, y, z) metres; ``finished`` says that it crossed the finish line.

        The time this takes is that of searching one window, whatever the length of the line.
        """
        options = self._options
        self._steps += 1
        distance = self._follow(x, y, z)
        advance = max(0, self._place - self._furthest)
        self._furthest += advance
        if advance:
            self._stuck = 0
        elif self._steps > options.min_steps:
            self._stuck += 1
        return Outcome(
            progress=advance / POINTS_PER_REWARD,
            finish=options.end_of_track if finished else 0.0,
            penalty=options.constant_penalty,
            terminated=finished or self._stuck > options.failure_countdown or distance > options.max_stray,
            advance=advance,
        )

    def _follow(self, x: float, y: float, z: float) -> float:
        """Move the place to the nearest point of the window around it; returns the distance from the line in metres."""
        first = max(0, self._place - self._options.check_backward)
        end = min(self._last + 1, self._place + self._options.check_forward + 2)  # one more, to see whether it comes nearer yet
        origin = self._origin
        car_x, car_y, car_z = x - origin[0], y - origin[1], z - origin[2]
        car = np.array((car_x, car_y, car_z, 1.0))
        own_square = car_x * car_x + car_y * car_y + car_z * car_z
        squares = car.dot(self._columns[:, first:end])
        nearest = int(squares.argmin())
        distance = math.sqrt(max(0.0, squares.item(nearest) + own_square))
        if distance > self._options.max_stray:
            return math.sqrt(max(0.0, float(car.dot(self._columns).min()) + own_square))
        if nearest == len(squares) - 1 and end <= self._last:
            # The line still comes nearer where the window ends: that is further ahead than a cut may be.  Look before that stretch.
            away = np.flatnonzero(squares[1:] >= squares[:-1])
            if not len(away):
                return distance
            nearest = int(squares[: away[-1] + 1].argmin())
        self._place = first + nearest
        return distance
