"""Who may: tokens with a name and a scope, stored so that the store is worth nothing to a thief.

A token is ``tmrld_SCOPE_`` and 256 random bits in base64url, shown once, when it is made.  Stored is its SHA-256: with 256
random bits nothing slower is needed, because guessing is hopeless.  Looking a hash up in an index tells an attacker who
measures time nothing about any token; the last comparison takes constant time all the same.

Scopes
------
``viewer`` < ``operator`` < ``admin`` are for people and scripts, each may what the one before may; ``worker`` and ``trainer`` are
for nodes, which may open a peer link in that role and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrld.errors import BadInput, Conflict, NotFound, StorageError

PEOPLE = ("viewer", "operator", "admin")
"""The scopes of people and scripts, from least to most."""
NODES = ("worker", "trainer")
"""The scopes of nodes."""
SCOPES = (*PEOPLE, *NODES)

_TABLE = """
CREATE TABLE IF NOT EXISTS tokens (
    name TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created REAL NOT NULL
) STRICT
"""
_INSERT = "INSERT INTO tokens VALUES (?, ?, ?, ?)"
_REPLACE = "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?)"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Grant:
    """Whom a token was made for, and what it allows."""

    name: str
    scope: str

    def includes(self, scope: str) -> bool:
        """Whether this allows what ``scope`` allows: the scope itself, or for people one below it."""
        if self.scope in PEOPLE and scope in PEOPLE:
            return PEOPLE.index(self.scope) >= PEOPLE.index(scope)
        return self.scope == scope


@dataclass(frozen=True)
class TokenRecord:
    """A token as it is listed: everything but the token.  ``created`` is in seconds since 1970."""

    name: str
    scope: str
    created: float


def check_name(name: str) -> str:
    """The name, if a node or token can be called that.  Raises `BadInput`."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} cannot be a name: expected 1 to 64 letters, digits, dots, dashes or underscores, "
            "beginning with a letter or digit"
        )
    return name


def make_token(scope: str) -> str:
    """A new random token.  The prefix lets people and secret scanners see what it is."""
    return f"tmrld_{scope}_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """What is stored of a token: SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class TokenStore:
    """The tokens of a relay, in a small SQLite file of their own that only its owner can read.

    Several processes may use it at once (the command line beside a running relay), and several threads: SQLite's write-ahead
    log orders them, and a change counts from the next `check` on.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises `StorageError` if the file cannot be opened or is not a token store."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        with self._reporting():
            _create_private(path)
            self._database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute(_TABLE)
            except sqlite3.Error:
                self._database.close()
                raise

    def issue(self, name: str, scope: str, replace: bool = False) -> str:
        """Make a token for ``name`` and return it, the only time it is seen.

        ``replace`` makes the name's former token worthless; without it a name that has one raises `Conflict`.
        Raises `BadInput` for a name or scope that cannot be.
        """
        check_name(name)
        if scope not in SCOPES:
            raise BadInput(f"{scope!r} is no scope: expected one of {', '.join(SCOPES)}")
        token = make_token(scope)
        try:
            self._execute(_REPLACE if replace else _INSERT, name, scope, hash_token(token), self._clock())
        except sqlite3.IntegrityError:
            raise Conflict(f"there is a token for {name!r} already: choose another name, or replace it") from None
        return token

    def check(self, token: str) -> Grant | None:
        """Whom this token was made for; None if it is not, or no longer, one of ours."""
        wanted = hash_token(token)
        rows = self._execute("SELECT name, scope, hash FROM tokens WHERE hash = ?", wanted)
        if rows and hmac.compare_digest(rows[0][2], wanted):
            return Grant(rows[0][0], rows[0][1])
        return None

    def revoke(self, name: str) -> None:
        """Make the token of ``name`` worthless.  Raises `NotFound` if there is none."""
        if not self._execute("DELETE FROM tokens WHERE name = ? RETURNING name", name):
            raise NotFound(f"there is no token for {name[:80]!r}")

    def list(self) -> tuple[TokenRecord, ...]:
        """All tokens by name."""
        rows = self._execute("SELECT name, scope, created FROM tokens ORDER BY name")
        return tuple(TokenRecord(*row) for row in rows)

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            self._database.close()

    def _execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Run one statement, which is a transaction of its own, and return its rows."""
        with self._lock, self._reporting():
            return self._database.execute(statement, values).fetchall()

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
