"""What was driven: a summary of every finished episode, and what evaluation episodes say of a version of the weights."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from tmrld.errors import BadInput, NotFound
from tmrld.payloads import Array, EpisodeSummary
from tmrld.storage.database import Database
from tmrld.storage.relay_schema import run_id

_TRAJECTORY_COLUMNS = 4


@dataclass(frozen=True)
class Episode:
    """A finished episode, as it arrived.

    ``number`` counts the episodes of the relay in the order in which they were stored (0 until then).  Where episodes come out of
    the store, the trajectory in their summary is empty: ask `Episodes.trajectory` for it.
    """

    episode: str
    worker: str
    purpose: str
    track: str
    seed: int | None
    received_at: float
    summary: EpisodeSummary
    number: int = 0


@dataclass(frozen=True)
class EpisodeTotals:
    """All episodes of a run and purpose together; ``best_lap_s`` is None before the first lap."""

    episodes: int
    finishes: int
    best_lap_s: float | None


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation episodes of one version say; ``median_lap_s`` is None where none was finished with a time."""

    episodes: int
    finishes: int
    mean_return: float
    median_lap_s: float | None

    @property
    def rank(self) -> tuple[float, float, float]:
        """Greater is better: the share of finishes, then the median lap, then the mean return."""
        lap = math.inf if self.median_lap_s is None else self.median_lap_s
        mean = -math.inf if math.isnan(self.mean_return) else self.mean_return
        return self.finishes / self.episodes, -lap, mean


@dataclass(frozen=True)
class Choice:
    """Some of a run's training episodes: all, or (one of them not None) so many of the first, the last, or those of the best laps."""

    first: int | None = None
    last: int | None = None
    best_laps: int | None = None
    finished_only: bool = False


class Episodes:
    """The episodes of all runs.  Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: str, episodes: Sequence[Episode]) -> int:
        """Store episodes, all or none; one that the run has already is left out.  Tells how many were new.

        Raises BadInput when a trajectory does not have the shape (n, 4).
        """
        rows = [_row(episode) for episode in episodes]
        with self._database.transaction() as change:
            key = run_id(change, run)
            before = change.total_changes
            change.executemany(_INSERT, [(key, *row) for row in rows])
            return change.total_changes - before

    def page(
        self, run: str, limit: int = 50, before: int | None = None, *, purpose: str | None = None, worker: str | None = None
    ) -> list[Episode]:
        """The newest episodes first, at most ``limit``; go on with the ``number`` of the last one as ``before``."""
        with self._database.reading() as view:
            wanted = {"run": run_id(view, run), "before": before, "purpose": purpose, "worker": worker, "limit": limit}
            rows = view.execute(_PAGE, wanted)
            return [_episode(row) for row in rows]

    def get(self, run: str, episode: str) -> Episode:
        """An episode by its id.  Raises NotFound."""
        with self._database.reading() as view:
            row = view.execute(f"{_SELECT} WHERE run = ? AND episode = ?", (run_id(view, run), episode)).fetchone()
        if row is None:
            raise NotFound(f"The run {run!r} has no episode {episode!r}.")
        return _episode(row)

    def best(self, run: str) -> Episode | None:
        """The policy's fastest lap, whatever it was driven for; the earliest of equals; None before the first."""
        query = f"{_SELECT} WHERE run = ? AND lap_time_s IS NOT NULL AND actor = 'policy' ORDER BY lap_time_s, id LIMIT 1"
        with self._database.reading() as view:
            row = view.execute(query, (run_id(view, run),)).fetchone()
        return None if row is None else _episode(row)

    def trajectory(self, run: str, episode: str) -> Array:
        """The driven line of an episode, float32 (n, 4) as in `payloads.EpisodeSummary`.  Raises NotFound."""
        with self._database.reading() as view:
            row = view.execute(
                "SELECT trajectory FROM episodes WHERE run = ? AND episode = ?", (run_id(view, run), episode)
            ).fetchone()
        if row is None:
            raise NotFound(f"The run {run!r} has no episode {episode!r}.")
        return np.frombuffer(row[0], "<f4").reshape(-1, _TRAJECTORY_COLUMNS).astype(np.float32)

    def chosen(self, run: str, choice: Choice) -> list[str]:
        """The ids of these training episodes, in the order in which they ended, or of their laps, the fastest first."""
        order, limit = "id", -1  # to SQLite no limit
        if choice.first is not None:
            limit = choice.first
        elif choice.last is not None:
            order, limit = "id DESC", choice.last
        elif choice.best_laps is not None:
            order, limit = "lap_time_s, id", choice.best_laps
        query = f"""
            SELECT episode FROM episodes WHERE run = ? AND purpose = 'train' AND finished >= ? AND (lap_time_s IS NOT NULL) >= ?
            ORDER BY {order} LIMIT ?
        """  # noqa: S608 - the order is one of three that stand here
        with self._database.reading() as view:
            wanted = run_id(view, run), int(choice.finished_only), int(choice.best_laps is not None), limit
            found = [episode for (episode,) in view.execute(query, wanted)]
        return found[::-1] if choice.last is not None else found

    def returns(self, run: str, limit: int) -> list[float]:
        """The returns of the newest training episodes, at most ``limit``, oldest first."""
        query = """
            SELECT episode_return FROM episodes WHERE run = ? AND purpose = 'train' ORDER BY id DESC LIMIT ?
        """
        with self._database.reading() as view:
            newest = view.execute(query, (run_id(view, run), limit)).fetchall()
        return [_or_nan(value) for (value,) in reversed(newest)]

    def totals(self, run: str, purpose: str = "train") -> EpisodeTotals:
        """How many episodes there are, how many were finished, and the best lap."""
        query = "SELECT count(*), coalesce(sum(finished), 0), min(lap_time_s) FROM episodes WHERE run = ? AND purpose = ?"
        with self._database.reading() as view:
            return EpisodeTotals(*view.execute(query, (run_id(view, run), purpose)).fetchone())


