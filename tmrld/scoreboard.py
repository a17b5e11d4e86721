"""Evaluations as people and scripts see them, and who drives best on each track.

A board ranks what people have published and what the runs of this relay have driven for evaluation: of each run the version that
did best there.  Every method reads or writes the store in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tmrld.errors import BadInput, NotFound
from tmrld.events import Feed
from tmrld.scores import LEAGUE_CRASHES, LEAGUE_RUNS, LeagueScore, Outcome, Score, league, score
from tmrld.storage.evaluations import EvaluatedEpisode, PublishedEvaluation, RunEvaluation
from tmrld.storage.runs import RunStore

PLAIN, LEAGUE = "plain", "tmrl-league"
"""Protocols: episodes as they come, and the rules of `tmrld.scores.league`."""
OURS = "tmrld/"
"""What the ids of our environments begin with; others are of no game."""


@dataclass(frozen=True)
class WeightsNameView:
    """What has driven: a name for people; ``run`` and ``version`` where it came from a run."""

    name: str
    run: str | None
    version: int | None


@dataclass(frozen=True)
class EvaluationView:
    """A published evaluation with its scores; ``league`` is None unless it was driven by the league's rules."""

    id: int
    created: float
    author: str
    weights: WeightsNameView
    track: str
    environment: str
    game: str
    protocol: str
    perturbed: bool
    note: str
    episodes: tuple[EvaluatedEpisode, ...]
    score: Score
    league: LeagueScore | None


@dataclass(frozen=True)
class EvaluationsView:
    """Evaluations, the newest first; ``next`` is the cursor of those before, None at the end."""

    items: list[EvaluationView]
    next: str | None


@dataclass(frozen=True)
class EntryView:
    """A line of a board: a published evaluation (``evaluation`` is its id), or the best version of a run.  ``rank`` counts from 1."""

    rank: int
    source: str
    weights: WeightsNameView
    environment: str
    protocol: str
    perturbed: bool
    created: float
    author: str | None
    note: str
    evaluation: int | None
    score: Score
    league: LeagueScore | None


@dataclass(frozen=True)
class BoardView:
    """The entries on one track of one game, the best first."""

    track: str
    game: str
    entries: list[EntryView]


