"""The live stream: what happens on this node, as JSON messages on a WebSocket at ``/api/v1/live?topics=run,metrics``.

``topics`` chooses what is told, everything but ``preview`` by default; with ``run=NAME`` only what concerns that run, or none.
The topic ``preview`` needs a run: while somebody listens, its workers send pictures of what they see.

Messages
--------
``{"kind": "hello", "version": …, "node": …, "topics": […], "stream": …, "number": …}``
    comes first: what is running here, and what this stream will tell: events after ``number``.
``{"kind": "gap"}``
    comes second where a client wants to go on after an event that is forgotten: it has to ask for everything again.
``{"kind": "event", "number": …, "time": …, "topic": …, "run": …, "data": {…}}``
    something happened; ``number`` grows, ``time`` is seconds since 1970, ``run`` is "" when it concerns none.
``{"kind": "dropped", "count": …}``
    that many events are missing here, because the reader was too slow: the newest are kept.  Of the states of one thing
    (metrics of a run, a node, a preview) a slow reader gets the newest alone, and those before do not count.

A client that lost its connection says what it had last: ``since=NUMBER&stream=STREAM`` has it told all that it missed, as long as
that is remembered.  A stream's numbers end with the daemon that counted them.

What the client sends is not looked at.  The token comes in the header ``Authorization: Bearer TOKEN``; a page cannot set that one:
it has the cookie of its session, or offers two subprotocols, ``tmrld.live.v1`` and ``tmrld.bearer.TOKEN``, of which the first is
chosen.

The stream is closed with a sentence and 4000 plus the HTTP status that would say the same: 4400 unknown topic or number, 4401 no
token or a wrong one (also one that is revoked meanwhile), 4403 a token of a node, or a page of another server, 4404 no such run,
4429 too many wrong tokens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.websockets import WebSocket, WebSocketDisconnect

from tmrld import __version__
from tmrld.control.auth import Guard, bearer_token, client_address
from tmrld.control.problems import Code, ProblemError, close_stream
from tmrld.errors import NotFound
from tmrld.events import TOPICS, Event, Subscription
from tmrld.node import Node

log = logging.getLogger(__name__)

DEFAULT_TOPICS = tuple(topic for topic in TOPICS if topic != "preview")
SUBPROTOCOL = "tmrld.live.v1"
BEARER_PREFIX = "tmrld.bearer."
QUEUE_EVENTS = 256
"""Events that wait for one reader: some seconds of a busy node, and a bound on what a stuck browser costs."""
SEND_TIMEOUT_S = 30.0
"""A reader that takes nothing for so long is let go."""

live_routes = APIRouter()


@live_routes.websocket("/live")
async def live(socket: WebSocket) -> None:
    """Tell events until the client goes, is too slow, or may no longer listen."""
    await accept(socket)
    try:
        await _serve(socket)
    except WebSocketDisconnect:
        pass
    except ProblemError as problem:
        await close_stream(socket, problem.code, str(problem))
    except TimeoutError:
        log.info("a reader of live events at %s is let go: it took nothing for %.0f s", client_address(socket), SEND_TIMEOUT_S)
    except Exception:
        log.exception("a stream of live events failed")
        await close_stream(socket, Code.INTERNAL_ERROR, "something went wrong inside; the relay's log says what")


async def accept(socket: WebSocket) -> None:
    """Open the WebSocket, also for a client that is to be told why it is closed: of a refusal a browser tells nothing."""
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)


async def _serve(socket: WebSocket) -> None:
    guard: Guard = socket.app.state.guard
    node: Node = socket.app.state.node
    token = _token(socket)
    asking = guard.admit_asker(socket, token, "viewer")
    topics = _topics(socket)
    run = socket.query_params.get("run", "")
    since = _since(socket)
    with ExitStack() as stack:
        if "preview" in topics:
            stack.enter_context(await _watching(node, run))
        subscription = stack.enter_context(node.feed.subscribe(topics, QUEUE_EVENTS, run=run, sampled=True, since=since))
        goes_on = since is not None and not subscription.gap
        hello = {
            "kind": "hello",
            "version": __version__,
            "node": node.name,
            "topics": topics,
            "stream": node.feed.stream,
            "number": since[1] if since is not None and goes_on else node.feed.number,
        }
        await _send(socket, hello)
        if subscription.gap:
            await _send(socket, {"kind": "gap"})
        await _first_of(_tell(socket, subscription), _listen(socket), guard.until_unwelcome(asking))


async def _tell(socket: WebSocket, subscription: Subscription) -> None:
    """Send events as they come; never returns, raises when the client is gone or too slow."""
    told_dropped = 0
    while True:
        event = await subscription.get()
        if subscription.dropped > told_dropped:
            count, told_dropped = subscription.dropped - told_dropped, subscription.dropped
            await _send(socket, {"kind": "dropped", "count": count})
        await _send(socket, _message(event))


async def _listen(socket: WebSocket) -> None:
    """Read until the client goes."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await socket.send_text(to_json(message, inf_nan_mode="null").decode())


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run these until one ends, then cancel the others; raises what it raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _message(event: Event) -> dict[str, Any]:
    return {
        "kind": "event",
        "number": event.number,
        "time": event.time,
        "topic": event.topic,
        "run": event.run,
        "data": event.data,
    }


def _token(socket: WebSocket) -> str:
    if token := bearer_token(socket.headers):
        return token
    offered = [name.removeprefix(BEARER_PREFIX) for name in socket.scope["subprotocols"] if name.startswith(BEARER_PREFIX)]
    return offered[0] if offered else ""


def _topics(socket: WebSocket) -> list[str]:
    """What the client wants to hear; everything that costs nobody anything if it does not say."""
    said = socket.query_params.get("topics")
    if said is None:
        return list(DEFAULT_TOPICS)
    topics = list(dict.fromkeys(topic.strip() for topic in said.split(",") if topic.strip()))
    for topic in topics:
        if topic not in TOPICS:
            raise ProblemError(Code.BAD_INPUT, f"unknown topic {topic[:20]!r}: the topics are {', '.join(TOPICS)}")
    return topics


def _since(socket: WebSocket) -> tuple[str, int] | None:
    """The stream and number after which the client wants to go on."""
    said = socket.query_params.get("since")
    if said is None:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) < 16):
        raise ProblemError(Code.BAD_INPUT, f"since is {said[:20]!r}, expected the number of an event")
    return socket.query_params.get("stream", ""), int(said)


async def _watching(node: Node, run: str) -> AbstractContextManager[None]:
    """The run's workers send pictures meanwhile."""
    if not run:
        raise ProblemError(Code.BAD_INPUT, "the topic preview needs a run: add run=NAME")
    try:
        return await node.watching(run)
    except NotFound as error:
        raise ProblemError(Code.NOT_FOUND, str(error)) from error
