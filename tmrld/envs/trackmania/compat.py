"""What `EnvironmentOptions.compat` decides: our rules, or those of TMRL 0.7.1 to the last bit, for policies that were trained there.

Where TMRL differs from `tmrld.envs.trackmania.reward` (source: ``tmrl.custom.tm.utils.compute_reward``, and its interfaces):

=================  ================================================================================================================
place              the search goes on as long as one of the next ``check_forward`` points is as near as the nearest, so that a cut
                   has no limit; it moves backward only in a step that finds no point ahead, and then likewise without a limit, but
                   never to the first point
straying           further than ``max_stray`` from all that was searched, the car counts as standing still; it ends nothing by itself
reward             (new place - old place) / 100, and nothing for the way back, which pays again when it is driven again; its sum
                   with the finish and the penalty is rounded to 32 bits
end                the finish, and more than ``failure_countdown`` steps in a row after ``min_steps`` that go no further than the step
                   before; a missed checkpoint ends nothing
speed              as the plugin tells it, whatever its unit is, and above 1000 too
progress           place / number of points: never quite 1
=================  ================================================================================================================

TMRL's line of two points, which it drives on where the file is missing, is not among them: that is an error here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmrld.envs.options import EnvironmentOptions, RewardOptions
from tmrld.envs.trackmania.reward import POINTS_PER_REWARD, GroundProgress, Outcome, Progress
from tmrld.envs.trackmania.spec import MAX_SPEED_KMH

KMH = 3.6
"""Of one metre per second."""


@dataclass(frozen=True)
class Rules:
    """How a step is judged, and how the car's speed is shown, from metres per second."""

    progress: Callable[[ArrayLike, RewardOptions], Progress]
    speed: Callable[[float], float]


def rules_of(options: EnvironmentOptions) -> Rules:
    """The rules that ``options`` ask for."""
    if options.compat == "tmrl":
        told = KMH if options.trackmania.speed_unit == "km/h" else 1.0
        return Rules(TmrlProgress, lambda speed: speed * told)
    return Rules(GroundProgress, lambda speed: min(speed * KMH, MAX_SPEED_KMH))


@dataclass(slots=True)
class TmrlOutcome(Outcome):
    """What one step earned at TMRL; ``advance`` counts the points that it paid for, new or not."""

    @property
    def reward(self) -> float:
        """The step's reward, a number of 32 bits."""
        return float(np.float32(self.progress + self.finish + self.penalty))


class TmrlProgress(Progress):
    """TMRL's rules."""

    def __init__(self, line: ArrayLike, options: RewardOptions) -> None:
        """``line``: (n, 3) points.  Raises WorldError when it has fewer than 3."""
        super().__init__(line, options)
        self._line = np.ascontiguousarray(line, np.float64)

    @property
    def place(self) -> float:
        """Where the car is now, as a share of the number of points."""
        return self._place / len(self._line)

    def missed(self, _gate_m: float) -> bool:
        """Never: TMRL knows no checkpoints."""
        return False

    def step(self, x: float, y: float, z: float, finished: bool = False) -> Outcome:
        """The car is now at (x, y, z) metres; ``finished`` says that it crossed the finish line.

        The time this takes grows with ``check_forward``, and with the length of a cut.
        """
        options = self._options
        self._steps += 1
        car = np.array((x, y, z))
        ahead, distance = _nearest(self._line[self._place :], car, options.check_forward)
        if distance > options.max_stray:
            ahead = 0
        if ahead:
            self._place += ahead
            self._stuck = 0
        else:
            behind, _ = _nearest(self._line[self._place : 0 : -1], car, options.check_backward)
            self._place -= behind
            if self._steps > options.min_steps:
                self._stuck += 1
        self._furthest = max(self._furthest, self._place)
        return TmrlOutcome(
            progress=ahead / POINTS_PER_REWARD,
            finish=options.end_of_track if finished else 0.0,
            penalty=options.constant_penalty,
            terminated=finished or (not ahead and self._stuck > options.failure_countdown),
            advance=ahead,
        )


def _nearest(points: NDArray[np.float64], car: NDArray[np.float64], patience: int) -> tuple[int, float]:
    """Which of the points is the nearest, the last one of equals, and how far away it is.

    Points are looked at in order, until ``patience`` of them, the nearest one included, bring none as near.
    """
    best, least, seen = 0, math.inf, 0
    while (end := min(best + max(patience, 1), len(points))) > seen:
        # As a product of vectors, which is how numpy.linalg.norm squares: with other sums the last bit would differ.
        apart = car - points[seen:end]
        distances = np.sqrt((apart[:, None, :] @ apart[:, :, None])[:, 0, 0])
        nearest = len(distances) - 1 - int(distances[::-1].argmin())
        if not distances.item(nearest) <= least:
            break
        best, least, seen = seen + nearest, distances.item(nearest), end
    return best, least
