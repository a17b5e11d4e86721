"""A small SQLite file that only its owner can read: tokens, sessions and invites lie in one.

Several processes may use it at once (the command line beside a running relay), and several threads: SQLite's write-ahead log
orders them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tmrld.errors import StorageError


class PrivateDatabase:
    """One open file.  ``tables`` are statements that make what is missing."""

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        """Raises `StorageError` if the file cannot be opened or is not such a store."""
        self._path = path
        self._lock = threading.Lock()
        with self._reporting():
            _create_private(path)
            self._connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                for table in tables:
                    self._connection.execute(table)
            except sqlite3.Error:
                self._connection.close()
                raise

    def execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Run one statement, which is a transaction of its own, and return its rows.

        Raises `StorageError`, and `sqlite3.IntegrityError` for a row that may not be.
        """
        with self._lock, self._reporting():
            return self._connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several statements that happen together or not at all, and beside which nobody else writes.  Raises as `execute`."""
        with self._lock, self._reporting():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def foreign_changes(self) -> int:
        """A number that differs from the one before when another connection has changed something since."""
        return int(self.execute("PRAGMA data_version")[0][0])

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"the token store {self._path} cannot be used: {error}") from error


def _create_private(path: Path) -> None:
    """Make sure that the file exists and, where the system knows such things, is for its owner alone.  SQLite's files beside it
    take over its permissions."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if os.name == "posix":
        path.chmod(0o600)
