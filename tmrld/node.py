"""A running relay daemon as people and scripts see it: what may be asked, and what may be commanded.

The control API calls one method of `Node` per operation, and so may tests and the terminal.  Questions are answered from the
store; commands go to the relay role.  Errors are `NotFound`, `Conflict` and `BadInput`, with sentences.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tmrld import __version__
from tmrld.errors import BadInput, NotFound
from tmrld.events import Feed
from tmrld.storage.episodes import Episode
from tmrld.storage.metrics import MAX_UPDATE
from tmrld.storage.runs import Run, RunStore
from tmrld.storage.weights import WeightsInfo

PACE_METRIC = "updates_per_s"
"""A curve that every trainer reports with every report."""
VERBS = ("start", "pause", "resume", "stop")
"""What a run can be told."""


class RelayRole(Protocol):
    """What this module asks of the relay role."""

    def connected(self) -> list[NodeView]:
        """The nodes that are linked now."""

    def transitions(self, run: str) -> int:
        """Training transitions that the run's log ever took."""

    async def move(self, name: str, verb: str) -> None:
        """Start, pause, resume or stop a run."""


@dataclass(frozen=True)
class NodeView:
    """A node that is connected.  ``run`` is what it works for ("" for nothing); ``values`` are numbers it reports of itself."""

    name: str
    role: str
    version: str
    remote: str
    run: str
    state: str
    detail: str
    latency_s: float | None
    machine: dict[str, Any]
    values: dict[str, Any]


@dataclass(frozen=True)
class RunView:
    """A run at a glance.  ``transitions`` counts what the sample log ever took; ``update`` is the newest one reported."""

    name: str
    state: str
    created: float
    revision: int
    config: dict[str, Any]
    lineage: int
    update: int
    transitions: int
    episodes: int
    best_lap_s: float | None
    weights_version: int


@dataclass(frozen=True)
class SeriesView:
    """A metric's points in the order of updates; ``names`` of all metrics come from `Node.metric_names`."""

    name: str
    updates: list[int]
    transitions: list[int]
    values: list[float]


@dataclass(frozen=True)
class EvaluationView:
    """How a version of the weights did in its evaluation episodes."""

    episodes: int
    finished: int
    mean_return: float
    median_lap_s: float | None


@dataclass(frozen=True)
class WeightsView:
    """A stored version of the policy.  ``created`` is the relay's clock at receipt, in seconds since 1970."""

    version: int
    update: int
    lineage: int
    size_bytes: int
    sha256: str
    created: float
    pinned: bool
    evaluation: EvaluationView | None


@dataclass(frozen=True)
class EpisodeView:
    """An episode that was driven to its end."""

    episode: str
    worker: str
    track: str
    purpose: str
    actor: str
    steps: int
    episode_return: float
    finished: bool
    lap_time_s: float | None
    progress: float | None
    weights_version: int
    received: float


@dataclass(frozen=True)
class WeightsFile:
    """A version of the policy as a file."""

    run: str
    version: int
    sha256: str
    data: bytes


