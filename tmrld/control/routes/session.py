"""Signing a browser in and out: a cookie that stands for a token."""

from __future__ import annotations

import logging

from fastapi import Request, Response

from tmrld.control.auth import COOKIE, Asker, Guard, check_origin, client_address
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import TheAccess, open_router, router
from tmrld.control.schemas.session import Login, OneTimeCode, Session
from tmrld.security.sessions import CODE_S

log = logging.getLogger(__name__)

open_routes = open_router()
routes = router()

_LOGIN = (Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.WRONG_ORIGIN, Code.INVALID_REQUEST, Code.TOO_MANY_ATTEMPTS)


@open_routes.post("/login", tags=["session"], responses=documented(*_LOGIN, Code.STORAGE_ERROR))
async def login(request: Request, response: Response, body: Login) -> Session:
    """Sign a browser in with a token, or with a one-time code as in the address that `tmrld up` opens."""
    if request.headers.get("origin") is not None:
        check_origin(request)
    guard: Guard = request.app.state.guard
    secret, session = guard.sign_in(body.token, body.code, client_address(request))
    log.info("%s signs in from %s", session.grant.name, client_address(request))
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(guard.seconds_left(session)),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return Session(name=session.grant.name, scope=session.grant.scope, expires=session.expires)


@open_routes.post("/logout", tags=["session"], status_code=204, responses=documented(Code.WRONG_ORIGIN, Code.STORAGE_ERROR))
async def logout(request: Request, response: Response) -> None:
    """Sign this browser out; does nothing when it is not signed in."""
    secret = request.cookies.get(COOKIE)
    if secret is not None:
        check_origin(request)
        guard: Guard = request.app.state.guard
        guard.sign_out(secret)
    response.delete_cookie(COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict")


@routes.get("/session", tags=["session"])
async def session(asker: Asker) -> Session:
    """Who is asking; `expires` is null with a bearer token."""
    return Session(name=asker.grant.name, scope=asker.grant.scope, expires=asker.expires)


@routes.post("/codes", tags=["session"], status_code=201)
async def make_code(access: TheAccess, asker: Asker) -> OneTimeCode:
    """A one-time code that signs another browser in as whoever asks."""
    return OneTimeCode(code=access.codes.new(asker.grant.token_hash), expires_s=CODE_S)
