"""Runs: what there is, and the commands to them."""

from __future__ import annotations

import logging

from tmrld import node as nodes
from tmrld.control.auth import Operator
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import COMMAND, OF_RUN, RunName, TheNode, router
from tmrld.control.schemas.runs import NewClone, NewRun, Preset, Presets, Run, Runs
from tmrld.security.tokens import Grant

log = logging.getLogger(__name__)

routes = router()


@routes.get("/runs", tags=["runs"])
async def runs(node: TheNode) -> Runs:
    """All runs at a glance."""
    return Runs(items=[Run.model_validate(view) for view in await node.runs()])


@routes.get("/presets", tags=["runs"])
async def presets(node: TheNode) -> Presets:
    """Runs that are ready to be made."""
    items = [
        Preset(name=each.name, title=each.title, description=each.description, config=config)
        for each, config in node.steering.presets()
    ]
    return Presets(items=items)


_CREATE = documented(*COMMAND, Code.BAD_INPUT, Code.INVALID_CONFIG)


@routes.post("/runs", tags=["runs"], status_code=201, responses=_CREATE)
async def create_run(node: TheNode, grant: Operator, body: NewRun) -> Run:
    """Make a run from a preset and a merge patch over it.  Needs the scope operator."""
    log.info("%s makes the run %s (start: %s)", grant.name, body.name, body.start)
    await node.steering.create(body.name, body.preset, body.config, body.start, grant.name)
    return Run.model_validate(await node.run(body.name))


@routes.post("/runs/{run}/clone", tags=["runs"], status_code=201, responses=_CREATE)
async def clone_run(node: TheNode, grant: Operator, run: RunName, body: NewClone) -> Run:
    """Make a run with the configuration of this one; it learns from nothing.  Needs the scope operator."""
    log.info("%s clones the run %s as %s (start: %s)", grant.name, run, body.name, body.start)
    await node.steering.clone(run, body.name, body.config, body.start, grant.name)
    return Run.model_validate(await node.run(body.name))


@routes.delete("/runs/{run}", tags=["runs"], status_code=204, responses=documented(*COMMAND))
async def delete_run(node: TheNode, grant: Operator, run: RunName) -> None:
    """Delete a run that is not active, with its samples, curves, weights and checkpoints.  Needs the scope operator."""
    log.info("%s deletes the run %s", grant.name, run)
    await node.steering.delete(run)


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


@routes.post("/runs/{run}/queue", tags=["runs"], responses=documented(*COMMAND))
async def queue_run(node: TheNode, grant: Operator, run: RunName) -> Run:
    """Start a run as soon as a trainer has nothing to do.  Needs the scope operator."""
    return await _move(node, grant, run, "queue")