class Node:
    """One relay daemon.  Methods that read the disk are coroutines and do so in threads."""

    def __init__(self, name: str, roles: Sequence[str], feed: Feed, store: RunStore, relay: RelayRole) -> None:
        self.name = name
        self.roles = tuple(roles)
        self.feed = feed
        self._store = store
        self._relay = relay
        self._began = time.monotonic()

    def health(self) -> dict[str, Any]:
        """That it is alive, for how long, and as what."""
        return {"status": "ok", "version": __version__, "uptime_s": time.monotonic() - self._began, "roles": list(self.roles)}

    def nodes(self) -> list[NodeView]:
        """The workers and trainers that are connected now."""
        return self._relay.connected()

    async def runs(self) -> list[RunView]:
        """All runs, oldest first."""
        return await asyncio.to_thread(lambda: [self._view(run) for run in self._store.all()])

    async def run(self, name: str) -> RunView:
        """One run.  Raises NotFound."""
        return await asyncio.to_thread(lambda: self._view(self._store.get(name)))

    async def move_run(self, name: str, verb: str) -> RunView:
        """Tell a run to start, pause, resume or stop.  Raises NotFound, and Conflict when its state forbids it."""
        if verb not in VERBS:
            raise BadInput(f"a run cannot be told to {verb!r}: the words are {', '.join(VERBS)}")
        await self._relay.move(name, verb)
        return await self.run(name)

    async def metric_names(self, run: str) -> list[str]:
        """The names of all curves of a run, sorted."""
        return await asyncio.to_thread(self._store.metrics.names, run)

    async def metrics(
        self, run: str, names: Sequence[str], start: int | None, stop: int | None, max_points: int
    ) -> list[SeriesView]:
        """Curves between two updates (None: without end), thinned to ``max_points`` each, extremes kept."""
        last = MAX_UPDATE if stop is None else stop
        curves = await asyncio.to_thread(self._store.metrics.read, run, names, start or 0, last, max_points)
        return [
            SeriesView(curve.name, curve.updates.tolist(), curve.transitions.tolist(), curve.values.tolist())
            for curve in curves.values()
        ]

    async def episodes(self, run: str, limit: int, purpose: str | None) -> list[EpisodeView]:
        """The newest episodes first; ``purpose`` is "train", "evaluation" or None for both."""
        page = await asyncio.to_thread(lambda: self._store.episodes.page(run, limit, purpose=purpose))
        return [_episode_view(episode) for episode in page]

    async def weights(self, run: str) -> list[WeightsView]:
        """The stored versions, newest first."""
        return [_weights_view(info) for info in await asyncio.to_thread(self._store.weights.all, run)]

    async def weights_file(self, run: str, version: str) -> WeightsFile:
        """A version as a file; ``version`` is a number, "latest" or "best".  Raises NotFound, BadInput, Damaged."""
        return await asyncio.to_thread(self._weights_file, run, version)

    def _weights_file(self, run: str, version: str) -> WeightsFile:
        weights = self._store.weights
        if version == "latest":
            info = weights.newest(run)
        elif version == "best":
            info = weights.best(run)
        elif version.isdecimal() and len(version) < 19:
            info = weights.info(run, int(version))
        else:
            raise BadInput(f"{version!r} is no version of weights: expected a number, latest or best")
        if info is None:
            when = "no version was evaluated yet" if version == "best" else "nothing was learned yet"
            raise NotFound(f"the run {run} has no {version} weights: {when}")
        return WeightsFile(run, info.version, info.sha256, weights.load(run, info.version))

    def _view(self, run: Run) -> RunView:
        store = self._store
        newest = store.weights.newest(run.name)
        totals = store.episodes.totals(run.name)
        update, transitions = self._reached(run.name)
        return RunView(
            name=run.name,
            state=run.state,
            created=run.created,
            revision=run.revision,
            config=store.revision(run.name).config,
            lineage=run.lineage,
            update=update,
            transitions=max(transitions, self._relay.transitions(run.name)),
            episodes=totals.episodes,
            best_lap_s=totals.best_lap_s,
            weights_version=newest.version if newest else 0,
        )

    def _reached(self, run: str) -> tuple[int, int]:
        """The newest update and transitions that the trainer reported."""
        curve = self._store.metrics.read(run, [PACE_METRIC], max_points=4)[PACE_METRIC]
        return (int(curve.updates[-1]), int(curve.transitions[-1])) if len(curve.updates) else (0, 0)


def _episode_view(episode: Episode) -> EpisodeView:
    summary = episode.summary
    return EpisodeView(
        episode=episode.episode,
        worker=episode.worker,
        track=episode.track,
        purpose=episode.purpose,
        actor=summary.actor,
        steps=summary.steps,
        episode_return=summary.episode_return,
        finished=summary.finished,
        lap_time_s=summary.lap_time_s,
        progress=None if math.isnan(summary.progress) else summary.progress,
        weights_version=summary.weights_version,
        received=episode.received_at,
    )


def _weights_view(info: WeightsInfo) -> WeightsView:
    found = info.evaluation
    return WeightsView(
        version=info.version,
        update=info.update,
        lineage=info.lineage,
        size_bytes=info.size,
        sha256=info.sha256,
        created=info.received_at,
        pinned=info.pinned,
        evaluation=EvaluationView(found.episodes, found.finishes, found.mean_return, found.median_lap_s) if found else None,
    )
