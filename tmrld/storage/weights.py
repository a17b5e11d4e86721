"""The versions of a run's weights: files, and an index of them with what evaluation says of each.

Kept are the newest, the best by evaluation, and those that somebody pinned.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from tmrld.errors import Conflict, NotFound
from tmrld.storage.blobs import MAX_BYTES, keep_only, new_blob, read_blob
from tmrld.storage.database import Database
from tmrld.storage.episodes import Evaluation, evaluations
from tmrld.storage.files import sha256
from tmrld.storage.layout import Layout
from tmrld.storage.lineages import check_lineage, reached
from tmrld.storage.relay_schema import run_id


@dataclass(frozen=True)
class WeightsInfo:
    """A stored version.  ``evaluation`` is None until an evaluation episode was driven with it."""

    version: int
    update: int
    lineage: int
    size: int
    sha256: str
    received_at: float
    pinned: bool
    evaluation: Evaluation | None


class WeightsStore:
    """The weights of all runs; ``keep_newest`` of each are kept whatever evaluation says, as far as ``most_bytes`` goes.

    The newest, the best and the pinned are kept in any case.  Thread-safe.
    """

    def __init__(self, database: Database, layout: Layout, keep_newest: int, most_bytes: int = MAX_BYTES) -> None:
        self._database = database
        self._layout = layout
        self._keep_newest = keep_newest
        self._most_bytes = most_bytes
        self._lock = threading.RLock()

    def add(self, run: str, version: int, update: int, lineage: int, data: bytes, received_at: float) -> WeightsInfo:
        """Store a version and remove those that need not be kept.  The same version with the same bytes may come again.

        Raises Conflict when it is not newer than all before, NotFound for an unknown run or lineage, DiskFull.
        """
        checksum = sha256(data)
        with self._lock:
            newest = self.newest(run)
            if newest is not None and version <= newest.version:
                return self._known(run, version, checksum, newest)
            with self._database.reading() as view:
                check_lineage(view, run_id(view, run), lineage)
            with new_blob(self.path(run, version), data), self._database.transaction() as change:
                key = run_id(change, run)
                reached(change, key, lineage, update)
                change.execute(
                    "INSERT INTO weights (run, version, at_update, lineage, size, sha256, received_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (key, version, update, lineage, len(data), checksum, received_at),
                )
                kept = self._to_keep(_all(change, key))
                _forget(change, key, [info for info in _all(change, key) if info.version not in kept])
            keep_only(self._layout.run_weights(run), (self.path(run, kept_version).name for kept_version in kept))
            return self.info(run, version)

    def trim(self, run: str, *, dry_run: bool = False) -> list[WeightsInfo]:
        """Keep the newest, the best and the pinned alone; tells what has gone, or with ``dry_run`` what would."""
        with self._lock:
            with self._database.transaction() as change:
                key = run_id(change, run)
                stored = _all(change, key)
                kept = self._to_keep(stored, keep_newest=1)
                gone = [info for info in stored if info.version not in kept]
                if not dry_run:
                    _forget(change, key, gone)
            if not dry_run:
                keep_only(self._layout.run_weights(run), (self.path(run, version).name for version in kept))
            return gone

    def all(self, run: str) -> list[WeightsInfo]:
        """All versions that are kept, newest first."""
        with self._database.reading() as view:
            return _all(view, run_id(view, run))

    def info(self, run: str, version: int) -> WeightsInfo:
        """What is known of a version.  Raises NotFound when there is none or it is no longer kept."""
        for info in self.all(run):
            if info.version == version:
                return info
        raise NotFound(f"The run {run!r} has no weights of version {version}. Its list of weights names those that are kept.")

    def newest(self, run: str) -> WeightsInfo | None:
        """The newest version."""
        return next(iter(self.all(run)), None)

    def best(self, run: str) -> WeightsInfo | None:
        """The version that did best in evaluation (`Evaluation.rank`), the newest of equals; None before the first evaluation."""
        with self._database.reading() as view:
            return best_weights(view, run_id(view, run))

    def load(self, run: str, version: int) -> bytes:
        """The safetensors file of a version.  Raises NotFound, or Damaged when it fails its checksum."""
        return read_blob(self.path(run, version), self.info(run, version).sha256)

    def path(self, run: str, version: int) -> Path:
        """The file of a version."""
        return self._layout.run_weights(run) / f"{version:012d}.safetensors"

    def pin(self, run: str, version: int, pinned: bool = True) -> None:
        """Keep this version whatever comes, or no longer.  Raises NotFound."""
        with self._lock, self._database.transaction() as change:
            key = run_id(change, run)
            cursor = change.execute("UPDATE weights SET pinned = ? WHERE run = ? AND version = ?", (int(pinned), key, version))
            if cursor.rowcount == 0:
                raise NotFound(f"The run {run!r} has no weights of version {version}.")

    def _known(self, run: str, version: int, checksum: str, newest: WeightsInfo) -> WeightsInfo:
        for info in self.all(run):
            if (info.version, info.sha256) == (version, checksum):
                return info
        raise Conflict(
            f"Weights of version {version} came for the run {run!r}, which has version {newest.version}: "
            "versions only grow. Is a second trainer at work on this run?"
        )

    def _to_keep(self, infos: list[WeightsInfo], keep_newest: int | None = None) -> set[int]:
        best = _best(infos)
        kept = {info for info in infos if info.pinned or info is best or info is infos[0]}
        room = self._most_bytes - sum(info.size for info in kept)
        for info in infos[: keep_newest or self._keep_newest]:
            if info not in kept:
                room -= info.size
                if room < 0:
                    break
                kept.add(info)
        return {info.version for info in kept}


def _forget(change: sqlite3.Connection, run_key: int, infos: list[WeightsInfo]) -> None:
    change.executemany("DELETE FROM weights WHERE run = ? AND version = ?", [(run_key, info.version) for info in infos])


def best_weights(view: sqlite3.Connection, run_key: int) -> WeightsInfo | None:
    """The version of a run that did best in evaluation, the newest of equals; None before the first evaluation."""
    return _best(_all(view, run_key))


def _best(infos: list[WeightsInfo]) -> WeightsInfo | None:
    evaluated = [(info.evaluation.rank, info.version, info) for info in infos if info.evaluation is not None]
    return max(evaluated)[2] if evaluated else None


def _all(view: sqlite3.Connection, run_key: int) -> list[WeightsInfo]:
    """Newest first."""
    results = evaluations(view, run_key)
    rows = view.execute(
        "SELECT version, at_update, lineage, size, sha256, received_at, pinned FROM weights WHERE run = ? ORDER BY version DESC",
        (run_key,),
    )
    return [
        WeightsInfo(version, update, lineage, size, checksum, received_at, bool(pinned), results.get(version))
        for version, update, lineage, size, checksum, received_at, pinned in rows
    ]
