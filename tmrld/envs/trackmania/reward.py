"""Progress along a recorded line: what a step earned, and whether the episode is over.

The idea is TMRL's (``tmrl.custom.tm.utils.compute_reward``, v0.7.1): a car's place is the point of the line nearest to it, searched
near its last place, and 100 points of new ground (10 m) pay 1.0.  Where TMRL can be cheated, this cannot:

* only ground beyond the furthest point ever reached pays, so that going back and forth earns nothing;
* no step pays more than ``check_forward`` points, and one that brings the car nearer to all of them, because it went further ahead
  still, pays nothing, however straight the line;
* straying ``max_stray`` metres from the whole line ends the episode, as TMRL documents;
* a lap without advance ends after ``failure_countdown`` more steps, where "advance" means new ground.

Distances are measured in space: where the line crosses over itself, the car's height tells which deck it is on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmrld.envs.options import RewardOptions
from tmrld.envs.trackmania.tracks import MIN_POINTS, SPACING_M
from tmrld.errors import WorldError

POINTS_PER_REWARD = 100
"""1.0 = 100 points = 10 m, TMRL's scale."""

REWARD_TERMS = ("progress", "finish", "penalty")

MISSED_M = 10.0
"""A checkpoint counts as missed when the car is so far past it; a lap without it is none, so the episode ends."""

BLOCK = 256
"""Points of the line that are told by one of them and a radius, where only the distance from the whole line is asked for."""


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


class Progress(ABC):
    """The place of one car on one line, from reset to reset: what does not depend on the rules by which a step is judged."""

    def __init__(self, line: ArrayLike, options: RewardOptions) -> None:
        """``line``: (n, 3) points, 0.1 m apart.  Raises WorldError when it has fewer than 3."""
        shape = np.shape(line)
        if len(shape) != 2 or shape[1] != 3 or shape[0] < MIN_POINTS:
            raise WorldError(
                f"a reward line needs at least {MIN_POINTS} points of three numbers, {SPACING_M} m apart, not shape {shape}"
            )
        self._last: int = shape[0] - 1
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
    def metres(self) -> float:
        """How far along the line the furthest place reached lies."""
        return self._furthest * SPACING_M

    @property
    @abstractmethod
    def place(self) -> float:
        """Where the car is now, as a share of the line."""

    @abstractmethod
    def missed(self, gate_m: float) -> bool:
        """Whether the car has left behind, without passing it, a checkpoint that lies ``gate_m`` metres along the line."""

    @abstractmethod
    def step(self, x: float, y: float, z: float, finished: bool = False) -> Outcome:
        """The car is now at (x, y, z) metres; ``finished`` says that it crossed the finish line."""


class GroundProgress(Progress):
    """Our rules: nothing but new ground pays."""

    def __init__(self, line: ArrayLike, options: RewardOptions) -> None:
        """``line``: (n, 3) points, 0.1 m apart.  Raises WorldError when it has fewer than 3."""
        super().__init__(line, options)
        points = np.ascontiguousarray(line, np.float64)
        # |p - c|² - |c|² = |p|² - 2 p·c: (c, 1) times these columns; from the first point, so that large coordinates lose no digits.
        self._origin = tuple(points[0].tolist())
        points = points - points[0]
        self._columns = np.vstack((-2.0 * points.T, np.einsum("ij,ij->i", points, points)))
        firsts = np.arange(0, len(points), BLOCK)
        middles = np.minimum(firsts + BLOCK // 2, self._last)
        self._middles = self._columns[:, middles]
        from_middle = points - points[np.repeat(middles, BLOCK)[: len(points)]]
        radii = np.sqrt(np.maximum.reduceat(np.einsum("ij,ij->i", from_middle, from_middle), firsts))
        self._reaches = (options.max_stray + radii) ** 2
        self._beside = 0

    @property
    def place(self) -> float:
        """Where the car is now, as a share of the line, 0 to 1."""
        return self._place / self._last

    def missed(self, gate_m: float) -> bool:
        """Whether the car has left behind, without passing it, a checkpoint that lies ``gate_m`` metres along the line."""
        return self.metres > gate_m + MISSED_M

    def step(self, x: float, y: float, z: float, finished: bool = False) -> Outcome:
        """The car is now at (x, y, z) metres; ``finished`` says that it crossed the finish line.

        The time this takes is that of searching one window, whatever the length of the line, as long as the car is within
        ``max_stray`` of its place.  Away from there it may ask for one more point, or one of every `BLOCK` of the line and those
        of the blocks near the car: that grows with the line.
        """
        options = self._options
        self._steps += 1
        strayed = self._follow(x, y, z)
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
            terminated=finished or self._stuck > options.failure_countdown or strayed,
            advance=advance,
        )

    def _follow(self, x: float, y: float, z: float) -> bool:
        """Move the place to the nearest point of the window around it, unless the car strayed from there.

        Returns whether it strayed from the whole line.
        """
        options = self._options
        first = max(0, self._place - options.check_backward)
        longest = self._place + options.check_forward
        origin = self._origin
        car_x, car_y, car_z = x - origin[0], y - origin[1], z - origin[2]
        car = np.array((car_x, car_y, car_z, 1.0))
        own_square = car_x * car_x + car_y * car_y + car_z * car_z
        squares = car.dot(self._columns[:, first : longest + 2])  # one more, to see whether it comes nearer yet
        nearest = int(squares.argmin())
        if squares.item(nearest) + own_square > options.max_stray**2:
            return self._strayed(car, own_square)
        if first + nearest > longest:
            # The line still comes nearer where the window ends: that is further ahead than a cut may be.  Look before that stretch.
            away = np.flatnonzero(squares[1:] >= squares[:-1])
            if not len(away):
                return False
            nearest = int(squares[: away[-1] + 1].argmin())
        self._place = first + nearest
        return False

    def _strayed(self, car: NDArray[np.float64], own_square: float) -> bool:
        """Whether the car is further than ``max_stray`` from every point of the line.

        The point that last told that it is not is asked first, so that the line is searched only now and then.
        """
        limit = self._options.max_stray**2 - own_square
        if car.dot(self._columns[:, self._beside]) <= limit:
            return False
        squares = car.dot(self._middles)
        nearest = int(squares.argmin())
        if squares.item(nearest) <= limit:
            self._beside = min(nearest * BLOCK + BLOCK // 2, self._last)
            return False
        for block in np.flatnonzero(squares + own_square <= self._reaches).tolist():
            squares = car.dot(self._columns[:, block * BLOCK : (block + 1) * BLOCK])
            nearest = int(squares.argmin())
            if squares.item(nearest) <= limit:
                self._beside = block * BLOCK + nearest
                return False
        return True
