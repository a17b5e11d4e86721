"""The configuration of runs: its schema, its history, and how it is changed."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import Body, Path, Query

from tmrld import configuration
from tmrld.control.auth import Operator
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import COMMAND, OF_RUN, RunName, TheNode, router
from tmrld.control.schemas.config import Config, Edit, Revision, Revisions, Rollback

log = logging.getLogger(__name__)

routes = router()

_EDIT = documented(*COMMAND, Code.INVALID_CONFIG)
Number = Annotated[int, Path(description="Number of the revision.", ge=1, le=2**31)]
Base = Annotated[int, Query(description="The newest revision, as the author has seen it.", ge=1, le=2**31)]


@routes.get("/schema", tags=["configuration"])
async def schema() -> dict[str, Any]:
    """The JSON Schema of a run's configuration.

    Beside what JSON Schema has, each field says with `x-applies` what a change does to a run that has begun (`live`, `restart` or
    `new-run`), and with `x-unit` in which unit it counts.
    """
    return configuration.schema()


@routes.get("/runs/{run}/config", tags=["configuration"], responses=documented(*OF_RUN))
async def config(node: TheNode, run: RunName) -> Config:
    """The newest revision of a run's configuration."""
    return Config.model_validate(await node.steering.config(run))


@routes.patch("/runs/{run}/config", tags=["configuration"], responses=_EDIT)
async def patch_config(
    node: TheNode,
    grant: Operator,
    run: RunName,
    revision: Base,
    patch: Annotated[dict[str, Any], Body(description="A merge patch (RFC 7396); null gives a field its default back.")],
    dry_run: Annotated[bool, Query(description="Only say what the edit would do.")] = False,
) -> Edit:
    """Change a run's configuration.  Needs the scope operator.

    An edit that cannot be used changes nothing; neither does one against a revision that is not the newest any more.
    """
    log.info("%s edits the configuration of %s at revision %d%s", grant.name, run, revision, " (dry run)" if dry_run else "")
    return Edit.model_validate(await node.steering.patch(run, patch, revision, grant.name, dry_run=dry_run))


@routes.get("/runs/{run}/config/revisions", tags=["configuration"], responses=documented(*OF_RUN))
async def revisions(node: TheNode, run: RunName) -> Revisions:
    """The history of a run's configuration, the newest first."""
    return Revisions(items=[Revision.model_validate(view) for view in await node.steering.history(run)])


@routes.get("/runs/{run}/config/revisions/{number}", tags=["configuration"], responses=documented(*OF_RUN))
async def revision(node: TheNode, run: RunName, number: Number) -> Config:
    """A run's configuration at one revision."""
    return Config.model_validate(await node.steering.config(run, number))


@routes.post("/runs/{run}/config/rollback", tags=["configuration"], responses=_EDIT)
async def roll_back(node: TheNode, grant: Operator, run: RunName, body: Rollback) -> Edit:
    """Give a run the configuration again that it had, as a new revision.  Needs the scope operator."""
    log.info("%s rolls the configuration of %s back to revision %d", grant.name, run, body.to)
    return Edit.model_validate(await node.steering.rollback(run, body.to, body.revision, grant.name))
