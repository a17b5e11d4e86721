"""Invites: one line that lets a new machine join."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import Path

from tmrld.control.auth import Admin
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import TheAccess, router
from tmrld.control.schemas.invites import Invite, Invites, MadeInvite, NewInvite

log = logging.getLogger(__name__)

routes = router()


@routes.get("/invites", tags=["invites"])
async def invites(access: TheAccess, grant: Admin) -> Invites:
    """The invites of the last days, the newest first, without their secrets.  Needs the scope admin."""
    return Invites(items=[Invite.model_validate(record) for record in await access.invites()])


@routes.post(
    "/invites",
    tags=["invites"],
    status_code=201,
    responses=documented(Code.BAD_INPUT, Code.INVALID_REQUEST, Code.CONFLICT, Code.UNAVAILABLE),
)
async def make_invite(access: TheAccess, grant: Admin, body: NewInvite) -> MadeInvite:
    """Make an invite; it is told this once, lets one machine join, and runs out.  Needs the scope admin."""
    made = await access.invite(body.role, body.name, body.expires_s, body.address)
    log.info("%s has made an invite for a %s", grant.name, body.role)
    return MadeInvite.model_validate(made)


@routes.delete("/invites/{id}", tags=["invites"], status_code=204, responses=documented(Code.NOT_FOUND, Code.INVALID_REQUEST))
async def revoke_invite(
    access: TheAccess, grant: Admin, id: Annotated[str, Path(description="Id of the invite.", max_length=200)]
) -> None:
    """Make an invite worthless; a machine that has joined with it stays.  Needs the scope admin."""
    await access.revoke_invite(id)
    log.info("%s revokes the invite %s", grant.name, id)
