"""What a run has brought, as people and scripts see it: curves, episodes, the track, weights and checkpoints.

Everything is read from the store, in threads.  Every method raises `NotFound` for a run that does not exist.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tmrld.errors import BadInput, NotFound
from tmrld.storage.checkpoints import CheckpointInfo
from tmrld.storage.episodes import Episode
from tmrld.storage.metrics import MAX_UPDATE
from tmrld.storage.runs import RunStore
from tmrld.storage.weights import WeightsInfo


@dataclass(frozen=True)
class SeriesView:
    """A metric's points in the order of updates; ``times`` are the relay's, in seconds since 1970."""

    name: str
    updates: list[int]
    transitions: list[int]
    times: list[float]
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
class CheckpointView:
    """A stored state of the training.  ``created`` is the relay's clock at receipt, in seconds since 1970."""

    update: int
    lineage: int
    size_bytes: int
    sha256: str
    created: float
    best: bool
    pinned: bool
    damaged: bool


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
class TrajectoryView:
    """A driven line: metres, metres per second, seconds since the start; lists of one length."""

    x: list[float]
    z: list[float]
    speed: list[float]
    time: list[float]


@dataclass(frozen=True)
class DrivenView(EpisodeView):
    """An episode with its line."""

    trajectory: TrajectoryView


@dataclass(frozen=True)
class EpisodesView:
    """Episodes, the newest first; ``next`` is the cursor of those before, None at the end."""

    items: list[EpisodeView]
    next: str | None


@dataclass(frozen=True)
class TrackView:
    """The line of a track from start to finish, in metres; ``width_m`` is None where it is unknown."""

    name: str
    x: list[float]
    z: list[float]
    width_m: float | None


@dataclass(frozen=True)
class WeightsFile:
    """A version of the policy as a file."""

    run: str
    version: int
    sha256: str
    data: bytes


class Results:
    """The results of all runs of a store."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    # Curves

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
            SeriesView(
                curve.name,
                curve.updates.tolist(),
                curve.transitions.tolist(),
                curve.received_at.tolist(),
                curve.values.tolist(),
            )
            for curve in curves.values()
        ]

    async def latest_metrics(self, run: str) -> dict[str, float]:
        """The newest value of each curve."""
        return await asyncio.to_thread(self._store.metrics.latest, run)

    # Driving

    async def episodes(self, run: str, limit: int, purpose: str | None, before: str | None) -> EpisodesView:
        """At most ``limit`` episodes, from the newest one, or from where a page before said ``next``.

        ``purpose`` is "train", "evaluation" or None for both.  Raises BadInput for a cursor that no page said.
        """
        if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
            raise BadInput(f"{before!r} is no place to go on from: give what the page before has as next")
        number = None if before is None else int(before)
        page = await asyncio.to_thread(lambda: self._store.episodes.page(run, limit + 1, number, purpose=purpose))
        more = len(page) > limit
        return EpisodesView([_episode_view(episode) for episode in page[:limit]], str(page[limit - 1].number) if more else None)

    async def episode(self, run: str, episode: str) -> DrivenView:
        """An episode with its line; ``episode`` is an id, "latest", or "best" for the policy's fastest lap.  Raises NotFound."""
        return await asyncio.to_thread(self._driven, run, episode)

    def _driven(self, run: str, name: str) -> DrivenView:
        episodes = self._store.episodes
        if name == "best":
            found = episodes.best(run)
        elif name == "latest":
            found = next(iter(episodes.page(run, 1)), None)
        else:
            found = episodes.get(run, name)
        if found is None:
            raise NotFound(f"the run {run} has no {name} episode: {'no lap' if name == 'best' else 'nothing'} was driven yet")
        x, z, speed, time = episodes.trajectory(run, found.episode).T.tolist()
        return DrivenView(**vars(_episode_view(found)), trajectory=TrajectoryView(x, z, speed, time))

    async def track(self, run: str) -> TrackView:
        """The line of the track that the run is driven on.  Raises NotFound while no worker has told it."""
        track = await asyncio.to_thread(self._store.tracks.get, run)
        x, z = track.points.T.tolist()
        return TrackView(track.name, x, z, track.width_m)

    # Weights

    async def weights(self, run: str) -> list[WeightsView]:
        """The stored versions, newest first."""
        return [_weights_view(info) for info in await asyncio.to_thread(self._store.weights.all, run)]

    async def pin_weights(self, run: str, version: int, pinned: bool) -> WeightsView:
        """Keep a version for good, or no longer.  Raises NotFound."""
        await asyncio.to_thread(self._store.weights.pin, run, version, pinned)
        return _weights_view(await asyncio.to_thread(self._store.weights.info, run, version))

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

    # Checkpoints

    async def checkpoints(self, run: str) -> list[CheckpointView]:
        """The checkpoints that are kept, the last stored first."""
        return [checkpoint_view(info) for info in await asyncio.to_thread(self._store.checkpoints.all, run)]

    async def pin_checkpoint(self, run: str, update: int, pinned: bool) -> CheckpointView:
        """Keep the checkpoint at an update for good, or no longer.  Raises NotFound."""

        def work() -> CheckpointInfo:
            self._store.checkpoints.pin(run, update, pinned)
            return next(info for info in self._store.checkpoints.all(run) if info.update == update)

        return checkpoint_view(await asyncio.to_thread(work))


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


def checkpoint_view(info: CheckpointInfo) -> CheckpointView:
    """As it is shown."""
    return CheckpointView(
        update=info.update,
        lineage=info.lineage,
        size_bytes=info.size,
        sha256=info.sha256,
        created=info.received_at,
        best=info.best,
        pinned=info.pinned,
        damaged=info.damaged,
    )
