"""The newest log lines: of a node, and of those who work for a run."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import OF_RUN, RunName, TheNode, router
from tmrld.control.schemas.logs import Log, LogLine

routes = router()

Limit = Annotated[int, Query(description="At most this many lines.", ge=1, le=1000)]


@routes.get("/nodes/{name}/log", tags=["nodes"], responses=documented(Code.NOT_FOUND, Code.INVALID_REQUEST))
async def node_log(
    node: TheNode,
    name: Annotated[str, Path(description="Name of the node; `relay` is the relay's own daemon.", max_length=200)],
    limit: Limit = 200,
) -> Log:
    """The newest log lines of a node and its engine, oldest first."""
    return Log(items=[LogLine.model_validate(line) for line in await node.log(name, limit)])


@routes.get("/runs/{run}/log", tags=["results"], responses=documented(*OF_RUN))
async def run_log(node: TheNode, run: RunName, limit: Limit = 200) -> Log:
    """The newest log lines of the nodes that work for a run, oldest first."""
    return Log(items=[LogLine.model_validate(line) for line in await node.run_log(run, limit)])
