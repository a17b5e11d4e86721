"""What a run has brought: metrics, episodes, weights."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Header, Path, Query
from starlette.responses import Response

from tmrld.control.downloads import Conditions, file_response
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import OF_RUN, RunName, TheNode, router
from tmrld.control.schemas.results import Episode, Episodes, Metrics, Series, Weights, WeightsVersions

routes = router()


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
) -> Metrics:
    """Which metrics the run has, and the points of those that are named."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    series = await node.metrics(run, wanted, start, stop, max_points) if wanted else []
    return Metrics(run=run, names=await node.metric_names(run), series=[Series.model_validate(view) for view in series])


@routes.get("/runs/{run}/episodes", tags=["results"], responses=documented(*OF_RUN))
async def episodes(
    node: TheNode,
    run: RunName,
    limit: Annotated[int, Query(description="At most this many.", ge=1, le=1000)] = 50,
    purpose: Annotated[Literal["train", "evaluation"] | None, Query(description="Only those driven for this.")] = None,
) -> Episodes:
    """The newest episodes, the newest first."""
    views = await node.episodes(run, limit, purpose)
    return Episodes(items=[Episode.model_validate(view) for view in views])


@routes.get("/runs/{run}/weights", tags=["results"], responses=documented(*OF_RUN))
async def weights(node: TheNode, run: RunName) -> WeightsVersions:
    """The stored versions of the policy."""
    return WeightsVersions(items=[Weights.model_validate(view) for view in await node.weights(run)])


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
