"""Evaluations that people have published, with every episode, and those that the runs themselves have driven."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tmrld.errors import NotFound
from tmrld.storage.database import Database

MAX_EPISODES = 1000
"""Of one evaluation."""


@dataclass(frozen=True)
class EvaluatedEpisode:
    """An episode of an evaluation; ``episode_return`` is NaN where it is unknown."""

    finished: bool
    lap_time_s: float | None
    episode_return: float
    steps: int
    seed: int | None = None


@dataclass(frozen=True)
class PublishedEvaluation:
    """Episodes that ``name`` has driven, as somebody (``author``) has published them.

    ``run`` and ``version`` say which weights these are, where they came from a run; it need not be one of this relay.  ``game`` is
    "sim", "trackmania", or "" for an environment that is not ours.  ``number`` counts the evaluations of the relay (0 until it is
    stored).
    """

    author: str
    received_at: float
    name: str
    run: str | None
    version: int | None
    track: str
    environment: str
    game: str
    protocol: str
    perturbed: bool
    note: str
    episodes: tuple[EvaluatedEpisode, ...]
    number: int = 0


@dataclass(frozen=True)
class RunEvaluation:
    """The evaluation episodes of one version of a run's weights on one track; ``received_at`` is when the newest one came."""

    run: str
    version: int
    track: str
    received_at: float
    episodes: tuple[EvaluatedEpisode, ...]


class Evaluations:
    """All evaluations of a relay.  Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, evaluation: PublishedEvaluation) -> PublishedEvaluation:
        """Store one; returns it with its number."""
        with self._database.transaction() as change:
            cursor = change.execute(_INSERT, _row(evaluation))
        return replace(evaluation, number=int(cursor.lastrowid or 0))

    def page(self, limit: int = 50, before: int | None = None, *, track: str | None = None) -> list[PublishedEvaluation]:
        """The newest first, at most ``limit``; go on with the ``number`` of the last one as ``before``."""
        with self._database.reading() as view:
            return [_evaluation(row) for row in view.execute(_PAGE, {"track": track, "before": before, "limit": limit})]

    def all(self, track: str | None = None) -> list[PublishedEvaluation]:
        """All of a track, or all there are; the oldest first."""
        return self.page(-1, track=track)[::-1]

    def delete(self, number: int) -> None:
        """Remove one.  Raises NotFound."""
        with self._database.transaction() as change:
            if change.execute("DELETE FROM evaluations WHERE id = ?", (number,)).rowcount == 0:
                raise NotFound(f"There is no evaluation {number}. The list of evaluations has the numbers of all.")

    def of_runs(self, track: str | None = None) -> list[RunEvaluation]:
        """What each version of each run's weights drove for evaluation on each track, or on this one."""
        found: list[RunEvaluation] = []
        with self._database.reading() as view:
            for run, name in view.execute("SELECT id, name FROM runs ORDER BY id").fetchall():
                found += _of_run(view, run, name, track)
        return found


def _of_run(view: sqlite3.Connection, run: int, name: str, track: str | None) -> list[RunEvaluation]:
    driven: dict[tuple[int, str], list[EvaluatedEpisode]] = {}
    newest: dict[tuple[int, str], float] = {}
    for version, where, received_at, *result, seed in view.execute(_OF_RUN, {"run": run, "track": track}):
        driven.setdefault((version, where), []).append(_episode([*result, None if seed is None else int(seed)]))
        newest[version, where] = max(received_at, newest.get((version, where), received_at))
    return [RunEvaluation(name, *key, newest[key], tuple(episodes)) for key, episodes in driven.items()]


_OF_RUN = """
SELECT weights_version, track, received_at, finished, lap_time_s, episode_return, steps, seed FROM episodes
WHERE run = :run AND purpose = 'evaluation' AND actor = 'policy' AND (:track IS NULL OR track = :track)
ORDER BY weights_version, id
"""
_COLUMNS = "author, received_at, name, run, version, track, environment, game, protocol, perturbed, note, episodes"
_INSERT = f"INSERT INTO evaluations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own names
_PAGE = f"""
SELECT {_COLUMNS}, id FROM evaluations
WHERE (:track IS NULL OR track = :track) AND (:before IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - our own names


def _row(evaluation: PublishedEvaluation) -> tuple[Any, ...]:
    """As `_COLUMNS` names them."""
    *plain, episodes, _number = vars(evaluation).values()
    return *plain, json.dumps([_plain(episode) for episode in episodes])


def _evaluation(row: Sequence[Any]) -> PublishedEvaluation:
    *plain, perturbed, note, episodes, number = row
    values = [*plain, bool(perturbed), note, tuple(map(_episode, json.loads(episodes))), number]
    return PublishedEvaluation(*values)


def _plain(episode: EvaluatedEpisode) -> list[Any]:
    unknown = math.isnan(episode.episode_return)
    return [episode.finished, episode.lap_time_s, None if unknown else episode.episode_return, episode.steps, episode.seed]


def _episode(plain: Sequence[Any]) -> EvaluatedEpisode:
    finished, lap_time_s, episode_return, steps, seed = plain
    return EvaluatedEpisode(bool(finished), lap_time_s, math.nan if episode_return is None else episode_return, steps, seed)
