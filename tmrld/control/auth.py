"""Who is asking, and what they may do: a bearer token with every request (RFC 6750), in a header and never in an address."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from tmrld.control.problems import Code, ProblemError
from tmrld.errors import StorageError
from tmrld.security.attempts import Attempts, source_of
from tmrld.security.tokens import Grant, TokenStore

log = logging.getLogger(__name__)

CHALLENGE = {"WWW-Authenticate": "Bearer"}

_BEARER = HTTPBearer(
    scheme_name="token",
    description="A token with the scope viewer, operator or admin, as `tmrld token new` prints it.",
    auto_error=False,
)


class Guard:
    """Admits whoever has a token that is wide enough; makes a source that tries wrong ones wait."""

    def __init__(
        self, tokens: TokenStore, attempts: Attempts | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = tokens
        self._attempts = attempts or Attempts()
        self._clock = clock

    def admit(self, token: str, address: str, scope: str) -> Grant:
        """Whom the token is for.  Raises `ProblemError` if it does not allow what ``scope`` allows, or the source has to wait."""
        source, now = source_of(address), self._clock()
        wait_s = math.ceil(self._attempts.wait_s(source, now))
        if wait_s > 0:
            raise ProblemError(
                Code.TOO_MANY_ATTEMPTS,
                f"too many wrong tokens came from {source}: try again in {wait_s} s",
                {"Retry-After": str(wait_s)},
            )
        if not token:
            raise ProblemError(
                Code.UNAUTHENTICATED, "a token is needed: send the header `Authorization: Bearer TOKEN`", CHALLENGE
            )
        grant = self._check(token)
        if grant is None:
            self._attempts.failed(source, now)
            log.warning("a wrong token came from %s", address)
            raise ProblemError(
                Code.UNAUTHENTICATED,
                "this token is not known here: it was mistyped, revoked or replaced; `tmrld token new` makes one",
                CHALLENGE,
            )
        if not grant.includes(scope):
            raise ProblemError(
                Code.FORBIDDEN,
                f"the token of {grant.name} has the scope {grant.scope}, and this needs {scope}: use another token",
            )
        return grant

    def is_valid(self, token: str) -> bool:
        """Whether a token that was admitted has not been revoked since."""
        return self._check(token) is not None

    def _check(self, token: str) -> Grant | None:
        try:
            return self._tokens.check(token)
        except StorageError as error:
            log.exception("tokens cannot be checked")
            raise ProblemError(Code.STORAGE_ERROR, "tokens cannot be checked now: the relay's log says why") from error


class Requires:
    """A dependency of routes: the request has a token with this scope or a wider one."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Grant:
        guard: Guard = request.app.state.guard
        return guard.admit(credentials.credentials if credentials else "", client_address(request), self.scope)


Viewer = Annotated[Grant, Depends(Requires("viewer"))]
Operator = Annotated[Grant, Depends(Requires("operator"))]


def client_address(connection: HTTPConnection) -> str:
    """Where a request comes from; behind a trusted proxy, where the proxy says."""
    return connection.client.host if connection.client else "unknown"
