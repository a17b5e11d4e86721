"""Everything that a relay knows of its runs, but the sample log: one SQLite file, and folders of weights and checkpoints.

`RunStore` holds the runs themselves and their configuration; the rest has a file of its own and hangs on it: ``lineages``,
``metrics``, ``episodes``, ``weights``, ``checkpoints``, ``nodes``, ``assignments``, ``tracks``, ``evaluations``.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrld.errors import BadInput, Conflict, Damaged, NotFound, StorageError
from tmrld.storage.assignments import Assignments
from tmrld.storage.blobs import MAX_BYTES
from tmrld.storage.checkpoints import CheckpointStore
from tmrld.storage.database import Database
from tmrld.storage.episodes import Episodes
from tmrld.storage.evaluations import Evaluations
from tmrld.storage.files import explaining, make_folder, replace_file
from tmrld.storage.layout import Layout, checked_run_name
from tmrld.storage.lineages import Lineages
from tmrld.storage.metrics import Metrics
from tmrld.storage.nodes import Nodes
from tmrld.storage.relay_schema import MIGRATIONS, run_id
from tmrld.storage.tracks import Tracks
from tmrld.storage.weights import WeightsStore

log = logging.getLogger(__name__)

STATES = ("queued", "running", "paused", "stopped", "failed", "finished")
FIRST_REVISION = 1
_DELETED = "~"
"""Stands between a run's name and what tells several of that name apart, where folders wait to be removed."""
_LEAST_BYTES = 512
"""The smallest page that SQLite has: it takes what is shorter for a new database."""


@dataclass(frozen=True)
class Run:
    """A run: ``spec`` is its `payloads.EnvSpec` as plain values (None until a worker told it), ``revision`` the newest one.

    ``queue_position`` counts from 1 among the runs that are queued, in the order in which they were.
    """

    name: str
    state: str
    created: float
    spec: dict[str, Any] | None
    lineage: int
    revision: int
    queue_position: int | None = None


@dataclass(frozen=True)
class Revision:
    """A run's configuration as it was written at some time by somebody; revisions count from 1."""

    number: int
    config: dict[str, Any]
    time: float
    author: str


class RunStore:
    """The runs of a relay, in its data folder.

    Thread-safe: one thread writes at a time, reading goes on meanwhile.  All that is stored survives power loss.  Every method
    raises NotFound for a run that does not exist, and StorageError (DiskFull, Damaged) when the files cannot be used.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        keep_weights: int = 20,
        keep_checkpoints: int = 3,
        weights_bytes: int = MAX_BYTES,
        checkpoints_bytes: int = MAX_BYTES,
    ) -> None:
        self._layout = layout
        _check_not_lost(layout)
        self._database = Database(layout.relay_db, MIGRATIONS)
        self.lineages = Lineages(self._database)
        self.metrics = Metrics(self._database)
        self.episodes = Episodes(self._database)
        self.weights = WeightsStore(self._database, layout, keep_weights, weights_bytes)
        self.checkpoints = CheckpointStore(self._database, layout, keep_checkpoints, checkpoints_bytes)
        self.nodes = Nodes(self._database)
        self.assignments = Assignments(self._database)
        self.tracks = Tracks(self._database)
        self.evaluations = Evaluations(self._database)
        try:
            self._finish_deletions()
        except StorageError as error:  # it takes room, and troubles nobody
            log.warning("what is left of deleted runs stays for now: %s", error)

    def create(self, name: str, config: Mapping[str, Any], author: str, at: float, state: str = "queued") -> Run:
        """A new run in this state, its configuration being revision 1.

        Raises BadInput when it may not be called so, Conflict when there is one, or its folder is left from one.
        """
        folder = self._layout.relay_run(checked_run_name(name))
        with self._database.transaction() as change:
            if change.execute("SELECT 1 FROM runs WHERE name = ?", (name,)).fetchone():
                raise Conflict(f"There is a run {name!r} already. Choose another name, or delete that one.")
            if folder.exists():
                raise Conflict(
                    f"The folder {folder} holds files of another run {name!r}. Move it away, or choose another name."
                )
            cursor = change.execute("INSERT INTO runs (name, state, created, lineage) VALUES (?, '', ?, 0)", (name, at))
            change.execute("INSERT INTO lineages (run, number, opened) VALUES (?, 0, ?)", (cursor.lastrowid, at))
            _insert_revision(change, int(cursor.lastrowid or 0), Revision(FIRST_REVISION, dict(config), at, author))
            _set_state(change, int(cursor.lastrowid or 0), state)
        return self.get(name)

    def get(self, name: str) -> Run:
        """The run with this name."""
        with self._database.reading() as view:
            run_id(view, name)
            return _run(view.execute(f"{_RUNS} WHERE name = ?", (name,)).fetchone())

    def all(self) -> list[Run]:
        """All runs, oldest first."""
        with self._database.reading() as view:
            return [_run(row) for row in view.execute(f"{_RUNS} ORDER BY id")]

    def queue(self) -> list[Run]:
        """The runs that are queued, in the order in which they were."""
        queued = [run for run in self.all() if run.queue_position is not None]
        return sorted(queued, key=lambda run: run.queue_position or 0)

    def set_state(self, name: str, state: str) -> None:
        """Note what a run is doing: one of `STATES`.  One that is queued comes last in the queue."""
        with self._database.transaction() as change:
            _set_state(change, run_id(change, name), state)

    def set_spec(self, name: str, spec: Mapping[str, Any]) -> None:
        """Fix the spaces of a run.  Raises Conflict when it has others: all its workers must have the same."""
        with self._database.transaction() as change:
            key = run_id(change, name)
            (known,) = change.execute("SELECT spec FROM runs WHERE id = ?", (key,)).fetchone()
            text = _json(spec)
            if known is None:
                change.execute("UPDATE runs SET spec = ? WHERE id = ?", (text, key))
            elif known != text:
                raise Conflict(
                    f"The run {name!r} was begun with other observation or action spaces. "
                    "Give this worker the environment of the others, or make a new run."
                )

    def delete(self, name: str) -> None:
        """Remove a run with all its files, the sample log included.  Nobody may have its log open.

        The files, which take their time, go last: nobody waits for the database meanwhile.
        """
        folder = self._layout.relay_run(name)
        aside = self._layout.relay_deleted / f"{name}{_DELETED}{secrets.token_hex(8)}"
        with self._database.transaction() as change:
            change.execute("DELETE FROM runs WHERE id = ?", (run_id(change, name),))
            if folder.exists():
                make_folder(aside.parent)
                with explaining("remove", folder):
                    replace_file(folder, aside)
        self._clear_away(aside)

    def _finish_deletions(self) -> None:
        """What a killed process was about to delete goes, or comes back where the database still has it."""
        folder = self._layout.relay_deleted
        for aside in sorted(folder.iterdir()) if folder.exists() else []:
            name = aside.name.partition(_DELETED)[0]
            home = self._layout.relay_run(name)
            with self._database.reading() as view:
                kept = view.execute("SELECT 1 FROM runs WHERE name = ?", (name,)).fetchone() is not None
            if kept and not home.exists():
                with explaining("put back", home):
                    replace_file(aside, home)
            else:
                self._clear_away(aside)

    def _clear_away(self, folder: Path) -> None:
        if folder.exists():
            with explaining("remove", folder):
                shutil.rmtree(folder)

    def add_revision(self, name: str, config: Mapping[str, Any], *, base: int, author: str, at: float) -> Revision:
        """Change a run's configuration, which the author saw at revision ``base``.

        Raises Conflict when somebody else changed it since.
        """
        with self._database.transaction() as change:
            key = run_id(change, name)
            newest = _newest_revision(change, key)
            if base != newest:
                raise Conflict(
                    f"The configuration of {name!r} is at revision {newest}, the change was made to revision {base}. "
                    "Load it again and repeat the change."
                )
            revision = Revision(newest + 1, dict(config), at, author)
            _insert_revision(change, key, revision)
            return revision

    def revision(self, name: str, number: int | None = None) -> Revision:
        """One revision of a run's configuration, the newest by default.  Raises NotFound."""
        with self._database.reading() as view:
            key = run_id(view, name)
            wanted = _newest_revision(view, key) if number is None else number
            row = view.execute(f"{_REVISIONS} WHERE run = ? AND number = ?", (key, wanted)).fetchone()
        if row is None:
            raise NotFound(f"The run {name!r} has no revision {number}.")
        return _revision(row)

    def revisions(self, name: str) -> list[Revision]:
        """All revisions, oldest first."""
        with self._database.reading() as view:
            return [
                _revision(row) for row in view.execute(f"{_REVISIONS} WHERE run = ? ORDER BY number", (run_id(view, name),))
            ]

    def free_bytes(self) -> int:
        """What the database takes on the disk beyond what is in it: it fills that again before it grows."""
        return self._database.free_bytes()

    def close(self) -> None:
        """May be called twice."""
        self._database.close()


