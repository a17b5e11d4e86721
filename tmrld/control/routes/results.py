"""What a run has brought: metrics, episodes, weights, checkpoints."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from fastapi import Header, Path, Query
from starlette.responses import Response

from tmrld.control import catalogue, csv_text
from tmrld.control.auth import Operator
from tmrld.control.bottleneck import judge
from tmrld.control.downloads import BINARY, Conditions, file_response
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import COMMAND, OF_RUN, RunName, TheNode, router
from tmrld.control.schemas.results import (
    Bottleneck,
    Checkpoint,
    Checkpoints,
    DrivenEpisode,
    Episode,
    Episodes,
    MetricInfo,
    Metrics,
    Series,
    Track,
    Weights,
    WeightsVersions,
)
from tmrld.node import Node
from tmrld.security.tokens import Grant

log = logging.getLogger(__name__)

routes = router()


@routes.get(
    "/runs/{run}/metrics",
    tags=["results"],
    response_model=Metrics,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The curves; as CSV, a line per point."},
        **documented(*OF_RUN, Code.BAD_INPUT),
    },
)
async def metrics(
    node: TheNode,
    run: RunName,
    names: Annotated[
        str,
        Query(
            description="Metrics whose points to return, separated by commas; CSV has all if none is named.", max_length=4000
        ),
    ] = "",
    start: Annotated[int | None, Query(description="First update to return points of.", ge=0, le=2**63 - 1)] = None,
    stop: Annotated[int | None, Query(description="Last update to return points of.", ge=0, le=2**63 - 1)] = None,
    max_points: Annotated[
        int, Query(description="At most this many points per metric; extremes are kept.", ge=4, le=100_000)
    ] = 1000,
    format: Annotated[Literal["json", "csv"], Query(description="In which form to answer.")] = "json",
) -> Metrics | Response:
    """Which metrics the run has and what they mean, and the points of those that are named."""
    known = await node.results.metric_names(run)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if format == "csv" and not wanted:
        wanted = known
    series = await node.results.metrics(run, wanted, start, stop, max_points) if wanted else []
    if format == "csv":
        headers = {"Content-Disposition": f'attachment; filename="{run}-metrics.csv"'}
        return Response(csv_text.curves(series), media_type=csv_text.MEDIA_TYPE, headers=headers)
    info = sorted(map(catalogue.info, known), key=catalogue.place)
    return Metrics(
        run=run,
        names=known,
        info=[MetricInfo.model_validate(entry) for entry in info],
        series=[Series.model_validate(view) for view in series],
    )


@routes.get("/runs/{run}/episodes", tags=["results"], responses=documented(*OF_RUN, Code.BAD_INPUT))
async def episodes(
    node: TheNode,
    run: RunName,
    limit: Annotated[int, Query(description="At most this many.", ge=1, le=1000)] = 50,
    purpose: Annotated[Literal["train", "evaluation"] | None, Query(description="Only those driven for this.")] = None,
    before: Annotated[str | None, Query(description="Go on where a page before said `next`.", max_length=40)] = None,
) -> Episodes:
    """Episodes, the newest first."""
    page = await node.results.episodes(run, limit, purpose, before)
    return Episodes(items=[Episode.model_validate(view) for view in page.items], next=page.next)


@routes.get("/runs/{run}/episodes/{episode}", tags=["results"], responses=documented(*OF_RUN))
async def episode(
    node: TheNode,
    run: RunName,
    episode: Annotated[
        str, Path(description="Its id, `latest`, or `best` for the policy's fastest finished lap.", max_length=200)
    ],
) -> DrivenEpisode:
    """An episode with the line that was driven."""
    return DrivenEpisode.model_validate(await node.results.episode(run, episode))


@routes.get("/runs/{run}/track", tags=["results"], responses=documented(*OF_RUN))
async def track(node: TheNode, run: RunName) -> Track:
    """The track that the run is driven on; 404 while no worker has told it."""
    return Track.model_validate(await node.results.track(run))


@routes.get("/runs/{run}/bottleneck", tags=["results"], responses=documented(*OF_RUN))
async def bottleneck(node: TheNode, run: RunName) -> Bottleneck:
    """Which part of the run holds the others up."""
    asked = await node.run(run)
    working = [view for view in await node.nodes() if view.run == run and view.connected]
    trainer = next((view.values for view in working if view.role == "trainer"), None)
    workers = [view.values for view in working if view.role == "worker"]
    return Bottleneck.model_validate(judge(asked.state, trainer, workers, ailing=asked.problem is not None))


@routes.get("/runs/{run}/weights", tags=["results"], responses=documented(*OF_RUN))
async def weights(node: TheNode, run: RunName) -> WeightsVersions:
    """The stored versions of the policy."""
    return WeightsVersions(items=[Weights.model_validate(view) for view in await node.results.weights(run)])


_Version = Annotated[int, Path(description="Its number.", ge=0, le=2**63 - 1)]


async def _pin(node: Node, grant: Grant, run: str, version: int, pinned: bool) -> Weights:
    log.info("%s %s version %d of the weights of %s", grant.name, "pins" if pinned else "unpins", version, run)
    return Weights.model_validate(await node.results.pin_weights(run, version, pinned))


@routes.post("/runs/{run}/weights/{version}/pin", tags=["results"], responses=documented(*COMMAND))
async def pin_weights(node: TheNode, grant: Operator, run: RunName, version: _Version) -> Weights:
    """Keep a version of the weights for good.  Needs the scope operator."""
    return await _pin(node, grant, run, version, True)


@routes.post("/runs/{run}/weights/{version}/unpin", tags=["results"], responses=documented(*COMMAND))
async def unpin_weights(node: TheNode, grant: Operator, run: RunName, version: _Version) -> Weights:
    """Keep a version no longer than its turn.  Needs the scope operator."""
    return await _pin(node, grant, run, version, False)


@routes.head("/runs/{run}/weights/{version}", include_in_schema=False)
@routes.get(
    "/runs/{run}/weights/{version}",
    tags=["results"],
    response_class=Response,
    responses={
        200: {"description": "The file, in the safetensors format.", **BINARY},
        206: {"description": "The part of it that was asked for.", **BINARY},
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
    file = await node.results.weights_file(run, version)
    headers = {
        "Content-Location": f"/api/v1/runs/{file.run}/weights/{file.version}",
        "Cache-Control": "private, no-cache",
    }
    return file_response(file.data, f'"{file.sha256}"', conditions, headers, f"{file.run}-v{file.version}.safetensors")


@routes.get("/runs/{run}/checkpoints", tags=["results"], responses=documented(*OF_RUN))
async def checkpoints(node: TheNode, run: RunName) -> Checkpoints:
    """The stored states of the training: the newest, the best and the pinned."""
    return Checkpoints(items=[Checkpoint.model_validate(view) for view in await node.results.checkpoints(run)])


_Update = Annotated[int, Path(description="The update at which it was taken.", ge=0, le=2**63 - 1)]


async def _pin_checkpoint(node: Node, grant: Grant, run: str, update: int, pinned: bool) -> Checkpoint:
    log.info("%s %s the checkpoint of %s at update %d", grant.name, "pins" if pinned else "unpins", run, update)
    return Checkpoint.model_validate(await node.results.pin_checkpoint(run, update, pinned))


@routes.post("/runs/{run}/checkpoints/{update}/pin", tags=["results"], responses=documented(*COMMAND))
async def pin_checkpoint(node: TheNode, grant: Operator, run: RunName, update: _Update) -> Checkpoint:
    """Keep a checkpoint for good, and the samples that it needs.  Needs the scope operator."""
    return await _pin_checkpoint(node, grant, run, update, True)


@routes.post("/runs/{run}/checkpoints/{update}/unpin", tags=["results"], responses=documented(*COMMAND))
async def unpin_checkpoint(node: TheNode, grant: Operator, run: RunName, update: _Update) -> Checkpoint:
    """Keep a checkpoint no longer than its turn.  Needs the scope operator."""
    return await _pin_checkpoint(node, grant, run, update, False)


@routes.post("/runs/{run}/checkpoints/{update}/resume", tags=["results"], responses=documented(*COMMAND))
async def resume_checkpoint(
    node: TheNode,
    grant: Operator,
    run: RunName,
    update: _Update,
    fewer_samples: Annotated[
        bool, Query(description="Also when the sample log no longer has all that the replay memory held at this checkpoint.")
    ] = False,
) -> Checkpoint:
    """Lead a run back to a checkpoint: the training goes on from it in a new lineage.  Needs the scope operator.

    Curves, weights and checkpoints that came after it are superseded: hidden, not deleted.  What was collected after it is learned
    from again.  A trainer that is away, or a run that is stopped, goes on from it when it comes or is started.
    """
    log.info("%s asks to lead the run %s back to its checkpoint at update %d", grant.name, run, update)
    return Checkpoint.model_validate(await node.resume_checkpoint(run, update, fewer_samples))
