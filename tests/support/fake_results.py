"""Canned results of the run "demo", for tests of the control API: what was asked for is in ``asked``."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from tmrld.errors import NotFound
from tmrld.results import (
    CheckpointView,
    DrivenView,
    EpisodesView,
    EpisodeView,
    EvaluationView,
    Results,
    SeriesView,
    TrackView,
    TrajectoryView,
    WeightsFile,
    WeightsView,
)

DATA = bytes(range(256)) * 4
SHA256 = hashlib.sha256(DATA).hexdigest()

WEIGHTS = WeightsView(2, 20, 0, len(DATA), SHA256, 1001.0, False, EvaluationView(1, 0, math.nan, None))
CHECKPOINT = CheckpointView(20, 0, 2**20, SHA256, 1001.0, best=True, pinned=False, damaged=False)
EPISODE = EpisodeView("e1", "gamer", "oval", "train", "policy", 200, math.inf, False, None, 0.5, 2, 1002.0)
LINE = TrajectoryView([0.0, 1.0], [0.0, 2.0], [0.0, math.nan], [0.0, 0.05])


class FakeResults(Results):
    """One of everything.  ``find`` is called with the name of the run and raises what is wrong with it."""

    def __init__(self, find: Callable[[str], None]) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._find = find

    async def metric_names(self, run: str) -> list[str]:
        self._find(run)
        return ["critic/loss", "updates_per_s"]

    async def metrics(
        self, run: str, names: Sequence[str], start: int | None, stop: int | None, max_points: int
    ) -> list[SeriesView]:
        self._find(run)
        self.asked.append((run, list(names), start, stop, max_points))
        values = [0.5, math.nan, -math.inf]
        return [SeriesView(name, [1, 2, 3], [10, 20, 30], [1000.0, 1001.0, 1002.0], values) for name in names]

    async def latest_metrics(self, run: str) -> dict[str, float]:
        self._find(run)
        return {"loss": 0.5, "alpha": math.nan}

    async def episodes(self, run: str, limit: int, purpose: str | None, before: str | None) -> EpisodesView:
        self._find(run)
        self.asked.append((run, limit, purpose, before))
        return EpisodesView([EPISODE], "7")

    async def episode(self, run: str, episode: str) -> DrivenView:
        self._find(run)
        if episode not in ("e1", "latest"):
            raise NotFound(f"the run {run} has no episode {episode!r}")
        return DrivenView(**vars(EPISODE), trajectory=LINE)

    async def track(self, run: str) -> TrackView:
        self._find(run)
        return TrackView("oval", [0.0, 1.0], [0.0, 2.0], 16.0)

    async def weights(self, run: str) -> list[WeightsView]:
        self._find(run)
        return [WEIGHTS]

    async def pin_weights(self, run: str, version: int, pinned: bool) -> WeightsView:
        self._find(run)
        self.asked.append((run, version, pinned))
        if version != WEIGHTS.version:
            raise NotFound(f"the run {run} has no weights of version {version}")
        return WEIGHTS

    async def weights_file(self, run: str, version: str) -> WeightsFile:
        self._find(run)
        if version not in ("latest", "2"):
            raise NotFound(f"the run {run} has no {version} weights")
        return WeightsFile(run, 2, SHA256, DATA)

    async def checkpoints(self, run: str) -> list[CheckpointView]:
        self._find(run)
        return [CHECKPOINT]

    async def pin_checkpoint(self, run: str, update: int, pinned: bool) -> CheckpointView:
        self._find(run)
        self.asked.append((run, update, pinned))
        if update != CHECKPOINT.update:
            raise NotFound(f"the run {run} has no checkpoint at update {update}")
        return CHECKPOINT
