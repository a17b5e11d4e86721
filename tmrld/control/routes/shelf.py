"""The shelf: tracks, weights and demonstrations, each with the same operations."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import Header, Path, Query, Request
from starlette.responses import Response

from tmrld.control.auth import Operator
from tmrld.control.downloads import BINARY, Conditions, file_response
from tmrld.control.problems import Code, ProblemError, documented
from tmrld.control.routes.common import COMMAND, OF_RUN, RunName, TheNode, router
from tmrld.control.schemas.results import Track
from tmrld.control.schemas.shelf import Making, NewDemonstrations, ShelfItem, ShelfItems
from tmrld.security.tokens import Grant
from tmrld.storage.episodes import Choice
from tmrld.storage.shelf import KINDS, MAX_BYTES, MIB

log = logging.getLogger(__name__)

routes = router()

ItemName = Annotated[str, Path(description="Its name.", max_length=200)]
Replace = Annotated[bool, Query(description="Whether it may take the place of another one of that name.")]

_NAMED = (Code.NOT_FOUND, Code.INVALID_REQUEST)
_PUT = (Code.INVALID_REQUEST, Code.BAD_INPUT, Code.CONFLICT, Code.TOO_LARGE, Code.DISK_FULL)
_UPLOAD = {"requestBody": {"required": True, **BINARY}}


def _add(kind: str) -> None:
    """The operations on files of one kind."""
    one = kind if kind == "weights" else kind[:-1]
    path = f"/{kind}/{{name}}"

    @routes.get(f"/{kind}", name=f"list_{kind}", tags=["shelf"], description=f"The {kind} on the shelf.")
    async def items(node: TheNode) -> ShelfItems:
        return ShelfItems(items=[ShelfItem.model_validate(view) for view in await node.stock.items(kind)])

    @routes.get(
        path, name=f"get_{one}", tags=["shelf"], responses=documented(*_NAMED), description=f"What {kind} of this name are."
    )
    async def item(node: TheNode, name: ItemName) -> ShelfItem:
        return ShelfItem.model_validate(await node.stock.item(kind, name))

    @routes.head(f"{path}/file", name=f"look_at_{one}", include_in_schema=False)
    @routes.get(
        f"{path}/file",
        name=f"download_{one}",
        tags=["shelf"],
        response_class=Response,
        responses={
            200: {"description": "The file.", **BINARY},
            206: {"description": "The part of it that was asked for.", **BINARY},
            304: {"description": "The file is one of those that `If-None-Match` names."},
            **documented(*_NAMED, Code.PRECONDITION_FAILED, Code.RANGE_NOT_SATISFIABLE),
        },
        description=f"Download {kind} of this name.",
    )
    async def file(node: TheNode, name: ItemName, conditions: Annotated[Conditions, Header()]) -> Response:
        item, data = await node.stock.file(kind, name)
        headers = {"Cache-Control": "private, no-cache"}
        return file_response(data, f'"{item.sha256}"', conditions, headers, item.file_name)

    @routes.delete(
        path,
        name=f"delete_{one}",
        tags=["shelf"],
        status_code=204,
        responses=documented(*_NAMED, Code.CONFLICT),
        description=f"Take {kind} away that no run at work refers to. Needs the scope operator.",
    )
    async def delete(node: TheNode, grant: Operator, name: ItemName) -> None:
        log.info("%s takes %r from the shelf's %s", grant.name, name[:80], kind)
        await node.stock.delete(kind, name)


def _add_plain_upload(kind: str, what: str) -> None:
    """How weights and demonstrations are put on the shelf: they tell all their facts themselves."""

    @routes.put(
        f"/{kind}/{{name}}",
        name=f"put_{kind if kind == 'weights' else kind[:-1]}",
        tags=["shelf"],
        responses=documented(*_PUT),
        openapi_extra=_UPLOAD,
        description=f"Put {kind} on the shelf: {what}. Needs the scope operator.",
    )
    async def put(node: TheNode, grant: Operator, name: ItemName, request: Request, replace: Replace = False) -> ShelfItem:
        data = await _received(request, kind, name, grant)
        return ShelfItem.model_validate(await node.stock.put(kind, name, data, replace=replace))


for _kind in KINDS:
    _add(_kind)
_add_plain_upload("weights", "a safetensors file that tmrld has exported")
_add_plain_upload("demonstrations", "a file that `tmrld env run --save` or the page has made")


@routes.put("/tracks/{name}", tags=["shelf"], responses=documented(*_PUT), openapi_extra=_UPLOAD)
async def put_track(
    node: TheNode,
    grant: Operator,
    name: ItemName,
    request: Request,
    replace: Replace = False,
    source: Annotated[str, Query(description="Where it comes from.", pattern=r"^[a-z0-9-]{1,40}$")] = "uploaded",
    lap_time_s: Annotated[
        float | None, Query(description="How long the lap took that it was recorded in.", gt=0, le=86_400)
    ] = None,
) -> ShelfItem:
    """Put a track on the shelf: a line as .npy, or as text with x, y, z per line.  Needs the scope operator."""
    data = await _received(request, "tracks", name, grant)
    facts = {"source": source, **({} if lap_time_s is None else {"lap_time_s": lap_time_s})}
    return ShelfItem.model_validate(await node.stock.put("tracks", name, data, facts, replace=replace))


@routes.get("/tracks/{name}/line", tags=["shelf"], responses=documented(*_NAMED))
async def track_line(
    node: TheNode,
    name: ItemName,
    max_points: Annotated[int, Query(description="At most this many points.", ge=2, le=10_000)] = 1000,
) -> Track:
    """The line of a track on the shelf, for a map."""
    line = await node.stock.line(name, max_points)
    return Track(name=name, x=line.points[:, 0].tolist(), z=line.points[:, 1].tolist(), width_m=line.width_m)


@routes.post("/runs/{run}/demonstrations", tags=["shelf"], status_code=202, responses=documented(*COMMAND, Code.BAD_INPUT))
async def make_demonstrations(node: TheNode, grant: Operator, run: RunName, body: NewDemonstrations) -> Making:
    """Begin to put training episodes of a run on the shelf as demonstrations, for other runs to learn from.

    GET says how far that is.  A file has at most 256 MiB, and 2,048 when it is opened.  Needs the scope operator.
    """
    log.info("%s makes the demonstrations %r of the run %s", grant.name, body.name[:80], run)
    choice = Choice(body.first, body.last, body.best_laps, body.finished_only)
    return Making.model_validate(await node.stock.make_demonstrations(run, body.name, choice, replace=body.replace))


@routes.get("/runs/{run}/demonstrations", tags=["shelf"], responses=documented(*OF_RUN))
async def making(node: TheNode, run: RunName) -> Making:
    """What has become of the newest demonstrations that were made of a run; 404 where none were since the relay began."""
    return Making.model_validate(await node.stock.making(run))


async def _received(request: Request, kind: str, name: str, grant: Grant) -> bytes:
    """The body, which is not read further than files of this kind may be long."""
    limit = MAX_BYTES[kind]
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limit:
            raise ProblemError(
                Code.TOO_LARGE, f"the file has more than {limit // MIB} MiB, which is the limit for {kind}: use a smaller one"
            )
    log.info("%s puts %r on the shelf's %s (%d bytes)", grant.name, name[:80], kind, len(data))
    return bytes(data)
