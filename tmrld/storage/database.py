"""A SQLite file with a versioned schema: one connection that writes, one that reads, errors that people can read.

SQLite finds pages that cannot be, but not a flipped bit in a value.  So a database that is closed in order is sealed: a checksum of
the whole file lies beside it (``relay.db.seal``) until it is opened again.  After a crash there is no seal, and its structure alone
is checked.  What the crash left in the write-ahead log has checksums of SQLite's own; it silently leaves out what comes after a
damaged place, as if it had never been written, so that is looked for, and told.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tmrld.errors import Damaged, DiskFull, StorageError
from tmrld.storage.files import (
    explaining,
    make_folder,
    make_private,
    read_manifest,
    remove_file,
    replace_file,
    sha256_of_file,
    sync_folder,
    write_manifest,
)

_SEAL_KIND = "tmrld database seal"
_WAL_HEAD = struct.Struct(">16x8s8x")  # sqlite.org/fileformat2.html, section 4.1: the salts, which frames repeat
_WAL_FRAME = struct.Struct(">4xI8s8x")  # size of the database after a commit, or 0; the salts
_log = logging.getLogger(__name__)

_MOST_LOG_BYTES = 4 * 2**20
"""So much of the write-ahead log stays after one large transaction, when all that was in it is in the database."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF  # the low byte of an extended result code (sqlite.org/rescode.html)


class NewerSchema(StorageError):
    """The file was written by a newer version of this program."""


