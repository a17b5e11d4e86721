"""Who is asking, and what they may do: a bearer token with every request (RFC 6750), or the cookie of a browser that is signed in.

A token is sent in a header and never in an address.  The cookie is another matter, because a browser sends it by itself, whoever
wrote the page that makes the request.  Threat: a page of evil.example lets its visitor's browser delete a run here.  The cookie is
``SameSite=Strict``, which keeps it from requests of other sites; other ports of this machine are the same site to a browser, so
whatever changes something, and the live stream, also needs an ``Origin`` that is this server's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from tmrld.access import Access
from tmrld.control.connections import ADMITTED
from tmrld.control.problems import Code, ProblemError
from tmrld.errors import StorageError
from tmrld.security.attempts import Attempts, source_of
from tmrld.security.sessions import Session
from tmrld.security.tokens import Grant

log = logging.getLogger(__name__)

CHALLENGE = {"WWW-Authenticate": "Bearer"}
COOKIE = "tmrld_session"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""That change nothing (RFC 9110, section 9.2.1)."""

T = TypeVar("T")

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_PAGE_SCHEMES = {"ws": "http", "wss": "https"}

_BEARER = HTTPBearer(
    scheme_name="token",
    description="A token with the scope viewer, operator or admin, as `tmrld token new` prints it.",
    auto_error=False,
)
_COOKIE = APIKeyCookie(
    name=COOKIE, scheme_name="session", description="The cookie of a browser that is signed in.", auto_error=False
)


@dataclass(frozen=True)
class Asking:
    """Whoever is asking.  ``expires`` is when their session ends, and ``secret`` what it is known by; None and "" for a token."""

    grant: Grant
    expires: float | None = None
    secret: str = field(default="", repr=False)