def _check_not_lost(layout: Layout) -> None:
    """Raise Damaged where there are files of runs, but no database, or an empty one: a new one would know nothing of them."""
    path = layout.relay_db
    if (path.exists() and path.stat().st_size >= _LEAST_BYTES) or path.with_name(f"{path.name}-wal").exists():
        return
    with explaining("list the runs in", layout.relay_runs):
        runs = sorted(each.name for each in layout.relay_runs.iterdir()) if layout.relay_runs.exists() else []
    if runs:
        raise Damaged(
            f"The database {path} is missing or empty, and {layout.relay_runs} holds files of the runs {', '.join(runs[:5])}. "
            "Restore it from a backup, or move these files away to begin anew."
        )


_RUNS = """
SELECT
    name, state, created, spec, lineage, (SELECT max(number) FROM revisions WHERE run = runs.id),
    iif(queue_place IS NULL, NULL, (SELECT count(*) FROM runs AS other WHERE other.queue_place <= runs.queue_place))
FROM runs
"""
_REVISIONS = "SELECT number, config, time, author FROM revisions"


def _run(row: tuple[str, str, float, str | None, int, int, int | None]) -> Run:
    name, state, created, spec, lineage, revision, queue_position = row
    return Run(name, state, created, None if spec is None else json.loads(spec), lineage, revision, queue_position)


def _set_state(change: sqlite3.Connection, run_key: int, state: str) -> None:
    if state not in STATES:
        raise BadInput(f"{state!r} is no state of a run; expected one of {', '.join(STATES)}.")
    place = None
    if state == "queued":
        (place,) = change.execute("SELECT coalesce(max(queue_place), 0) + 1 FROM runs").fetchone()
    change.execute("UPDATE runs SET state = ?, queue_place = ? WHERE id = ?", (state, place, run_key))


def _revision(row: tuple[int, str, float, str]) -> Revision:
    number, config, time, author = row
    return Revision(number, json.loads(config), time, author)


def _newest_revision(view: sqlite3.Connection, run_key: int) -> int:
    (number,) = view.execute("SELECT max(number) FROM revisions WHERE run = ?", (run_key,)).fetchone()
    return int(number)


def _insert_revision(change: sqlite3.Connection, run_key: int, revision: Revision) -> None:
    change.execute(
        "INSERT INTO revisions (run, number, config, time, author) VALUES (?, ?, ?, ?, ?)",
        (run_key, revision.number, _json(revision.config), revision.time, revision.author),
    )


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