def evaluations(view: sqlite3.Connection, run_key: int) -> dict[int, Evaluation]:
    """What evaluation says of each version of a run's weights that was evaluated at all."""
    query = """
        SELECT weights_version, finished, lap_time_s, episode_return FROM episodes
        WHERE run = ? AND purpose = 'evaluation' ORDER BY weights_version
    """
    driven: dict[int, list[tuple[int, float | None, float | None]]] = {}
    for version, *result in view.execute(query, (run_key,)):
        driven.setdefault(version, []).append((result[0], result[1], result[2]))
    return {version: _evaluation(results) for version, results in driven.items()}


def _evaluation(results: list[tuple[int, float | None, float | None]]) -> Evaluation:
    laps = [lap for _, lap, _ in results if lap is not None]
    return Evaluation(
        episodes=len(results),
        finishes=sum(finished for finished, _, _ in results),
        mean_return=sum(_or_nan(value) for _, _, value in results) / len(results),  # fmean raises where this is infinite
        median_lap_s=median(laps) if laps else None,
    )


_INSERT = """
INSERT OR IGNORE INTO episodes (
    run, episode, worker, purpose, track, seed, received_at,
    steps, episode_return, finished, lap_time_s, progress, actor, weights_version, trajectory
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT = """
SELECT id, episode, worker, purpose, track, seed, received_at,
    steps, episode_return, finished, lap_time_s, progress, actor, weights_version
FROM episodes
"""
_PAGE = f"""
{_SELECT} WHERE run = :run
    AND (:before IS NULL OR id < :before)
    AND (:purpose IS NULL OR purpose = :purpose)
    AND (:worker IS NULL OR worker = :worker)
ORDER BY id DESC LIMIT :limit
"""


def _row(episode: Episode) -> tuple[Any, ...]:
    summary = episode.summary
    trajectory = np.asarray(summary.trajectory)
    if trajectory.ndim != 2 or trajectory.shape[1] != _TRAJECTORY_COLUMNS:
        raise BadInput(f"The trajectory of episode {episode.episode!r} has the shape {trajectory.shape}; expected (n, 4).")
    return (
        episode.episode,
        episode.worker,
        episode.purpose,
        episode.track,
        None if episode.seed is None else str(episode.seed),  # seeds may have more bits than SQLite's integers
        episode.received_at,
        summary.steps,
        summary.episode_return,
        int(summary.finished),
        summary.lap_time_s,
        summary.progress,
        summary.actor,
        summary.weights_version,
        np.ascontiguousarray(trajectory, "<f4").tobytes(),
    )


def _episode(row: tuple[Any, ...]) -> Episode:
    number, episode, worker, purpose, track, seed, received_at, *rest = row
    steps, episode_return, finished, lap_time_s, progress, actor, weights_version = rest
    summary = EpisodeSummary(
        steps=steps,
        episode_return=_or_nan(episode_return),
        finished=bool(finished),
        lap_time_s=lap_time_s,
        progress=_or_nan(progress),
        actor=actor,
        weights_version=weights_version,
    )
    return Episode(episode, worker, purpose, track, None if seed is None else int(seed), received_at, summary, number)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