class Scoreboard:
    """The evaluations of a store."""

    def __init__(self, store: RunStore, feed: Feed, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock

    async def publish(
        self,
        author: str,
        weights: WeightsNameView,
        *,
        track: str,
        environment: str,
        game: str,
        protocol: str,
        perturbed: bool,
        note: str,
        episodes: Sequence[EvaluatedEpisode],
    ) -> EvaluationView:
        """Store an evaluation.  Raises BadInput for one that its protocol does not allow."""
        if protocol == LEAGUE:
            _check_league(episodes, perturbed)
        evaluation = PublishedEvaluation(
            author=author,
            received_at=self._clock(),
            name=weights.name,
            run=weights.run,
            version=weights.version,
            track=track,
            environment=environment,
            game=game,
            protocol=protocol,
            perturbed=perturbed,
            note=note,
            episodes=tuple(episodes),
        )
        view = _view(await asyncio.to_thread(self._store.evaluations.add, evaluation))
        self._feed.publish("score", {"evaluation": view.id, "track": track})
        return view

    async def evaluations(self, track: str | None, limit: int, before: str | None) -> EvaluationsView:
        """At most ``limit`` published evaluations, from the newest one, or from where a page before said ``next``.

        Raises BadInput for a cursor that no page said.
        """
        if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
            raise BadInput(f"{before!r} is no place to go on from: give what the page before has as next")
        number = None if before is None else int(before)
        page = await asyncio.to_thread(lambda: self._store.evaluations.page(limit + 1, number, track=track))
        more = len(page) > limit
        return EvaluationsView([_view(each) for each in page[:limit]], str(page[limit - 1].number) if more else None)

    async def delete(self, number: int) -> None:
        """Remove a published evaluation.  Raises NotFound."""
        await asyncio.to_thread(self._store.evaluations.delete, number)
        self._feed.publish("score", {"evaluation": number, "deleted": True})

    async def leaderboard(self, track: str | None) -> list[BoardView]:
        """The board of this track, or of all: one for each game that it was driven in, by name."""
        return await asyncio.to_thread(self._boards, track)

    def _boards(self, track: str | None) -> list[BoardView]:
        boards: dict[tuple[str, str], list[EntryView]] = {}
        for published in self._store.evaluations.all(track):
            boards.setdefault((published.track, published.game), []).append(_published_entry(published))
        for best in _best_versions(self._store.evaluations.of_runs(track)):
            with suppress(NotFound):  # the run was deleted just now
                environment, game = self._world(best.run)
                boards.setdefault((best.track, game), []).append(_run_entry(best, environment))
        return [BoardView(*key, _ranked(boards[key])) for key in sorted(boards)]

    def _world(self, run: str) -> tuple[str, str]:
        """The environment and the game that a run is configured for now.  Raises NotFound."""
        environment: dict[str, Any] = self._store.revision(run).config.get("environment", {})
        id = str(environment.get("id", ""))
        return id, str(environment.get("game", "")) if id.startswith(OURS) else ""


def _check_league(episodes: Sequence[EvaluatedEpisode], perturbed: bool) -> None:
    """Raises BadInput unless these episodes are an entry by the league's rules, no more and no fewer."""
    if perturbed:
        raise BadInput("the league's runs start where the game puts the car: publish perturbed starts as plain episodes")
    outcomes = _outcomes(episodes)
    if not league(outcomes).over:
        counted = league(outcomes)
        raise BadInput(
            f"an entry by the league's rules is {LEAGUE_RUNS} runs that reach the finish, or {LEAGUE_CRASHES} crashes: here are "
            f"{len(counted.times_s)} and {counted.crashes}. Drive on, or publish them as plain episodes"
        )
    if league(outcomes[:-1]).over:
        raise BadInput(
            f"by the league's rules this entry was over after {LEAGUE_RUNS} runs or {LEAGUE_CRASHES} crashes, and there are more "
            "episodes: publish those that count, in the order in which they were driven"
        )


def _best_versions(found: Sequence[RunEvaluation]) -> list[RunEvaluation]:
    """Of each run the version that did best on each track, the newest of equals."""
    best: dict[tuple[str, str], tuple[Any, int, RunEvaluation]] = {}
    for each in found:
        key, place = (each.run, each.track), (score(_outcomes(each.episodes)).rank, each.version, each)
        if key not in best or place[:2] > best[key][:2]:
            best[key] = place
    return [each for _, _, each in best.values()]


def _ranked(entries: Sequence[EntryView]) -> list[EntryView]:
    """The best first; of equals, the one that was there first."""
    ordered = sorted(sorted(entries, key=lambda entry: entry.created), key=lambda entry: entry.score.rank, reverse=True)
    return [replace(entry, rank=rank) for rank, entry in enumerate(ordered, 1)]


def _outcomes(episodes: Sequence[EvaluatedEpisode]) -> list[Outcome]:
    return [Outcome(each.finished, each.lap_time_s, each.episode_return) for each in episodes]


def _league(evaluation: PublishedEvaluation) -> LeagueScore | None:
    return league(_outcomes(evaluation.episodes)) if evaluation.protocol == LEAGUE else None


def _view(evaluation: PublishedEvaluation) -> EvaluationView:
    return EvaluationView(
        id=evaluation.number,
        created=evaluation.received_at,
        author=evaluation.author,
        weights=WeightsNameView(evaluation.name, evaluation.run, evaluation.version),
        track=evaluation.track,
        environment=evaluation.environment,
        game=evaluation.game,
        protocol=evaluation.protocol,
        perturbed=evaluation.perturbed,
        note=evaluation.note,
        episodes=evaluation.episodes,
        score=score(_outcomes(evaluation.episodes)),
        league=_league(evaluation),
    )


def _published_entry(evaluation: PublishedEvaluation) -> EntryView:
    return EntryView(
        rank=0,
        source="published",
        weights=WeightsNameView(evaluation.name, evaluation.run, evaluation.version),
        environment=evaluation.environment,
        protocol=evaluation.protocol,
        perturbed=evaluation.perturbed,
        created=evaluation.received_at,
        author=evaluation.author,
        note=evaluation.note,
        evaluation=evaluation.number,
        score=score(_outcomes(evaluation.episodes)),
        league=_league(evaluation),
    )


def _run_entry(best: RunEvaluation, environment: str) -> EntryView:
    """A run's own evaluation episodes, whose starts are perturbed wherever the world allows it."""
    return EntryView(
        rank=0,
        source="run",
        weights=WeightsNameView(best.run, best.run, best.version),
        environment=environment,
        protocol=PLAIN,
        perturbed=True,
        created=best.received_at,
        author=None,
        note="",
        evaluation=None,
        score=score(_outcomes(best.episodes)),
        league=None,
    )
