"""How well something drives, in numbers: of any episodes, and as the TMRL Roborace League counts.  Pure.

The league's rules are in the file `readme/competition.md` of github.com/trackmania-rl/tmrl.  What counts for the score:

* An entry drives 10 runs, and is ranked by their mean time; the standard deviation stands beside it.
* A crash is an episode that resets itself because the car has stopped moving forward.  It is none of the 10 runs, and adds 10 s to
  the time of the next run.
* After 3 crashes the entry is out.

Where these rules leave room, this is how they are read here:

* Any episode that does not reach the finish is a crash, one that ran out of steps included: it has no time that could be counted.
* Two crashes one after the other add 20 s to the run that follows.
* The third crash ends it, whatever was driven before.
* The deviation is that of the 10 times themselves (divided by 10, not by 9), penalties included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tmrld.errors import BadInput

LEAGUE_RUNS = 10
LEAGUE_PENALTY_S = 10.0
LEAGUE_CRASHES = 3
"""How many of them end it."""


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.  ``lap_time_s`` is None where no lap was timed; ``episode_return`` is NaN where it is unknown."""

    finished: bool
    lap_time_s: float | None
    episode_return: float = math.nan


@dataclass(frozen=True)
class Score:
    """What episodes say together.

    Lap times are those of the episodes that have one, in seconds; the deviation is that of just these (divided by their number).
    What there is nothing to be worked out from is None; a return that is unknown is left out of the mean.
    """

    episodes: int
    finished: int
    finish_share: float | None
    mean_lap_s: float | None
    std_lap_s: float | None
    median_lap_s: float | None
    best_lap_s: float | None
    mean_return: float | None

    @property
    def rank(self) -> tuple[float, float, float, int]:
        """Greater is better: the share of finishes, then the median lap, the mean return, and how many episodes say so."""
        lap = math.inf if self.median_lap_s is None else self.median_lap_s
        mean = -math.inf if self.mean_return is None else self.mean_return
        return self.finish_share or 0.0, -lap, mean, self.episodes


@dataclass(frozen=True)
class LeagueScore:
    """How an entry stands by the league's rules; ``times_s`` are those of the runs that count, penalties included.

    ``mean_s`` and ``std_s`` are None until all runs are driven, and for an entry that is out.
    """

    times_s: tuple[float, ...]
    crashes: int
    eliminated: bool
    mean_s: float | None
    std_s: float | None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be driven."""
        return self.eliminated or len(self.times_s) == LEAGUE_RUNS


def score(outcomes: Sequence[Outcome]) -> Score:
    """What these episodes say together."""
    laps = [outcome.lap_time_s for outcome in outcomes if outcome.lap_time_s is not None]
    returns = [outcome.episode_return for outcome in outcomes if not math.isnan(outcome.episode_return)]
    finished = sum(outcome.finished for outcome in outcomes)
    mean_lap, deviation = _mean(laps), _deviation(laps)
    return Score(
        episodes=len(outcomes),
        finished=finished,
        finish_share=finished / len(outcomes) if outcomes else None,
        mean_lap_s=mean_lap,
        std_lap_s=deviation,
        median_lap_s=median(laps) if laps else None,
        best_lap_s=min(laps, default=None),
        mean_return=_mean(returns),
    )


def league(outcomes: Sequence[Outcome]) -> LeagueScore:
    """How an entry stands after these episodes, in the order in which they were driven; what came after the end does not count.

    Raises BadInput for a finish without a lap time.
    """
    times: list[float] = []
    crashes = penalties = 0
    for outcome in outcomes:
        if crashes == LEAGUE_CRASHES or len(times) == LEAGUE_RUNS:
            break
        if not outcome.finished:
            crashes, penalties = crashes + 1, penalties + 1
            continue
        if outcome.lap_time_s is None:
            raise BadInput(
                "an episode was finished without a lap time: the league counts times, and this environment tells none"
            )
        times.append(outcome.lap_time_s + LEAGUE_PENALTY_S * penalties)
        penalties = 0
    eliminated = crashes == LEAGUE_CRASHES
    done = len(times) == LEAGUE_RUNS and not eliminated
    return LeagueScore(
        times_s=tuple(times),
        crashes=crashes,
        eliminated=eliminated,
        mean_s=_mean(times) if done else None,
        std_s=_deviation(times) if done else None,
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _deviation(values: Sequence[float]) -> float | None:
    """From the mean, the sum divided by how many there are."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
