"""A small SQLite file that only its owner can read: tokens, sessions and invites lie in one.

Several processes may use it at once (the command line beside a running relay), and several threads: SQLite's write-ahead log
orders them.

SQLite does not notice a flipped bit in a value, and here it could make a session last or name another holder.  So each transaction
writes a checksum of all rows, which are few, and the opening and the next transaction compare it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tmrld.errors import StorageError

_LOOKS, _LOOK_S = 5, 0.1
_LEAST_BYTES = 512
"""The smallest page that SQLite has."""
_DIGEST = "CREATE TABLE IF NOT EXISTS digest (one INTEGER PRIMARY KEY CHECK (one = 1), sha256 TEXT NOT NULL) STRICT"
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'digest' AND name NOT LIKE 'sqlite_%' ORDER BY name"


class PrivateDatabase:
    """One open file.

    ``migrations`` are lists of statements; number k takes schema k to k + 1 (`PRAGMA user_version`), all in one transaction.
    """

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]]) -> None:
        """Raises `StorageError` if the file cannot be opened, is not such a store, is damaged, or of a newer tmrld."""
        self._path = path
        self._lock = threading.Lock()
        with self._reporting():
            if _is_left_empty(path):
                raise self._damaged("next to nothing is left of it")
            _create_private(path)
            self._connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._begin(migrations)
            except BaseException:
                self._connection.close()
                raise

    def _begin(self, migrations: Sequence[Sequence[str]]) -> None:
        """Check what is there, and bring it up to date."""
        self._connection.execute("BEGIN IMMEDIATE")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise StorageError(
                f"the token store {self._path} was written by a newer tmrld (schema {version}; this one knows schemas up to "
                f"{len(migrations)}): upgrade tmrld"
            )
        if version:
            self._check()
        if version < len(migrations):
            for statement in (statement for migration in migrations[version:] for statement in migration):
                self._connection.execute(statement)
            self._connection.execute(_DIGEST)
            self._connection.execute(f"PRAGMA user_version = {len(migrations)}")
            self._note_digest()
        self._connection.execute("COMMIT")

    def execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Run one statement, which is a transaction of its own, and return its rows.

        Raises `StorageError`, and `sqlite3.IntegrityError` for a row that may not be.
        """
        if not statement.lstrip().startswith(("SELECT", "PRAGMA")):
            with self.transaction() as change:
                return change.execute(statement, values).fetchall()
        with self._lock, self._reporting():
            return self._connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several statements that happen together or not at all, and beside which nobody else writes.  Raises as `execute`."""
        with self._lock, self._reporting():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._check()
                yield self._connection
                self._note_digest()
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

    def _check(self) -> None:
        """Raises StorageError where a value is not as it was written."""
        row = self._connection.execute("SELECT sha256 FROM digest").fetchone()
        if row is None or row[0] != self._digest():
            raise self._damaged("its content does not match its checksum")

    def _note_digest(self) -> None:
        self._connection.execute("INSERT OR REPLACE INTO digest VALUES (1, ?)", (self._digest(),))

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for (table,) in self._connection.execute(_TABLES).fetchall():
            digest.update(f"{table}\n".encode())
            for row in self._connection.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2'):  # noqa: S608 - a table of ours
                digest.update(f"{row!r}\n".encode(errors="surrogatepass"))
        return digest.hexdigest()

    def _damaged(self, why: str) -> StorageError:
        return StorageError(
            f"the token store {self._path} is damaged: {why}. Restore it from a backup; or remove it, with the files beside it "
            "that begin with its name: then tokens, invites and sign-ins are made anew, and every node has to join again"
        )

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except UnicodeDecodeError as error:
            raise self._damaged(str(error)) from error
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged(str(error)) from error
            raise StorageError(f"the token store {self._path} cannot be used: {error}") from error


def _is_left_empty(path: Path) -> bool:
    """Whether there is a file with too little in it, which nobody has just made to write into it: SQLite would begin anew."""
    for _ in range(_LOOKS):
        if not path.exists() or path.stat().st_size >= _LEAST_BYTES:
            return False
        time.sleep(_LOOK_S)
    return True


def _create_private(path: Path) -> None:
    """Make sure that the file exists and, where the system knows such things, is for its owner alone.  SQLite's files beside it
    take over its permissions."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if os.name == "posix":
        path.chmod(0o600)
