"""The relay's copies of a run's checkpoints: files, and an index of them.

Kept are the newest that are whole, the best, which is the one nearest to the weights that did best in evaluation, and the pinned
ones; when another one comes, the rest goes.  The newest and the pinned hold the sample log, too, from their window on; the best
may outlive its samples, or a run whose best is long ago would keep its whole log: it is networks and optimizers, and whoever goes
on from it learns from what the log still has.  A damaged one is found out when it is read, reported, and passed over.

A run that is led back to a checkpoint gets a copy of it in a new lineage (`CheckpointStore.go_back`), which is then the newest.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from tmrld.errors import Damaged, NotFound
from tmrld.storage.blobs import MAX_BYTES, keep_only, new_blob, read_blob
from tmrld.storage.database import Database
from tmrld.storage.files import sha256
from tmrld.storage.layout import Layout
from tmrld.storage.lineages import check_lineage, fork, has_only_begun, reached, visible_chain
from tmrld.storage.relay_schema import run_id
from tmrld.storage.weights import best_weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointInfo:
    """A stored checkpoint.

    ``offset`` is how far the sample log had been consumed, ``window`` where the oldest chunk begins that the replay memory
    still held.  ``best`` marks the one nearest to the best weights, where that was looked for (`CheckpointStore.all`).
    """

    update: int
    lineage: int
    offset: int
    window: int
    size: int
    sha256: str
    received_at: float
    pinned: bool = False
    damaged: bool = False
    best: bool = False


class CheckpointStore:
    """The checkpoints of all runs; ``keep_newest`` of each are kept, as far as ``most_bytes`` goes.

    The newest, the best and the pinned are kept in any case.  Thread-safe.
    """

    def __init__(self, database: Database, layout: Layout, keep_newest: int, most_bytes: int = MAX_BYTES) -> None:
        self._database = database
        self._layout = layout
        self._keep_newest = keep_newest
        self._most_bytes = most_bytes
        self._lock = threading.RLock()

    def add(
        self, run: str, update: int, lineage: int, offset: int, window: int, data: bytes, received_at: float
    ) -> CheckpointInfo:
        """Store a checkpoint and remove those that need not be kept.  A later one at the same update and lineage replaces the first.

        Raises NotFound for an unknown run or lineage, DiskFull.
        """
        info = CheckpointInfo(update, lineage, offset, window, len(data), sha256(data), received_at)
        with self._lock:
            with self._database.reading() as view:
                check_lineage(view, run_id(view, run), lineage)
            with new_blob(self._path(run, info), data), self._database.transaction() as change:
                key = run_id(change, run)
                _enter(change, key, info)
                stored = _marked(change, key)
                kept = self._to_keep(stored, _visible(change, key, stored))
                _forget(change, key, [old for old in stored if old not in kept])
            keep_only(self._layout.run_checkpoints(run), (self._path(run, one).name for one in kept))
            return info

    def trim(self, run: str, *, dry_run: bool = False) -> list[CheckpointInfo]:
        """Keep the newest, the best and the pinned alone; tells what has gone, or with ``dry_run`` what would."""
        with self._lock:
            with self._database.transaction() as change:
                key = run_id(change, run)
                stored = _marked(change, key)
                kept = self._to_keep(stored, _visible(change, key, stored), keep_newest=1)
                gone = [info for info in stored if info not in kept]
                if not dry_run:
                    _forget(change, key, gone)
            if not dry_run:
                keep_only(self._layout.run_checkpoints(run), (self._path(run, one).name for one in kept))
            return gone

    def all(self, run: str) -> list[CheckpointInfo]:
        """All checkpoints that are kept, the last stored first, superseded and damaged ones too; the best of them is marked."""
        with self._database.reading() as view:
            return _marked(view, run_id(view, run))

    def newest(self, run: str) -> CheckpointInfo | None:
        """The newest visible checkpoint that `load` has not found damaged."""
        return next(iter(self._sound(run)), None)

    def load(self, run: str, update: int) -> tuple[CheckpointInfo, bytes]:
        """The visible checkpoint at this update.  Raises NotFound, or Damaged when its file fails its checksum."""
        with self._database.reading() as view:
            key = run_id(view, run)
            found = [info for info in _visible(view, key, _all(view, key)) if info.update == update]
        if not found:
            raise NotFound(
                f"The run {run!r} has no checkpoint at update {update}. Its list of checkpoints names those that are kept."
            )
        return found[0], self._read(run, found[0])

    def find(self, run: str, update: int) -> CheckpointInfo:
        """The checkpoint at this update, be it superseded: the visible one, or else the last stored.

        Raises NotFound, which names the nearest, and Damaged for one that is known to be.
        """
        with self._database.reading() as view:
            key = run_id(view, run)
            stored = _all(view, key)
            found = [info for info in (*_visible(view, key, stored), *stored) if info.update == update]
        if not found:
            raise NotFound(f"The run {run!r} has no checkpoint at update {update}.  {_nearest(stored, update)}")
        info = next((info for info in found if not info.damaged), None)
        if info is None:
            raise Damaged(f"The checkpoint of the run {run!r} at update {update} is damaged.  {_nearest(stored, update)}")
        return info

    def go_back(self, run: str, info: CheckpointInfo, at: float) -> CheckpointInfo:
        """Open a lineage that begins with a copy of this checkpoint; it is returned.  All that came after is superseded.

        Where the current lineage has begun with it, and nothing came after, all is done already.  Raises Damaged, DiskFull.
        """
        data = self._read(run, info)
        with self._lock, self._database.transaction() as change:
            key = run_id(change, run)
            if has_only_begun(change, key, info.lineage):
                return info
            lineage = fork(change, key, info.lineage, info.update, at)
            copy = replace(info, lineage=lineage, received_at=at, pinned=False, best=False)
            with new_blob(self._path(run, copy), data):
                _enter(change, key, copy)
            return copy

    def pin(self, run: str, update: int, pinned: bool = True) -> None:
        """Keep the checkpoints at this update whatever comes, or no longer.  Raises NotFound."""
        with self._lock, self._database.transaction() as change:
            key = run_id(change, run)
            cursor = change.execute(
                "UPDATE checkpoints SET pinned = ? WHERE run = ? AND at_update = ?", (int(pinned), key, update)
            )
            if cursor.rowcount == 0:
                raise NotFound(f"The run {run!r} has no checkpoint at update {update}.")

    def oldest_window(self, run: str, *, trimmed: bool = False) -> int | None:
        """The offset that pruning the sample log may not pass, or the replay memory of a checkpoint could not be refilled.

        Of the newest and the pinned, that is: one that is kept for being the best holds nothing.  ``trimmed`` tells what it would
        be after `trim`.
        """
        with self._database.reading() as view:
            key = run_id(view, run)
            stored = _all(view, key)
            kept = self._to_keep(stored, _visible(view, key, stored), keep_newest=1 if trimmed else None)
            return min((info.window for info in kept), default=None)

    def _sound(self, run: str) -> list[CheckpointInfo]:
        """Visible checkpoints that are not known to be damaged, newest first."""
        with self._database.reading() as view:
            key = run_id(view, run)
            return [info for info in _visible(view, key, _all(view, key)) if not info.damaged]

    def _read(self, run: str, info: CheckpointInfo) -> bytes:
        """Its file.  Raises Damaged, which is remembered."""
        try:
            return read_blob(self._path(run, info), info.sha256)
        except Damaged as error:
            self._found_damaged(run, info, error)
            raise

    def _path(self, run: str, info: CheckpointInfo) -> Path:
        """Its name tells its content, so that one can replace another at the same update."""
        return self._layout.run_checkpoints(run) / f"{info.update:012d}-{info.lineage:04d}-{info.sha256[:16]}.checkpoint"

    def _found_damaged(self, run: str, info: CheckpointInfo, error: Damaged) -> None:
        _log.error("the checkpoint of run %s at update %d is damaged and will not be used: %s", run, info.update, error)
        with self._database.transaction() as change:
            change.execute(
                "UPDATE checkpoints SET damaged = 1 WHERE run = ? AND lineage = ? AND at_update = ? AND sha256 = ?",
                (run_id(change, run), info.lineage, info.update, info.sha256),
            )

    def _to_keep(
        self, stored: list[CheckpointInfo], visible: list[CheckpointInfo], keep_newest: int | None = None
    ) -> set[CheckpointInfo]:
        """The newest of the visible chain, the last stored (which a new lineage may just have hidden), the marked and the pinned."""
        sound = [info for info in visible if not info.damaged]
        last_stored = [info for info in stored if not info.damaged]
        kept = {*sound[:1], *last_stored[:1], *(info for info in stored if info.pinned or info.best)}
        room = self._most_bytes - sum(info.size for info in kept)
        newest = keep_newest or self._keep_newest
        for info in dict.fromkeys((*sound[:newest], *last_stored[:newest])):
            if info not in kept:
                room -= info.size
                if room < 0:
                    break
                kept.add(info)
        return kept


def _enter(change: sqlite3.Connection, run_key: int, info: CheckpointInfo) -> None:
    """Enter a checkpoint into the index; it replaces one at the same update and lineage.  Raises NotFound for an unknown lineage."""
    reached(change, run_key, info.lineage, info.update)
    change.execute(
        """
        INSERT INTO checkpoints (run, at_update, lineage, offset, window, size, sha256, received_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (run, lineage, at_update) DO UPDATE SET offset = excluded.offset, window = excluded.window,
            size = excluded.size, sha256 = excluded.sha256, received_at = excluded.received_at, damaged = 0
        """,
        (run_key, info.update, info.lineage, info.offset, info.window, info.size, info.sha256, info.received_at),
    )


def _forget(change: sqlite3.Connection, run_key: int, infos: list[CheckpointInfo]) -> None:
    change.executemany(
        "DELETE FROM checkpoints WHERE run = ? AND lineage = ? AND at_update = ?",
        [(run_key, info.lineage, info.update) for info in infos],
    )


def _nearest(stored: list[CheckpointInfo], update: int) -> str:
    """The sound checkpoints next to this update, in a sentence."""
    updates = {info.update for info in stored if not info.damaged}
    below, above = [each for each in updates if each < update], [each for each in updates if each > update]
    near = [str(each) for each in (max(below, default=None), min(above, default=None)) if each is not None]
    return f"The nearest that are kept: {' and '.join(near)}." if near else "None is kept that could be used."


def _all(view: sqlite3.Connection, run_key: int) -> list[CheckpointInfo]:
    """The last stored first."""
    rows = view.execute(
        """
        SELECT at_update, lineage, offset, window, size, sha256, received_at, pinned, damaged
        FROM checkpoints WHERE run = ? ORDER BY id DESC
        """,
        (run_key,),
    )
    return [
        CheckpointInfo(update, lineage, offset, window, size, checksum, received_at, bool(pinned), bool(damaged))
        for update, lineage, offset, window, size, checksum, received_at, pinned, damaged in rows
    ]


def _marked(view: sqlite3.Connection, run_key: int) -> list[CheckpointInfo]:
    """The last stored first; the best is marked: the whole one nearest to the best weights, of their lineage if there is any."""
    stored, weights = _all(view, run_key), best_weights(view, run_key)
    sound = [info for info in stored if not info.damaged]
    if weights is None or not sound:
        return stored
    best = min(sound, key=lambda info: (info.lineage != weights.lineage, abs(info.update - weights.update), -info.update))
    return [replace(info, best=info is best) for info in stored]


def _visible(view: sqlite3.Connection, run_key: int, stored: list[CheckpointInfo]) -> list[CheckpointInfo]:
    """Those in the visible chain, newest update first; of two at one update, the one of the newer lineage first."""
    spans = {span.lineage: span for span in visible_chain(view, run_key)}
    visible = [info for info in stored if info.lineage in spans and spans[info.lineage].holds(info.update)]
    return sorted(visible, key=lambda info: (info.update, info.lineage), reverse=True)
