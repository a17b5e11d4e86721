"""A SQLite file with a versioned schema: one connection that writes, one that reads, errors that people can read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tmrld.errors import Damaged, DiskFull, StorageError
from tmrld.storage.files import explaining, make_folder, make_private

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF  # the low byte of an extended result code (sqlite.org/rescode.html)


class NewerSchema(StorageError):
    """The file was written by a newer version of this program."""


class Database:
    """One SQLite file in WAL mode.

    ``migrations`` are SQL scripts; number k takes schema k to k + 1 (`PRAGMA user_version`).  A newer one raises NewerSchema.
    With ``durable`` a transaction survives power loss when it has ended (synchronous FULL); without, the newest ones may be
    gone, never half there (NORMAL).

    Thread-safe: transactions exclude each other, so do readers, but readers and writers do not wait for each other.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, durable: bool = True) -> None:
        self._path = path
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        make_folder(path.parent)
        with explaining("open the database", path), self._explaining():
            make_private(path)  # SQLite's files beside it take over its permissions
            self._writer = self._connect()
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._migrate(migrations)
                self._reader = self._connect()
                self._reader.execute("PRAGMA query_only = ON")
            except BaseException:
                self._writer.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _migrate(self, migrations: Sequence[str]) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise NewerSchema(
                f"{self._path} was written by a newer tmrld (schema {version}; this one knows schemas up to {len(migrations)}). "
                "Upgrade tmrld."
            )
        for number, script in enumerate(migrations[version:], version + 1):
            self._writer.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing: committed at the end, rolled back when an exception passes through."""
        with self._write_lock, self._explaining():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of what was committed."""
        with self._read_lock, self._explaining():
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("COMMIT")

    def close(self) -> None:
        """May be called twice.  Waits for the transaction and the reader that are under way."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # mistakes of ours
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
            if code == sqlite3.SQLITE_FULL:
                raise DiskFull(f"Cannot write {self._path}: the disk is full. Free some space.") from error
            if code in _DAMAGED:
                raise Damaged(f"The database {self._path} is damaged ({error}). Restore it from a backup.") from error
            raise StorageError(f"Cannot use the database {self._path}: {error}. Check the disk and its permissions.") from error
