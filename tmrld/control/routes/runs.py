"""Runs: what there is, and the commands to them."""

from __future__ import annotations

import logging

from tmrld import node as nodes
from tmrld.control.auth import Operator
from tmrld.control.problems import documented
from tmrld.control.routes.common import COMMAND, OF_RUN, RunName, TheNode, router
from tmrld.control.schemas.runs import Run, Runs
from tmrld.security.tokens import Grant

log = logging.getLogger(__name__)

routes = router()


@routes.get("/runs", tags=["runs"])
async def runs(node: TheNode) -> Runs:
    """All runs at a glance."""
    return Runs(items=[Run.model_validate(view) for view in await node.runs()])


@routes.get("/runs/{run}", tags=["runs"], responses=documented(*OF_RUN))
async def run(node: TheNode, run: RunName) -> Run:
    """One run at a glance."""
    return Run.model_validate(await node.run(run))


async def _move(node: nodes.Node, grant: Grant, run: str, verb: str) -> Run:
    log.info("%s asks the run %s to %s", grant.name, run, verb)
    return Run.model_validate(await node.move_run(run, verb))


@routes.post("/runs/{run}/start", tags=["runs"], responses=documented(*COMMAND))
async def start_run(node: TheNode, grant: Operator, run: RunName) -> Run:
    """Start a run.  Needs the scope operator."""
    return await _move(node, grant, run, "start")


@routes.post("/runs/{run}/pause", tags=["runs"], responses=documented(*COMMAND))
async def pause_run(node: TheNode, grant: Operator, run: RunName) -> Run:
    """Pause a run: nothing is driven or learned until it is resumed.  Needs the scope operator."""
    return await _move(node, grant, run, "pause")


@routes.post("/runs/{run}/resume", tags=["runs"], responses=documented(*COMMAND))
async def resume_run(node: TheNode, grant: Operator, run: RunName) -> Run:
    """Go on with a run that is paused.  Needs the scope operator."""
    return await _move(node, grant, run, "resume")


@routes.post("/runs/{run}/stop", tags=["runs"], responses=documented(*COMMAND))
async def stop_run(node: TheNode, grant: Operator, run: RunName) -> Run:
    """Stop a run; its samples, weights and checkpoints stay.  Needs the scope operator."""
    return await _move(node, grant, run, "stop")
