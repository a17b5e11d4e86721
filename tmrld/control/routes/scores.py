"""Evaluations that are published, and the leaderboard."""

from __future__ import annotations

import logging
import math
from typing import Annotated

from fastapi import Path, Query

from tmrld.control.auth import Operator
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import TheNode, router
from tmrld.control.schemas.scores import (
    Board,
    Leaderboard,
    NewEvaluatedEpisode,
    NewEvaluation,
    PublishedEvaluation,
    PublishedEvaluations,
)
from tmrld.scoreboard import WeightsNameView
from tmrld.storage.evaluations import EvaluatedEpisode

log = logging.getLogger(__name__)

routes = router()

_OnTrack = Annotated[str | None, Query(description="Only those on the track of this name.", max_length=200)]


@routes.get("/evaluations", tags=["scores"], responses=documented(Code.INVALID_REQUEST, Code.BAD_INPUT))
async def evaluations(
    node: TheNode,
    track: _OnTrack = None,
    limit: Annotated[int, Query(description="At most this many.", ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(description="Go on where a page before said `next`.", max_length=40)] = None,
) -> PublishedEvaluations:
    """Published evaluations, the newest first."""
    page = await node.scoreboard.evaluations(track, limit, before)
    return PublishedEvaluations(items=[PublishedEvaluation.model_validate(view) for view in page.items], next=page.next)


@routes.post(
    "/evaluations",
    tags=["scores"],
    status_code=201,
    responses=documented(Code.INVALID_REQUEST, Code.BAD_INPUT, Code.DISK_FULL),
)
async def publish_evaluation(node: TheNode, grant: Operator, body: NewEvaluation) -> PublishedEvaluation:
    """Publish episodes, as `tmrld eval --publish` does.  Needs the scope operator."""
    log.info("%s publishes an evaluation of %r on %r", grant.name, body.weights.name, body.track)
    view = await node.scoreboard.publish(
        grant.name,
        WeightsNameView(body.weights.name, body.weights.run, body.weights.version),
        track=body.track,
        environment=body.environment,
        game=body.game,
        protocol=body.protocol,
        perturbed=body.perturbed,
        note=body.note,
        episodes=[_episode(episode) for episode in body.episodes],
    )
    return PublishedEvaluation.model_validate(view)


@routes.delete(
    "/evaluations/{id}",
    tags=["scores"],
    status_code=204,
    responses=documented(Code.NOT_FOUND, Code.INVALID_REQUEST, Code.DISK_FULL),
)
async def delete_evaluation(
    node: TheNode, grant: Operator, id: Annotated[int, Path(description="Its number.", ge=1, lt=2**63)]
) -> None:
    """Take a published evaluation back.  Needs the scope operator."""
    log.info("%s deletes the evaluation %d", grant.name, id)
    await node.scoreboard.delete(id)


@routes.get("/leaderboard", tags=["scores"], responses=documented(Code.INVALID_REQUEST))
async def leaderboard(node: TheNode, track: _OnTrack = None) -> Leaderboard:
    """Who drives best on each track: published evaluations, and of each run the version that did best in its evaluation."""
    return Leaderboard(items=[Board.model_validate(view) for view in await node.scoreboard.leaderboard(track)])


def _episode(body: NewEvaluatedEpisode) -> EvaluatedEpisode:
    known = body.episode_return
    return EvaluatedEpisode(body.finished, body.lap_time_s, math.nan if known is None else known, body.steps, body.seed)
