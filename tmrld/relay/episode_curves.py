"""Curves made of episodes: how the policy did, over the updates behind it.  Pure.

Every version of the weights gives one point of each curve, at the update that made it: the mean over the episodes that it drove so
far (of lap times the median, over those that were finished).  Each further episode moves the point.  What the policy drove with
random actions, before the first weights, counts at update 0; what people drove does not count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean, median

from tmrld.payloads import EpisodeSummary
from tmrld.storage.episodes import Episode

NAMES = {"train": "training", "evaluation": "evaluation"}
"""What the curves of a purpose begin with."""
KEPT_VERSIONS = 1000
"""Whose episodes are remembered: a worker may be that much late."""


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
        self._driven: dict[tuple[str, int], list[EpisodeSummary]] = {}

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
                self._driven.setdefault(key, []).append(summary)
                touched[key] = None
        return [(self._made[version], _values(NAMES[purpose], self._driven[purpose, version])) for purpose, version in touched]


def _values(prefix: str, driven: Sequence[EpisodeSummary]) -> dict[str, float]:
    values = {
        f"{prefix}_return": fmean(summary.episode_return for summary in driven),
        f"{prefix}_steps": fmean(summary.steps for summary in driven),
        f"{prefix}_finished_share": fmean(summary.finished for summary in driven),
    }
    laps = [summary.lap_time_s for summary in driven if summary.lap_time_s is not None]
    if laps:
        values[f"{prefix}_lap_s"] = median(laps)
    progress = [summary.progress for summary in driven if not isnan(summary.progress)]
    if progress:
        values[f"{prefix}_progress"] = fmean(progress)
    return values
