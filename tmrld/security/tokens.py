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

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tmrld.errors import BadInput, Conflict, NotFound
from tmrld.security.database import PrivateDatabase
from tmrld.security.files import explained, write_private

PEOPLE = ("viewer", "operator", "admin")
"""The scopes of people and scripts, from least to most."""
NODES = ("worker", "trainer")
"""The scopes of nodes."""
SCOPES = (*PEOPLE, *NODES)

_FIRST = (
    """
CREATE TABLE IF NOT EXISTS tokens (
    name TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created REAL NOT NULL
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS former_names (
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (hash, name)
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS sessions (
    hash TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS invites (
    id TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    name TEXT,
    hash TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    used_by TEXT,
    token_hash TEXT
) STRICT
""",
)
_MIGRATIONS = (_FIRST,)
"""The first store had no schema number, and some of these tables: both become schema 1, which an older tmrld can still read."""
_INSERT = "INSERT INTO tokens VALUES (?, ?, ?, ?)"
_REPLACE = "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?)"
RESERVED = ("relay",)
"""Names that nobody may have."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Grant:
    """Whom a token was made for, and what it allows.  ``former`` are the names that it had before."""

    name: str
    scope: str
    former: tuple[str, ...] = ()
    token_hash: str = field(default="", compare=False, repr=False)

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


def check_new_name(name: str) -> str:
    """The same for one that somebody is to be called from now on."""
    if check_name(name) in RESERVED:
        raise BadInput(f"{name!r} is what the relay itself is called, in logs for example: choose another name")
    return name


def make_token(scope: str) -> str:
    """A new random token.  The prefix lets people and secret scanners see what it is."""
    return f"tmrld_{scope}_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """What is stored of a token: SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


LOCAL_ADMIN = "local-admin"


class TokenStore:
    """The tokens of a relay, in a file that only its owner can read.

    A change counts from the next `check` on, whichever process made it.  `sessions` and `invites` keep theirs in the same file.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises `StorageError` if the file cannot be opened or is not a token store."""
        self._clock = clock
        self.database = PrivateDatabase(path, _MIGRATIONS)

    def issue(self, name: str, scope: str, replace: bool = False) -> str:
        """Make a token for ``name`` and return it, the only time it is seen.

        ``replace`` makes the name's former token worthless; without it a name that has one raises `Conflict`.
        Raises `BadInput` for a name or scope that cannot be.
        """
        check_new_name(name)
        if scope not in SCOPES:
            raise BadInput(f"{scope!r} is no scope: expected one of {', '.join(SCOPES)}")
        token = make_token(scope)
        try:
            with self.database.transaction() as change:
                change.execute(_REPLACE if replace else _INSERT, (name, scope, hash_token(token), self._clock()))
                belongs_anew(change, name)
        except sqlite3.IntegrityError:
            raise Conflict(f"there is a token for {name!r} already: choose another name, or replace it") from None
        return token

    def check(self, token: str) -> Grant | None:
        """Whom this token was made for; None if it is not, or no longer, one of ours."""
        return self.grant_of(hash_token(token))

    def grant_of(self, wanted: str) -> Grant | None:
        """The same for the hash of a token."""
        rows = self.database.execute(
            "SELECT t.name, t.scope, t.hash, f.name FROM tokens t LEFT JOIN former_names f ON f.hash = t.hash "
            "WHERE t.hash = ? ORDER BY f.name",
            wanted,
        )
        if rows and hmac.compare_digest(rows[0][2], wanted):
            return Grant(rows[0][0], rows[0][1], tuple(row[3] for row in rows if row[3] is not None), wanted)
        return None

    def rename(self, name: str, new: str) -> None:
        """Call the holder of a token something else; the token stays good, and its holder may go on using the old name, until
        somebody else is given that.

        Raises `BadInput` for a name that cannot be, `NotFound` and `Conflict`.
        """
        check_new_name(new)
        try:
            with self.database.transaction() as change:
                row = change.execute("UPDATE tokens SET name = ? WHERE name = ? RETURNING hash", (new, name)).fetchone()
                if row is None:
                    raise NotFound(f"there is no token for {name[:80]!r}")
                change.execute("INSERT OR IGNORE INTO former_names VALUES (?, ?)", (row[0], name))
                belongs_anew(change, new)
        except sqlite3.IntegrityError:
            raise Conflict(f"there is a token for {new!r} already: choose another name") from None

    def revoke(self, name: str) -> None:
        """Make the token of ``name`` worthless.  Raises `NotFound` if there is none."""
        if not self.database.execute("DELETE FROM tokens WHERE name = ? RETURNING name", name):
            raise NotFound(f"there is no token for {name[:80]!r}")

    def list(self) -> tuple[TokenRecord, ...]:
        """All tokens by name."""
        rows = self.database.execute("SELECT name, scope, created FROM tokens ORDER BY name")
        return tuple(TokenRecord(*row) for row in rows)

    def holders(self) -> dict[str, str]:
        """The name of whoever holds a token, by the token's hash."""
        return dict(self.database.execute("SELECT hash, name FROM tokens"))

    def close(self) -> None:
        """May be called twice."""
        self.database.close()


def belongs_anew(change: sqlite3.Connection, name: str) -> None:
    """Somebody is called so from now on: whoever was before may not use the name any more."""
    change.execute("DELETE FROM former_names WHERE name = ?", (name,))


def admin_token(path: Path, store: TokenStore) -> str:
    """The admin's token in this file, for programs of the relay's owner on its machine; made if there is none, or a revoked one.

    Raises `StorageError` for a file that cannot be read or written, `DiskFull` when there is no room.
    """
    try:
        token = path.read_text("ascii", errors="replace").strip() if path.exists() else ""
        grant = store.check(token) if token else None
        if grant is None or grant.scope != "admin":
            token = store.issue(LOCAL_ADMIN, "admin", replace=True)
            write_private(path, f"{token}\n".encode())
    except OSError as error:
        raise explained(error, path, f"the token for this machine's command line cannot be kept in {path}") from error
    return token
