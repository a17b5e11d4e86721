"""Tokens: who may do what, and the end of that."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import Path

from tmrld.control.auth import Admin
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import TheAccess, router
from tmrld.control.schemas.tokens import IssuedToken, NewToken, Token, Tokens

log = logging.getLogger(__name__)

routes = router()


@routes.get("/tokens", tags=["tokens"])
async def tokens(access: TheAccess, grant: Admin) -> Tokens:
    """All tokens, without their secrets.  Needs the scope admin."""
    return Tokens(items=[Token.model_validate(record) for record in await access.tokens()])


@routes.post(
    "/tokens", tags=["tokens"], status_code=201, responses=documented(Code.BAD_INPUT, Code.INVALID_REQUEST, Code.CONFLICT)
)
async def issue_token(access: TheAccess, grant: Admin, body: NewToken) -> IssuedToken:
    """Make a token; it is told this once.  Needs the scope admin."""
    token = await access.issue_token(body.name, body.scope)
    log.info("%s has made a token for %s with the scope %s", grant.name, body.name, body.scope)
    return IssuedToken(name=body.name, scope=body.scope, token=token)


@routes.delete(
    "/tokens/{name}",
    tags=["tokens"],
    status_code=204,
    responses=documented(Code.NOT_FOUND, Code.INVALID_REQUEST, Code.CONFLICT),
)
async def revoke_token(
    access: TheAccess, grant: Admin, name: Annotated[str, Path(description="Name of its holder.", max_length=200)]
) -> None:
    """Make a token worthless: its sessions, streams and links end at once.  Needs the scope admin."""
    await access.revoke_token(name)
    log.info("%s revokes the token of %s", grant.name, name)