class Database:
    """One SQLite file in WAL mode.

    ``migrations`` are SQL scripts; number k takes schema k to k + 1 (`PRAGMA user_version`).  They run in one transaction: a process
    that is killed meanwhile leaves the old schema.  None can be undone, so the file is copied first, to ``relay.db.schema-K``.
    A newer schema raises NewerSchema, a damaged file Damaged.
    With ``durable`` a transaction survives power loss when it has ended (synchronous FULL); without, the newest ones may be
    gone, never half there (NORMAL), and no copy is made, for the file can be made anew.

    Thread-safe: transactions exclude each other, so do readers, but readers and writers do not wait for each other.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, durable: bool = True) -> None:
        self._path = path
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._durable = durable
        self._closed = False
        make_folder(path.parent)
        whole = _open_seal(path)
        promised = _frames_in_log(path) if durable else 0
        with explaining("open the database", path), self._explaining():
            make_private(path)  # SQLite's files beside it take over its permissions
            self._writer = self._connect()
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute(f"PRAGMA journal_size_limit = {_MOST_LOG_BYTES}")
                self._tell_what_is_lost(promised)
                if not whole:
                    self._check_structure()
                self._sync_as_promised()
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

    def _tell_what_is_lost(self, promised: int) -> None:
        """Say so when SQLite has left out committed pages of the write-ahead log; ``promised`` is how many there were."""
        if promised:
            _, found, _ = self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if found < promised:
                _log.error(
                    "the write-ahead log of %s is damaged: the newest changes, %d pages of %d, are lost; what came before is whole",
                    self._path,
                    promised - max(found, 0),
                    promised,
                )

    def _check_structure(self) -> None:
        (verdict,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Damaged(f"The database {self._path} is damaged ({' '.join(verdict.split())}). Restore it from a backup.")

    def _migrate(self, migrations: Sequence[str]) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        newest = len(migrations)
        if version > newest:
            before = self._copy_of(newest)
            way_back = f", or put {before}, which is as it was before the upgrade, in its place" if before.exists() else ""
            raise NewerSchema(
                f"{self._path} was written by a newer tmrld (schema {version}; this one knows schemas up to {newest}). "
                f"Upgrade tmrld{way_back}."
            )
        if version == newest:
            return
        if version and self._durable:
            self._keep_copy(version)
        scripts = "; ".join(migrations[version:])
        self._writer.executescript(f"BEGIN IMMEDIATE; {scripts}; PRAGMA user_version = {newest}; COMMIT")
        if version:
            _log.info("%s was brought from schema %d to %d", self._path, version, newest)

    def _copy_of(self, version: int) -> Path:
        return self._path.with_name(f"{self._path.name}.schema-{version}")

    def _keep_copy(self, version: int) -> None:
        """Keep the file as it is now, durably; copies of still older schemas go."""
        copy = self._copy_of(version)
        half = copy.with_name(f"{copy.name}.new")
        remove_file(half)
        make_private(half)
        with closing(sqlite3.connect(half, isolation_level=None)) as target:
            self._writer.backup(target)
        with half.open("rb+") as file:
            os.fsync(file.fileno())
        replace_file(half, copy)
        sync_folder(copy.parent)
        for other in self._path.parent.glob(f"{self._path.name}.schema-*"):
            if other != copy:
                remove_file(other)

    @contextmanager
    def transaction(self, *, hurried: bool = False) -> Iterator[sqlite3.Connection]:
        """All of it or nothing: committed at the end, rolled back when an exception passes through.

        A ``hurried`` one does not wait for the disk: it survives power loss once another one has, which did.
        """
        with self._write_lock, self._explaining():
            if hurried:
                self._writer.execute("PRAGMA synchronous = NORMAL")
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
            finally:
                if hurried:
                    self._sync_as_promised()

    def _sync_as_promised(self) -> None:
        self._writer.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of what was committed."""
        with self._read_lock, self._explaining():
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("COMMIT")

    def free_bytes(self) -> int:
        """What pages take that nothing is in; new rows fill them before the file grows."""
        with self.reading() as view:
            (pages,) = view.execute("PRAGMA freelist_count").fetchone()
            (page_bytes,) = view.execute("PRAGMA page_size").fetchone()
            return int(pages) * int(page_bytes)

    def close(self) -> None:
        """Seals it.  May be called twice.  Waits for the transaction and the reader that are under way."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()
            if not self._closed:
                self._closed = True
                with suppress(StorageError):  # without a seal it is only checked less at the next opening
                    _seal(self._path)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # mistakes of ours
        except UnicodeDecodeError as error:  # a text that is none any more
            raise Damaged(f"The database {self._path} is damaged ({error}). Restore it from a backup.") from error
        except sqlite3.DatabaseError as error:
            extended = getattr(error, "sqlite_errorcode", 0)
            code = extended & _PRIMARY_CODE
            if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
                raise DiskFull(f"Cannot write {self._path}: the disk is full. Free some space.") from error
            if code in _DAMAGED:
                raise Damaged(f"The database {self._path} is damaged ({error}). Restore it from a backup.") from error
            raise StorageError(f"Cannot use the database {self._path}: {error}. Check the disk and its permissions.") from error


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def _seal(path: Path) -> None:
    """Seal a database that nobody has open."""
    if not path.with_name(f"{path.name}-wal").exists():
        write_manifest(_seal_of(path), _SEAL_KIND, 1, {"sha256": sha256_of_file(path)})


def _open_seal(path: Path) -> bool:
    """Take the seal off; False where there was none.  Raises Damaged where the file is not the one that was sealed."""
    seal = _seal_of(path)
    if not seal.exists():
        return False
    sealed = ""
    try:
        sealed = str(read_manifest(seal, _SEAL_KIND, 1).get("sha256"))
    except Damaged as error:
        _log.warning("%s  Its database is checked less thoroughly.", error)
    if sealed and (not path.exists() or sha256_of_file(path) != sealed):
        raise Damaged(
            f"The database {path} is damaged: it is not as it was when tmrld closed it. Restore it from a backup; "
            f"if it comes from one, or is to be used as it is, remove {seal}."
        )
    remove_file(seal)
    with explaining("sync", path.parent):
        sync_folder(path.parent)  # or power loss could bring it back beside a file that has changed
    return bool(sealed)


def _frames_in_log(path: Path) -> int:
    """How many pages a process that ended without closing has committed to the write-ahead log; 0 where there is none.

    Frames of an earlier round, which SQLite writes over, have other salts.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not path.exists():
        return 0
    with explaining("read", log), log.open("rb") as file, path.open("rb") as database:
        page_bytes = int.from_bytes(database.read(18)[16:18], "big") or 4096
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        head = file.read(_WAL_HEAD.size)
        if len(head) < _WAL_HEAD.size:
            return 0
        (salts,) = _WAL_HEAD.unpack(head)
        count = last_commit = 0
        while len(frame := file.read(_WAL_FRAME.size)) == _WAL_FRAME.size:
            count += 1
            committed, frames_salts = _WAL_FRAME.unpack(frame)
            if committed and frames_salts == salts:
                last_commit = count
            file.seek(page_bytes, os.SEEK_CUR)
        return last_commit
