"""The index of a log in SQLite: where each record lies and what identifies it.

It holds nothing that is not in the log itself, so it may be lost: a damaged index, or one of another version, is thrown away and
made again.  Thread-safe: one writer and readers do not wait for each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tmrld.errors import Damaged
from tmrld.storage.database import Database, NewerSchema
from tmrld.storage.files import remove_file
from tmrld.storage.records import Key

_SCHEMA = """
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    worker TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    UNIQUE (worker, incarnation)
);
CREATE TABLE records (
    offset INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    number INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    UNIQUE (stream, number)
);
CREATE TABLE unsynced (base INTEGER PRIMARY KEY)
"""
_ROWS = """
SELECT offset, size, worker, incarnation, number, steps, purpose FROM records JOIN streams ON streams.id = stream
"""
MAX_OFFSET = 2**63 - 1


class Row(NamedTuple):
    """A record in the index."""

    offset: int
    size: int
    worker: str
    incarnation: str
    number: int
    steps: int
    purpose: str

    @property
    def key(self) -> Key:
        """What identifies the record."""
        return self.worker, self.incarnation, self.number


class Place(NamedTuple):
    """Where a record lies."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.offset + self.size


class SampleIndex:
    """The index in the file ``path``; an unusable one is replaced by an empty one."""

    def __init__(self, path: Path) -> None:
        try:
            self._open(path)
        except (Damaged, NewerSchema):
            for suffix in ("", "-wal", "-shm", ".seal"):
                remove_file(path.with_name(path.name + suffix))
            self._open(path)

    def _open(self, path: Path) -> None:
        self._database = Database(path, [_SCHEMA], durable=False)
        try:
            with self._database.reading() as view:
                self._streams = {
                    (worker, incarnation): stream
                    for stream, worker, incarnation in view.execute("SELECT id, worker, incarnation FROM streams")
                }
        except BaseException:
            self._database.close()
            raise

    def add(self, rows: Sequence[Row], unsynced: Iterable[int] = ()) -> None:
        """Enter records, all or none; one whose key or offset is known already is left out.

        ``unsynced`` are the bases of segments whose newest bytes may not survive power loss (`unsynced`).
        """
        new = {(row.worker, row.incarnation) for row in rows} - self._streams.keys()
        with self._database.transaction() as change:
            streams = dict(self._streams)
            for worker, incarnation in sorted(new):
                cursor = change.execute("INSERT INTO streams (worker, incarnation) VALUES (?, ?)", (worker, incarnation))
                streams[worker, incarnation] = int(cursor.lastrowid or 0)
            change.executemany("INSERT OR IGNORE INTO unsynced VALUES (?)", [(base,) for base in unsynced])
            change.executemany(
                "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (row.offset, row.size, streams[row.worker, row.incarnation], row.number, row.steps, row.purpose)
                    for row in rows
                ],
            )
        self._streams = streams

    def remove(self, start: int, stop: int) -> None:
        """Forget all records with start ≤ offset < stop."""
        with self._database.transaction() as change:
            change.execute("DELETE FROM records WHERE offset >= ? AND offset < ?", (start, stop))

    def find(self, keys: Sequence[Key]) -> dict[Key, Place]:
        """Where the records with these keys lie; those that are not in the log are missing from the answer."""
        found: dict[Key, Place] = {}
        with self._database.reading() as view:
            for key in keys:
                stream = self._streams.get(key[:2])
                if stream is not None and (place := _place(view, "stream = ? AND number = ?", stream, key[2])) is not None:
                    found[key] = place
        return found

    def places(self, offset: int, limit: int, max_bytes: int = MAX_OFFSET) -> list[Place]:
        """The next records that begin at ``offset`` or later, in order: at most ``limit``, and ``max_bytes`` unless it is one."""
        found: list[Place] = []
        with self._database.reading() as view:
            for row in view.execute(
                "SELECT offset, size FROM records WHERE offset >= ? ORDER BY offset LIMIT ?", (offset, limit)
            ):
                max_bytes -= row[1]
                if found and max_bytes < 0:
                    break
                found.append(Place(*row))
        return found

    def rows(self, start: int, stop: int) -> list[Row]:
        """All records with start ≤ offset < stop, in order."""
        with self._database.reading() as view:
            return [
                Row(*row) for row in view.execute(f"{_ROWS} WHERE offset >= ? AND offset < ? ORDER BY offset", (start, stop))
            ]

    def last_before(self, stop: int) -> Place | None:
        """The last record that begins before ``stop``."""
        with self._database.reading() as view:
            return _place(view, "offset < ? ORDER BY offset DESC LIMIT 1", stop)

    def transitions(self) -> dict[tuple[str, str, str], int]:
        """How many transitions there are of each (worker, incarnation, purpose)."""
        query = """
            SELECT worker, incarnation, purpose, total
            FROM (SELECT stream, purpose, SUM(steps) AS total FROM records GROUP BY stream, purpose)
            JOIN streams ON streams.id = stream
        """
        with self._database.reading() as view:
            return {(worker, incarnation, purpose): total for worker, incarnation, purpose, total in view.execute(query)}

    def unsynced(self) -> list[int]:
        """The bases of segments whose newest bytes may not survive power loss."""
        with self._database.reading() as view:
            return [base for (base,) in view.execute("SELECT base FROM unsynced")]

    def all_synced(self) -> None:
        """The segments named by `unsynced` were made safe."""
        with self._database.transaction() as change:
            change.execute("DELETE FROM unsynced")

    def close(self) -> None:
        """May be called twice."""
        self._database.close()


def _place(view: sqlite3.Connection, condition: str, *values: int) -> Place | None:
    row = view.execute(f"SELECT offset, size FROM records WHERE {condition}", values).fetchone()  # noqa: S608
    return None if row is None else Place(*row)
