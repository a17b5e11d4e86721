"""Curves made of episodes: how the policy did, over the updates behind it.  Pure.

Every version of the weights gives one point of each curve, at the update that made it: the mean over the episodes that it drove so
far (of lap times the median, over those that were finished).  Each further episode moves the point.  What the policy drove with
random actions, before the first weights, counts at update 0; what people drove does not count.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from statistics import median

from tmrld.payloads import EpisodeSummary
from tmrld.storage.episodes import Episode

NAMES = {"train": "training", "evaluation": "evaluation"}
"""What the curves of a purpose begin with."""
KEPT_VERSIONS = 1000
"""Whose episodes are remembered: a worker may be that much late."""
KEPT_LAPS = 1000
"""Of one version: the median is that of the newest."""


@dataclass(frozen=True)
class Made:
    """Where a version of the weights comes from, and how many transitions there were by then."""

    lineage: int
    update: int
    transitions: int


class EpisodeCurves:
    """The points of one run's versions; knows what was driven since it was made."""

    def __init__(self, first: Made) -> None:
        self._made: OrderedDict[int, Made] = OrderedDict({-1: first})
        self._driven: dict[tuple[str, int], _Driven] = {}

    def publish(self, version: int, made: Made) -> None:
        """A version of the weights is there."""
        self._made[version] = made
        while len(self._made) > KEPT_VERSIONS:
            gone, _ = self._made.popitem(last=False)
            for purpose in NAMES:
                self._driven.pop((purpose, gone), None)

    def add(self, episodes: Sequence[Episode]) -> list[tuple[Made, dict[str, float]]]:
        """The points that these episodes make or move."""
        touched: dict[tuple[str, int], None] = {}
        for episode in episodes:
            summary = episode.summary
            if summary.weights_version in self._made and summary.actor in ("policy", "random", "mixed"):
                key = (episode.purpose, summary.weights_version)
                self._driven.setdefault(key, _Driven()).add(summary)
                touched[key] = None
        return [(self._made[version], self._driven[purpose, version].values(NAMES[purpose])) for purpose, version in touched]


@dataclass
class _Driven:
    """What a version has driven for one purpose: sums alone, since nothing says how many episodes that will be."""

    known: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Of each value, by the end of its curve's name: of how many episodes it is known, and its sum over these."""
    laps: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LAPS))

    def add(self, summary: EpisodeSummary) -> None:
        told = {
            "return": summary.episode_return,
            "steps": float(summary.steps),
            "finished_share": float(summary.finished),
            "progress": summary.progress,
        }
        for name, value in told.items():
            if not isnan(value):
                count, total = self.known.get(name, (0, 0.0))
                self.known[name] = (count + 1, total + value)
        if summary.lap_time_s is not None:
            self.laps.append(summary.lap_time_s)

    def values(self, prefix: str) -> dict[str, float]:
        means = {f"{prefix}_{name}": total / count for name, (count, total) in self.known.items()}
        return means | ({f"{prefix}_lap_s": median(self.laps)} if self.laps else {})
