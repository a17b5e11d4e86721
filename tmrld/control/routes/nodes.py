"""The nodes: who is known and connected, what they do, and what they may be told."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import Path

from tmrld.control.auth import Admin, Operator
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import TheAccess, TheNode, router
from tmrld.control.schemas.nodes import Assignment, Examination, NewName, Node, Nodes

log = logging.getLogger(__name__)

routes = router()

NodeName = Annotated[str, Path(description="Name of the node.", max_length=200)]

_OF_NODE = (Code.NOT_FOUND, Code.INVALID_REQUEST)
_COMMAND = (*_OF_NODE, Code.CONFLICT, Code.UNAVAILABLE)


@routes.get("/nodes", tags=["nodes"])
async def nodes(node: TheNode) -> Nodes:
    """The nodes that are known: those that are connected, then those that are away."""
    return Nodes(items=[Node.model_validate(view) for view in await node.nodes()])


@routes.patch("/nodes/{name}", tags=["nodes"], responses=documented(*_COMMAND, Code.BAD_INPUT))
async def rename_node(node: TheNode, access: TheAccess, grant: Admin, name: NodeName, body: NewName) -> Node:
    """Call a node something else.  Its token stays good; it is told its new name.  Needs the scope admin."""
    await access.rename_node(name, body.name)
    log.info("%s calls the node %s %s from now on", grant.name, name, body.name)
    return Node.model_validate(await node.known(body.name))


@routes.delete("/nodes/{name}", tags=["nodes"], status_code=204, responses=documented(*_OF_NODE, Code.CONFLICT))
async def revoke_node(access: TheAccess, grant: Admin, name: NodeName) -> None:
    """Make a node's token worthless, cut its link at once, and forget it.  Needs the scope admin."""
    await access.revoke_node(name)
    log.info("%s revokes the node %s", grant.name, name)


@routes.put("/nodes/{name}/assignment", tags=["nodes"], responses=documented(*_OF_NODE, Code.CONFLICT))
async def assign_node(node: TheNode, grant: Operator, name: NodeName, body: Assignment) -> Node:
    """Give a node to a run, or leave it to the relay again.  A run has one trainer: another one takes over only if told to.

    The former one is told so, and stops.  Needs the scope operator.
    """
    log.info("%s assigns %s to %s", grant.name, name, body.run or "whatever is to be done")
    return Node.model_validate(await node.assign_node(name, body.run, body.take_over))


@routes.post("/nodes/{name}/start", tags=["nodes"], responses=documented(*_COMMAND))
async def start_engine(node: TheNode, grant: Operator, name: NodeName) -> Node:
    """Start the engine of a node that was told to stop it.  Needs the scope operator."""
    log.info("%s asks %s to start its engine", grant.name, name)
    return Node.model_validate(await node.command_node(name, "start"))


@routes.post("/nodes/{name}/stop", tags=["nodes"], responses=documented(*_COMMAND))
async def stop_engine(node: TheNode, grant: Operator, name: NodeName) -> Node:
    """Stop the engine of a node until it is told to start it, or its daemon starts anew.  Needs the scope operator."""
    log.info("%s asks %s to stop its engine", grant.name, name)
    return Node.model_validate(await node.command_node(name, "stop"))


@routes.post("/nodes/{name}/restart", tags=["nodes"], responses=documented(*_COMMAND))
async def restart_engine(node: TheNode, grant: Operator, name: NodeName) -> Node:
    """Stop the engine of a node and start a new one, which goes on where this one was.  Needs the scope operator."""
    log.info("%s asks %s to restart its engine", grant.name, name)
    return Node.model_validate(await node.command_node(name, "restart"))


@routes.post("/nodes/{name}/doctor", tags=["nodes"], responses=documented(*_COMMAND))
async def examine_node(node: TheNode, grant: Operator, name: NodeName) -> Examination:
    """Have a node look what is wrong with its machine, its network and the game; takes up to a minute.  Needs the scope operator.

    A worker that drives the game lets go of it meanwhile.
    """
    log.info("%s asks %s to examine itself", grant.name, name)
    return Examination.model_validate(await node.examine_node(name))


@routes.get("/nodes/{name}/doctor", tags=["nodes"], responses=documented(*_OF_NODE, Code.CONFLICT))
async def examination(node: TheNode, name: NodeName) -> Examination:
    """What the newest examination of a node found, since the relay began."""
    return Examination.model_validate(await node.examination(name))
