"""The REST operations: each checks what came, calls one method of the node and returns a schema."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.responses import Response

from tmrld import __version__
from tmrld.control import schemas
from tmrld.control.auth import Operator, Requires
from tmrld.control.downloads import Conditions, file_response
from tmrld.control.problems import Code, documented
from tmrld.node import Node
from tmrld.security.tokens import Grant

log = logging.getLogger(__name__)

ANYBODY = (Code.INSECURE, Code.WRONG_HOST, Code.INTERNAL_ERROR)
"""Problems that every operation can answer with."""
WITH_TOKEN = (Code.UNAUTHENTICATED, Code.FORBIDDEN, *ANYBODY, Code.TOO_MANY_ATTEMPTS, Code.STORAGE_ERROR)
"""Problems of operations that need a token."""
OF_RUN = (Code.NOT_FOUND, Code.INVALID_REQUEST)
"""Problems of operations on a run."""
MOVE = (*OF_RUN, Code.CONFLICT, Code.UNAVAILABLE, Code.DISK_FULL)
"""Problems of commands to a run."""

open_routes = APIRouter(responses=documented(*ANYBODY))
routes = APIRouter(responses=documented(*WITH_TOKEN), dependencies=[Depends(Requires("viewer"))])


async def _node(request: Request) -> Node:
    node: Node = request.app.state.node
    return node


TheNode = Annotated[Node, Depends(_node)]
RunName = Annotated[str, Path(description="Name of the run.", max_length=200)]


# The daemon


@open_routes.get("/health", tags=["daemon"])
async def health(node: TheNode) -> schemas.Health:
    """Whether the daemon works.  Needs no token."""
    return schemas.Health.model_validate(node.health())


@routes.get("/version", tags=["daemon"])
async def version(node: TheNode) -> schemas.Version:
    """What is running here."""
    return schemas.Version(version=__version__, node=node.name)


@routes.get("/nodes", tags=["nodes"])
async def nodes(node: TheNode) -> schemas.Nodes:
    """The nodes that are connected."""
    return schemas.Nodes(items=[schemas.Node.model_validate(view) for view in node.nodes()])


# Runs


@routes.get("/runs", tags=["runs"])
async def runs(node: TheNode) -> schemas.Runs:
    """All runs at a glance."""
    return schemas.Runs(items=[schemas.Run.model_validate(view) for view in await node.runs()])


@routes.get("/runs/{run}", tags=["runs"], responses=documented(*OF_RUN))
async def run(node: TheNode, run: RunName) -> schemas.Run:
    """One run at a glance."""
    return schemas.Run.model_validate(await node.run(run))


async def _move(node: Node, grant: Grant, run: str, verb: str) -> schemas.Run:
    log.info("%s asks the run %s to %s", grant.name, run, verb)
    return schemas.Run.model_validate(await node.move_run(run, verb))


@routes.post("/runs/{run}/start", tags=["runs"], responses=documented(*MOVE))
async def start_run(node: TheNode, grant: Operator, run: RunName) -> schemas.Run:
    """Start a run.  Needs the scope operator."""
    return await _move(node, grant, run, "start")


@routes.post("/runs/{run}/pause", tags=["runs"], responses=documented(*MOVE))
async def pause_run(node: TheNode, grant: Operator, run: RunName) -> schemas.Run:
    """Pause a run: nothing is driven or learned until it is resumed.  Needs the scope operator."""
    return await _move(node, grant, run, "pause")


@routes.post("/runs/{run}/resume", tags=["runs"], responses=documented(*MOVE))
async def resume_run(node: TheNode, grant: Operator, run: RunName) -> schemas.Run:
    """Go on with a run that is paused.  Needs the scope operator."""
    return await _move(node, grant, run, "resume")


@routes.post("/runs/{run}/stop", tags=["runs"], responses=documented(*MOVE))
async def stop_run(node: TheNode, grant: Operator, run: RunName) -> schemas.Run:
    """Stop a run; its samples, weights and checkpoints stay.  Needs the scope operator."""
    return await _move(node, grant, run, "stop")


# What a run has brought


@routes.get("/runs/{run}/metrics", tags=["results"], responses=documented(*OF_RUN, Code.BAD_INPUT))
async def metrics(
    node: TheNode,
    run: RunName,
    names: Annotated[str, Query(description="Metrics whose points to return, separated by commas.", max_length=4000)] = "",
    start: Annotated[int | None, Query(description="First update to return points of.", ge=0, le=2**63 - 1)] = None,
    stop: Annotated[int | None, Query(description="Last update to return points of.", ge=0, le=2**63 - 1)] = None,
    max_points: Annotated[
        int, Query(description="At most this many points per metric; extremes are kept.", ge=4, le=100_000)
    ] = 1000,
) -> schemas.Metrics:
    """Which metrics the run has, and the points of those that are named."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    series = await node.metrics(run, wanted, start, stop, max_points) if wanted else []
    return schemas.Metrics(
        run=run, names=await node.metric_names(run), series=[schemas.Series.model_validate(view) for view in series]
    )


@routes.get("/runs/{run}/episodes", tags=["results"], responses=documented(*OF_RUN))
async def episodes(
    node: TheNode,
    run: RunName,
    limit: Annotated[int, Query(description="At most this many.", ge=1, le=1000)] = 50,
    purpose: Annotated[Literal["train", "evaluation"] | None, Query(description="Only those driven for this.")] = None,
) -> schemas.Episodes:
    """The newest episodes, the newest first."""
    views = await node.episodes(run, limit, purpose)
    return schemas.Episodes(items=[schemas.Episode.model_validate(view) for view in views])


@routes.get("/runs/{run}/weights", tags=["results"], responses=documented(*OF_RUN))
async def weights(node: TheNode, run: RunName) -> schemas.WeightsVersions:
    """The stored versions of the policy."""
    return schemas.WeightsVersions(items=[schemas.Weights.model_validate(view) for view in await node.weights(run)])


_BINARY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@routes.head("/runs/{run}/weights/{version}", include_in_schema=False)
@routes.get(
    "/runs/{run}/weights/{version}",
    tags=["results"],
    response_class=Response,
    responses={
        200: {"description": "The file, in the safetensors format.", **_BINARY},
        206: {"description": "The part of it that was asked for.", **_BINARY},
        304: {"description": "The file is one of those that `If-None-Match` names."},
        **documented(*OF_RUN, Code.PRECONDITION_FAILED, Code.RANGE_NOT_SATISFIABLE),
    },
)
async def weights_file(
    node: TheNode,
    run: RunName,
    version: Annotated[str, Path(description="A number, `latest` or `best`.", pattern=r"^(latest|best|[0-9]{1,18})$")],
    conditions: Annotated[Conditions, Header()],
) -> Response:
    """Download a version of the policy; `Content-Location` says which one `latest` and `best` are."""
    file = await node.weights_file(run, version)
    headers = {
        "Content-Location": f"/api/v1/runs/{file.run}/weights/{file.version}",
        "Cache-Control": "private, no-cache",
    }
    return file_response(file.data, f'"{file.sha256}"', conditions, headers, f"{file.run}-v{file.version}.safetensors")
