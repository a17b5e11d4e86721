"""What follows from an episode besides its entry in the list: points of curves, and what is known of the weights that drove it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from tmrld.errors import TmrldError
from tmrld.events import Feed
from tmrld.relay.episode_curves import EpisodeCurves, Made
from tmrld.storage.episodes import Episode
from tmrld.storage.metrics import Metric
from tmrld.storage.runs import RunStore
from tmrld.storage.weights import WeightsInfo

log = logging.getLogger(__name__)


class Driven:
    """One run's episodes as they come in.  ``transitions`` tells how many training transitions there are by now."""

    def __init__(self, run: str, store: RunStore, feed: Feed, transitions: Callable[[], int]) -> None:
        self._run = run
        self._store = store
        self._feed = feed
        self._transitions = transitions
        self._curves = EpisodeCurves(Made(store.get(run).lineage, 0, 0))
        for info in reversed(store.weights.all(run)):
            self.publish(info.version, info.lineage, info.update)

    def publish(self, version: int, lineage: int, update: int) -> None:
        """A version of the weights is sent to the workers."""
        self._curves.publish(version, Made(lineage, update, self._transitions()))

    async def enter(self, episodes: Sequence[Episode]) -> None:
        """Store and tell what these new episodes say.  What cannot be stored is missing in the curves, nowhere else."""
        points = self._curves.add(episodes)
        now = time.time()
        metrics = [Metric(made.lineage, made.update, made.transitions, now, values) for made, values in points]
        evaluated = {episode.summary.weights_version for episode in episodes if episode.purpose == "evaluation"}
        try:
            if metrics:
                await asyncio.to_thread(self._store.metrics.add, self._run, metrics)
            infos = await asyncio.to_thread(self._infos, evaluated) if evaluated else []
        except TmrldError as error:
            log.error("run %s: the curves lack %d episodes: %s", self._run, len(episodes), error)
            return
        for made, values in points:
            self._feed.publish("metrics", metrics_event(made.update, made.transitions, made.lineage, values), self._run)
        for info in infos:
            self._feed.publish("weights", weights_event(info), self._run)

    def _infos(self, versions: set[int]) -> list[WeightsInfo]:
        return [info for info in self._store.weights.all(self._run) if info.version in versions]


def metrics_event(update: int, transitions: int, lineage: int, values: dict[str, float]) -> dict[str, Any]:
    """What listeners are told of a point."""
    return {"update": update, "transitions": transitions, "lineage": lineage, "values": values}


def weights_event(info: WeightsInfo) -> dict[str, Any]:
    """What listeners are told of a version that was evaluated."""
    found = info.evaluation
    evaluation = found and {
        "episodes": found.episodes,
        "finished": found.finishes,
        "mean_return": found.mean_return,
        "median_lap_s": found.median_lap_s,
    }
    return {"version": info.version, "update": info.update, "evaluation": evaluation}
