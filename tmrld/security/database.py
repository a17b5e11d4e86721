"""A small SQLite file that only its owner can read: tokens, sessions and invites lie in one.

Several processes may use it at once (the command line beside a running relay), and several threads: SQLite's write-ahead log
orders them.

SQLite does not notice a flipped bit in a value, and here it could make a session last or name another holder.  So each transaction
writes a checksum of all rows, which are few, and the opening and the next transaction compare it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tmrld.errors import DiskFull, StorageError
from tmrld.security.files import explained

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
            remains = _remains(path)  # looked for first: where another process makes the store, it is there before they are
            if not path.exists():
                if remains is not None:  # SQLite would take what it says into the new one
                    raise self._damaged(f"it is gone, but {remains.name} beside it, with what was last written to it, is not")
                _make(path, migrations)
            _tidy(path)
            if path.stat().st_size < _LEAST_BYTES:  # SQLite would begin anew
                raise self._damaged("next to nothing is left of it")
            _keep_private(path)
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
            _migrate(self._connection, migrations, version)
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
                _note_digest(self._connection)
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
        if row is None or row[0] != _digest(self._connection):
            raise self._damaged("its content does not match its checksum")

    def _damaged(self, why: str) -> StorageError:
        return StorageError(
            f"the token store {self._path} is damaged: {why}. Remove it, with the files beside it that begin with its name; then "
            "restore it from a backup, or go on without one: tokens, invites and sign-ins are made anew, and every node has to join "
            "again"
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
            trouble = f"the token store {self._path} cannot be used"
            if isinstance(error, OSError):
                raise explained(error, self._path, trouble) from error
            if _tells_of_no_room(error):
                raise DiskFull(f"Cannot write {self._path}: the disk is full. Free some space.") from error
            raise StorageError(f"{trouble}: {error}") from error


def _make(path: Path, migrations: Sequence[Sequence[str]]) -> None:
    """Make a store in which nothing is: there whole at once, or not at all, as on a full disk.  Another process may be faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            _migrate(connection, migrations, 0)
            connection.execute("COMMIT")
        with contextlib.suppress(FileExistsError):
            _link(new, path)
    finally:
        for left in (new, new.with_name(f"{new.name}-journal")):
            with contextlib.suppress(PermissionError):  # on Windows, where somebody has the store open already: see `_tidy`
                left.unlink(missing_ok=True)


def _remains(path: Path) -> Path | None:
    """What SQLite has written for this store and would take into it when it is opened, if there is such a file."""
    beside = (path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-journal"))
    return next((each for each in beside if each.exists()), None)


def _tidy(path: Path) -> None:
    """Remove names that the store had while it was made, and which a process that was killed then has left."""
    for other in path.parent.glob(f"{glob.escape(path.name)}.????????"):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if other.samefile(path):
                other.unlink()


def _link(new: Path, path: Path) -> None:
    """Give a file its name, unless there is one of that name: FileExistsError."""
    try:
        path.hardlink_to(new)
    except FileExistsError:
        raise
    except OSError:  # a disk that knows no links, as of FAT
        if not path.exists():
            new.replace(path)


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]], version: int) -> None:
    """From that schema to the newest, within a transaction."""
    for statement in (statement for migration in migrations[version:] for statement in migration):
        connection.execute(statement)
    connection.execute(_DIGEST)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    _note_digest(connection)


def _note_digest(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO digest VALUES (1, ?)", (_digest(connection),))


def _digest(connection: sqlite3.Connection) -> str:
    digest = hashlib.sha256()
    for (table,) in connection.execute(_TABLES).fetchall():
        digest.update(f"{table}\n".encode())
        for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2'):  # noqa: S608 - a table of ours
            digest.update(f"{row!r}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _tells_of_no_room(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


def _keep_private(path: Path) -> None:
    """For its owner alone, where the system knows such things.  SQLite's files beside it take over its permissions."""
    if os.name == "posix":
        path.chmod(0o600)