class Guard:
    """Admits whoever has a token that is wide enough, or a session of one; makes a source that tries wrong ones wait."""

    def __init__(
        self,
        access: Access,
        attempts: Attempts | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._attempts = attempts or Attempts()
        self._clock = clock
        self._wall_clock = wall_clock

    def admit(self, token: str, address: str, scope: str) -> Grant:
        """Whom the token is for.  Raises `ProblemError` if it does not allow what ``scope`` allows, or the source has to wait."""
        self._check_patience(address)
        if not token:
            raise ProblemError(
                Code.UNAUTHENTICATED, "a token is needed: send the header `Authorization: Bearer TOKEN`", CHALLENGE
            )
        grant = self._checked(lambda: self._access.store.check(token))
        if grant is None:
            self._failed(address, "token")
            raise ProblemError(
                Code.UNAUTHENTICATED,
                "this token is not known here: it was mistyped, revoked or replaced; `tmrld token new` makes one",
                CHALLENGE,
            )
        return _wide_enough(grant, scope)

    def admit_asker(self, connection: HTTPConnection, token: str, scope: str) -> Asking:
        """Whoever sends this request: with ``token`` if there is one, otherwise with the session in its cookie.

        A session's secret cannot be guessed, and an old one is no attempt: a page that was open meanwhile still has it.
        """
        asking = self._asker(connection, token, scope)
        admitted = connection.scope.get("state", {}).get(ADMITTED)
        if admitted is not None:
            admitted()
        return asking

    def _asker(self, connection: HTTPConnection, token: str, scope: str) -> Asking:
        secret = connection.cookies.get(COOKIE, "")
        if token or not secret:
            return Asking(self.admit(token, client_address(connection), scope))
        self._check_patience(client_address(connection))
        session = self._checked(lambda: self._access.sessions.check(secret))
        if session is None:
            raise ProblemError(Code.UNAUTHENTICATED, "this browser is not signed in any more: sign in again", CHALLENGE)
        if connection.scope["type"] == "websocket" or connection.scope["method"] not in SAFE_METHODS:
            check_origin(connection)
        return Asking(_wide_enough(session.grant, scope), session.expires, secret)

    async def until_unwelcome(self, asking: Asking) -> None:
        """Wait until whoever was admitted may no longer be here; then raises `ProblemError`."""
        while True:
            change = self._access.next_change()
            if not self._is_welcome(asking):
                ended = "the token of this stream was revoked or replaced" if not asking.secret else "the session has ended"
                raise ProblemError(Code.UNAUTHENTICATED, ended)
            left_s = None if asking.expires is None else max(0.0, asking.expires - self._wall_clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await change.wait()

    def _is_welcome(self, asking: Asking) -> bool:
        if asking.secret:
            return self._checked(lambda: self._access.sessions.check(asking.secret)) is not None
        return self._checked(lambda: self._access.store.grant_of(asking.grant.token_hash)) is not None

    # Browsers

    def sign_in(self, token: str, code: str, address: str) -> tuple[str, Session]:
        """A new session of whoever has this token or one-time code, and its secret for the cookie.  Raises `ProblemError`."""
        if token:
            token_hash = self.admit(token, address, "viewer").token_hash
        else:
            self._check_patience(address)
            token_hash = self._access.codes.use(code) or ""
            if not token_hash:
                self._failed(address, "one-time code")
                raise ProblemError(
                    Code.UNAUTHENTICATED,
                    "this one-time code was used already, or ran out: start `tmrld open` on the relay's machine for another, "
                    "or sign in with a token",
                )
        secret, expires = self._checked(lambda: self._access.sessions.begin(token_hash))
        grant = self._checked(lambda: self._access.store.grant_of(token_hash))
        if grant is None:
            raise ProblemError(Code.UNAUTHENTICATED, "the token behind this code was revoked: sign in with another one")
        return secret, Session(grant, expires)

    def sign_out(self, secret: str) -> None:
        """End a session."""
        self._checked(lambda: self._access.sessions.end(secret))
        self._access.changed()

    def seconds_left(self, session: Session) -> float:
        """How long a session will still last."""
        return max(0.0, session.expires - self._wall_clock())

    def _check_patience(self, address: str) -> None:
        """Raises `ProblemError` if this source has to wait."""
        source = source_of(address)
        wait_s = math.ceil(self._attempts.wait_s(source, self._clock()))
        if wait_s > 0:
            raise ProblemError(
                Code.TOO_MANY_ATTEMPTS,
                f"too many wrong tokens came from {source}: try again in {wait_s} s",
                {"Retry-After": str(wait_s)},
            )

    def _failed(self, address: str, what: str) -> None:
        self._attempts.failed(source_of(address), self._clock())
        log.warning("a wrong %s came from %s", what, address)

    def _checked(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except StorageError as error:
            log.exception("tokens cannot be checked")
            raise ProblemError(Code.STORAGE_ERROR, "tokens cannot be checked now: the relay's log says why") from error


class Requires:
    """A dependency of routes: the request has a token with this scope or a wider one, or a session of one."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    async def __call__(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        _cookie: Annotated[str | None, Security(_COOKIE)],  # for the documentation; the guard reads it
    ) -> Asking:
        guard: Guard = request.app.state.guard
        return guard.admit_asker(request, credentials.credentials if credentials else "", self.scope)


class RequiresGrant(Requires):
    """The same, for routes that ask only for whom it is."""

    async def __call__(  # type: ignore[override]  # FastAPI reads the signature, nobody calls it as a Requires
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        cookie: Annotated[str | None, Security(_COOKIE)],
    ) -> Grant:
        return (await super().__call__(request, credentials, cookie)).grant


Asker = Annotated[Asking, Depends(Requires("viewer"))]
Viewer = Annotated[Grant, Depends(RequiresGrant("viewer"))]
Operator = Annotated[Grant, Depends(RequiresGrant("operator"))]
Admin = Annotated[Grant, Depends(RequiresGrant("admin"))]


def bearer_token(headers: Headers) -> str:
    """The token in the header Authorization; "" for none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def check_origin(connection: HTTPConnection) -> None:
    """Raises `ProblemError` unless the page that makes this request came from here."""
    origin = connection.headers.get("origin", "")
    if not origin or origin != _own_origin(connection):
        raise ProblemError(
            Code.WRONG_ORIGIN,
            f"this request comes from {origin[:80] or 'no page'}, and only pages of this server may use its cookie: scripts send "
            "the header `Authorization: Bearer TOKEN` instead",
        )


def _own_origin(connection: HTTPConnection) -> str:
    """As a browser spells the origin of a page that was loaded from here (RFC 6454, section 6.2)."""
    scheme = connection.url.scheme
    try:
        parts = urlsplit(f"//{connection.headers.get('host', '')}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "nowhere"
    shown = f"[{host}]" if ":" in host else host
    shown += "" if port in (None, _PORTS[scheme]) else f":{port}"
    return f"{_PAGE_SCHEMES.get(scheme, scheme)}://{shown}"


def _wide_enough(grant: Grant, scope: str) -> Grant:
    if not grant.includes(scope):
        raise ProblemError(
            Code.FORBIDDEN,
            f"the token of {grant.name} has the scope {grant.scope}, and this needs {scope}: use another token",
        )
    return grant


def client_address(connection: HTTPConnection) -> str:
    """Where a request comes from; behind a trusted proxy, where the proxy says."""
    return connection.client.host if connection.client else "unknown"
