"""Browsers that are signed in: a session stands for the token that it was begun with, for as long as that one is good.

A session's secret is 256 random bits that only the browser's cookie holds; stored is its SHA-256.  Revoking or replacing the
token ends all its sessions in the same moment.  `OneTimeCodes` let a person in who has no token at hand: the address that
`tmrld up` opens carries one.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tmrld.security.tokens import Grant, TokenStore, hash_token

SESSION_S = 30 * 24 * 3600.0
"""How long a browser stays signed in."""
MOST_SESSIONS = 50
"""Of one token; one more ends the oldest."""
CODE_S = 300.0
"""How long a one-time code may be used."""
MOST_CODES = 100
"""That wait to be used; one more makes the oldest worthless."""


@dataclass(frozen=True)
class Session:
    """Whom a session is for, and when it ends (seconds since 1970)."""

    grant: Grant
    expires: float


class Sessions:
    """The sessions of all tokens in a store, in the same file: they outlive the relay's process."""

    def __init__(self, tokens: TokenStore, clock: Callable[[], float] = time.time) -> None:
        self._tokens = tokens
        self._clock = clock

    def begin(self, token_hash: str) -> tuple[str, float]:
        """Begin a session of the token with this hash: its secret, the only time it is seen, and when it ends."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        with self._tokens.database.transaction() as change:
            change.execute("DELETE FROM sessions WHERE expires <= ? OR token_hash NOT IN (SELECT hash FROM tokens)", (now,))
            change.execute(
                "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE token_hash = ? "
                "ORDER BY created DESC LIMIT -1 OFFSET ?)",
                (token_hash, MOST_SESSIONS - 1),
            )
            change.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (hash_token(secret), token_hash, now, now + SESSION_S))
        return secret, now + SESSION_S

    def check(self, secret: str) -> Session | None:
        """The session with this secret; None if there is none, or no longer."""
        rows = self._tokens.database.execute(
            "SELECT token_hash, expires FROM sessions WHERE hash = ? AND expires > ?", hash_token(secret), self._clock()
        )
        grant = self._tokens.grant_of(rows[0][0]) if rows else None
        return None if grant is None else Session(grant, rows[0][1])

    def end(self, secret: str) -> None:
        """End this session; one that has ended already is fine."""
        self._tokens.database.execute("DELETE FROM sessions WHERE hash = ?", hash_token(secret))


class OneTimeCodes:
    """Codes that sign a browser in, once and soon after they were made.  Kept in memory alone: a restart makes them worthless."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._codes: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def new(self, token_hash: str) -> str:
        """A code that stands for the token with this hash."""
        code = secrets.token_urlsafe(24)
        self._codes[hash_token(code)] = (token_hash, self._clock() + CODE_S)
        if len(self._codes) > MOST_CODES:
            self._codes.popitem(last=False)
        return code

    def use(self, code: str) -> str | None:
        """The hash of the token that this code stands for; None if it was used, ran out, or never was."""
        token_hash, until = self._codes.pop(hash_token(code), ("", 0.0))
        return token_hash if token_hash and self._clock() < until else None
