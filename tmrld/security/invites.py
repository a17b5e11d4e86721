"""Invites: one line that lets a new machine join, once and not for long.

An invite holds all that the machine needs: the relay's address, the hash of its public key, the role, and a secret of 256 random
bits.  It reads ``tmrld1.`` and base64url of::

    role (1 byte) | SHA-256 of the relay's public key (32) | secret (32) | host:port | first 4 bytes of the SHA-256 of all before

so that a slip in copying is noticed before anybody is asked.  The machine makes its own credential and shows the relay nothing but
the hash of it, together with the secret.  An answer that gets lost does no harm, therefore: the same machine may ask again with
the same hash, and nobody else ever may.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from tmrld.errors import BadInput, Conflict, NotFound, Refused
from tmrld.security.tokens import NODES, RESERVED, Grant, TokenStore, belongs_anew, check_name, check_new_name, hash_token

PREFIX = "tmrld1."
KEEP_S = 7 * 24 * 3600.0
"""How long invites that were used or ran out are still listed."""

_SECRET_BYTES = _PIN_BYTES = 32
_CHECK_BYTES = 4
_FIXED_BYTES = 1 + _PIN_BYTES + _SECRET_BYTES + _CHECK_BYTES
_MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class Invite:
    """What an invite says.  ``address`` is host:port of the relay's port for peers, ``pin`` as `tls.check_pin` spells it."""

    address: str
    role: str
    pin: str
    secret: str

    def __repr__(self) -> str:
        return f"Invite({self.address!r}, {self.role!r}, {self.pin!r})"  # without the secret

    def text(self) -> str:
        """The line to paste."""
        body = bytes([NODES.index(self.role)]) + bytes.fromhex(self.pin.removeprefix("sha256:"))
        body += _decoded(self.secret) + self.address.encode()
        return PREFIX + _encoded(body + hashlib.sha256(body).digest()[:_CHECK_BYTES])

    @classmethod
    def parse(cls, text: str) -> Invite:
        """Read such a line; spaces and line breaks in it do no harm.  Raises `BadInput`."""
        line = "".join(text.split())
        if not line.startswith(PREFIX):
            raise BadInput(f"this is no invite: expected a line that begins with {PREFIX}, as `tmrld invite` prints it")
        try:
            data = _decoded(line.removeprefix(PREFIX)) if len(line) <= _MOST_CHARACTERS else b""
        except ValueError:
            data = b""
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        if len(data) <= _FIXED_BYTES or hashlib.sha256(body).digest()[:_CHECK_BYTES] != check or body[0] >= len(NODES):
            raise BadInput("the invite was cut short or mistyped: copy the whole line again, from its beginning to its end")
        return cls(
            address=body[1 + _PIN_BYTES + _SECRET_BYTES :].decode(errors="replace"),
            role=NODES[body[0]],
            pin=f"sha256:{body[1 : 1 + _PIN_BYTES].hex()}",
            secret=_encoded(body[1 + _PIN_BYTES : 1 + _PIN_BYTES + _SECRET_BYTES]),
        )


@dataclass(frozen=True)
class InviteRecord:
    """An invite as it is listed: everything but the secret.  Times are in seconds since 1970."""

    id: str
    role: str
    name: str | None
    created: float
    expires: float
    used_by: str | None


class Invites:
    """The invites of a relay, in the file of its tokens."""

    def __init__(self, tokens: TokenStore, clock: Callable[[], float] = time.time) -> None:
        self._database = tokens.database
        self._clock = clock

    def make(self, role: str, name: str | None, expires_s: float) -> tuple[InviteRecord, str]:
        """A new invite, and its secret, the only time it is seen.

        With ``name`` the machine will be called so; otherwise as it likes.  Raises `BadInput`, and `Conflict` for a name that a
        token has already.
        """
        if role not in NODES:
            raise BadInput(f"{role[:80]!r} is no role that a machine can be invited for: expected {' or '.join(NODES)}")
        secret, now = _encoded(secrets.token_bytes(_SECRET_BYTES)), self._clock()
        record = InviteRecord(secrets.token_hex(4), role, name, now, now + expires_s, None)
        with self._database.transaction() as change:
            change.execute("DELETE FROM invites WHERE expires < ?", (now - KEEP_S,))
            if name is not None and _is_taken(change, check_new_name(name)):
                raise Conflict(f"there is a {name!r} already: choose another name, or revoke that one first")
            change.execute(
                "INSERT INTO invites VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                (record.id, role, name, hash_token(secret), now, record.expires),
            )
        return record, secret

    def list(self) -> tuple[InviteRecord, ...]:
        """All invites, the newest first."""
        rows = self._database.execute("SELECT id, role, name, created, expires, used_by FROM invites ORDER BY created DESC, id")
        return tuple(InviteRecord(*row) for row in rows)

    def revoke(self, id: str) -> None:
        """Make an invite worthless; whoever has joined with it stays.  Raises `NotFound`."""
        if not self._database.execute("DELETE FROM invites WHERE id = ? RETURNING id", id):
            raise NotFound(f"there is no invite {id[:80]!r}")

    def use(self, secret: str, wish: str, token_hash: str) -> Grant:
        """Let in the machine that shows this secret: the token with the hash that it brings is one of ours from now on.

        ``wish`` is what it would like to be called; a number is added if somebody is called so.  Of two machines that come at once
        one gets in.  Raises `Refused`, with the sentence for the person at that machine, and `BadInput` for a wish that is no name.
        """
        check_name(wish)
        now = self._clock()
        with self._database.transaction() as change:
            row = change.execute(
                "SELECT id, role, name, expires, used_by, token_hash FROM invites WHERE hash = ?", (hash_token(secret),)
            ).fetchone()
            if row is None:
                raise Refused(
                    "this relay does not know the invite: it was revoked, or made by another relay; ask for a new one"
                )
            id, role, name, expires, used_by, used_with = row
            if used_by is not None:
                same = change.execute("SELECT name FROM tokens WHERE hash = ?", (token_hash,)).fetchone()
                if same is not None and used_with == token_hash:
                    return Grant(same[0], role)
                raise Refused(f"the invite was used already, by {used_by}: each lets one machine in; ask for a new one")
            if expires <= now:
                raise Refused(f"the invite ran out {_ago(now - expires)} ago: ask for a new one")
            if name is not None and _is_taken(change, name):
                raise Refused(f"the invite is for {name}, and there is one of that name already: ask for a new invite")
            free = (each for each in _spellings(wish, role) if each not in RESERVED and not _is_taken(change, each))
            given = name or next(free)
            change.execute("UPDATE invites SET used_by = ?, token_hash = ? WHERE id = ?", (given, token_hash, id))
            try:
                change.execute("INSERT INTO tokens VALUES (?, ?, ?, ?)", (given, role, token_hash, now))
            except sqlite3.IntegrityError:
                raise Refused("this credential is in use already: try again, to make another") from None
            belongs_anew(change, given)
        return Grant(given, role)


def _is_taken(view: sqlite3.Connection, name: str) -> bool:
    return view.execute("SELECT 1 FROM tokens WHERE name = ?", (name,)).fetchone() is not None


def _spellings(wish: str, role: str) -> list[str]:
    """What a machine may be called that would like this name, best first; more than there can be tokens of."""
    return [wish, f"{wish[:56]}-{role}", *(f"{wish[:56]}-{number}" for number in range(2, 10_000))]


def _ago(seconds: float) -> str:
    """A duration in words, roughly."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Raises ValueError for what is no base64url."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
