"""Lineages: the branches of a run's history.

A run begins with lineage 0.  When a trainer resumes from an older checkpoint than the newest, or a person leads the run back to
one, what came after that checkpoint is superseded, and a new lineage begins there.  The *visible chain* goes from the current
lineage back to the first: each lineage counts up to the update at which the next one forked off.  The rest is hidden, never
deleted.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from tmrld.errors import BadInput, NotFound
from tmrld.storage.database import Database
from tmrld.storage.relay_schema import run_id


@dataclass(frozen=True)
class Lineage:
    """One branch: it continues ``parent`` after ``fork_update`` (both None for the first)."""

    number: int
    parent: int | None
    fork_update: int | None
    opened: float


@dataclass(frozen=True)
class Span:
    """A part of the visible chain: a lineage up to and including ``last_update`` (None: without end)."""

    lineage: int
    last_update: int | None

    def holds(self, update: int) -> bool:
        """Whether a point of this lineage at this update is visible."""
        return self.last_update is None or update <= self.last_update


class Lineages:
    """The lineages of all runs.  Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, run: str, update: int, at: float, made_by: int | None = None) -> int:
        """The lineage for a trainer that goes on from this update; ``made_by`` is that of its checkpoint, if it knows.

        It is the current one, unless the visible chain has metrics, weights or checkpoints beyond this update, or does not hold
        that checkpoint: then a new one, which continues the one of the checkpoint.  Raises BadInput for a lineage that never was.
        """
        if update < 0:
            raise BadInput(f"A run cannot be resumed at update {update}: updates count from 0.")
        with self._database.transaction() as change:
            run_key = run_id(change, run)
            chain = visible_chain(change, run_key)
            holders = [span.lineage for span in chain if span.holds(update)]
            if made_by is not None and not _exists(change, run_key, made_by):
                raise BadInput(f"The run {run!r} never had a lineage {made_by}.")
            if made_by in (None, *holders) and not any(_has_beyond(change, run_key, span, update) for span in chain):
                return chain[0].lineage
            parent = holders[-1] if made_by is None else made_by  # without its word: the oldest that can have made this update
            return fork(change, run_key, parent, update, at)

    def all(self, run: str) -> list[Lineage]:
        """Every lineage of a run, oldest first."""
        with self._database.reading() as view:
            rows = view.execute(
                "SELECT number, parent, fork_update, opened FROM lineages WHERE run = ? ORDER BY number", (run_id(view, run),)
            )
            return [Lineage(*row) for row in rows]

    def visible(self, run: str) -> list[Span]:
        """The visible chain, the current lineage first."""
        with self._database.reading() as view:
            return visible_chain(view, run_id(view, run))


def visible_chain(view: sqlite3.Connection, run_key: int) -> list[Span]:
    """The visible chain of a run, the current lineage first."""
    forks = {
        number: (parent, fork_update)
        for number, parent, fork_update in view.execute(
            "SELECT number, parent, fork_update FROM lineages WHERE run = ?", (run_key,)
        )
    }
    (lineage,) = view.execute("SELECT lineage FROM runs WHERE id = ?", (run_key,)).fetchone()
    chain: list[Span] = []
    last_update: int | None = None
    while lineage is not None:
        chain.append(Span(lineage, last_update))
        lineage, last_update = forks[lineage]
    return chain


def fork(change: sqlite3.Connection, run_key: int, parent: int, update: int, at: float) -> int:
    """Open a lineage that continues ``parent`` after this update; it is the current one from now on."""
    (number,) = change.execute("SELECT max(number) + 1 FROM lineages WHERE run = ?", (run_key,)).fetchone()
    change.execute(
        "INSERT INTO lineages (run, number, parent, fork_update, opened) VALUES (?, ?, ?, ?, ?)",
        (run_key, number, parent, update, at),
    )
    change.execute("UPDATE runs SET lineage = ? WHERE id = ?", (number, run_key))
    return int(number)


def has_only_begun(view: sqlite3.Connection, run_key: int, lineage: int) -> bool:
    """Whether this is the current lineage, and nothing was stored of it beyond the update at which it forked off."""
    found = view.execute(
        """
        SELECT 1 FROM runs JOIN lineages ON lineages.run = runs.id AND lineages.number = runs.lineage
        WHERE runs.id = ? AND number = ? AND newest_update <= fork_update
        """,
        (run_key, lineage),
    ).fetchone()
    return found is not None


def check_lineage(view: sqlite3.Connection, run_key: int, lineage: int) -> None:
    """Raises NotFound when the run has no such lineage."""
    if not _exists(view, run_key, lineage):
        raise NotFound(f"The run has no lineage {lineage}; the trainer must resume before it reports.")


def reached(change: sqlite3.Connection, run_key: int, lineage: int, update: int) -> None:
    """Note that something of this lineage at this update was stored.  Raises NotFound when the run has no such lineage."""
    check_lineage(change, run_key, lineage)
    change.execute(
        "UPDATE lineages SET newest_update = max(newest_update, ?) WHERE run = ? AND number = ?", (update, run_key, lineage)
    )


def _exists(view: sqlite3.Connection, run_key: int, lineage: int) -> bool:
    found = view.execute("SELECT 1 FROM lineages WHERE run = ? AND number = ?", (run_key, lineage)).fetchone()
    return found is not None


def _has_beyond(view: sqlite3.Connection, run_key: int, span: Span, update: int) -> bool:
    """Whether anything visible of this lineage lies beyond the update.

    A lineage that went further than the fork had something at the fork: the checkpoint from which the next one resumed.
    """
    (newest,) = view.execute(
        "SELECT newest_update FROM lineages WHERE run = ? AND number = ?", (run_key, span.lineage)
    ).fetchone()
    return bool(newest > update if span.last_update is None else min(newest, span.last_update) > update)
