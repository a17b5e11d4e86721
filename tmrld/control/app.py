"""The control API as one ASGI application: routes, errors, documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.openapi.utils import get_openapi

from tmrld import __version__
from tmrld.access import Access
from tmrld.control import live, problems
from tmrld.control.auth import Guard
from tmrld.control.gate import Gate
from tmrld.control.page import page_routes
from tmrld.control.problems import Code, JsonResponse, ProblemError, close_stream, documented
from tmrld.control.routes import (
    config,
    daemon,
    invites,
    logs,
    nodes,
    prometheus,
    results,
    runs,
    scores,
    session,
    shelf,
    storage,
    tokens,
)
from tmrld.control.routes.common import ANYBODY
from tmrld.node import Node
from tmrld.security.attempts import Attempts

PREFIX = "/api/v1"
ROUTES = (
    daemon.open_routes,
    daemon.routes,
    session.open_routes,
    session.routes,
    tokens.routes,
    invites.routes,
    nodes.routes,
    runs.routes,
    config.routes,
    results.routes,
    scores.routes,
    shelf.routes,
    storage.routes,
    logs.routes,
)

DESCRIPTION = """
Everything that people and scripts can ask of a tmrld relay.

**Tokens.** Every request but `health` and this document needs the header `Authorization: Bearer TOKEN`.
`tmrld token new` makes tokens: a *viewer* may look, an *operator* may also start, pause, resume and stop runs,
an *admin* may do everything. Whoever sends too many wrong tokens has to wait (429, `Retry-After`).

**Browsers** sign in with `login` and get a cookie that stands for a token. With it, whatever changes something needs an `Origin`
that is this server's own.

**Errors** all have one shape, `application/problem+json` (RFC 9457): `code` stays the same between versions and is for
programs, `detail` says what to do and is for people.

**Numbers** that are NaN or infinite are null. Times are seconds since 1970 by the relay's clock; durations end in `_s`.
"""


def create_app(node: Node, access: Access, *, host: str = "127.0.0.1", attempts: Attempts | None = None) -> FastAPI:
    """The API of this node.  ``host`` is a name or address that it is reached at, besides those of loopback."""
    app = FastAPI(
        title="tmrld",
        version=__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=JsonResponse,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.node = node
    app.state.access = access
    app.state.guard = Guard(access, attempts)
    app.add_middleware(Gate, host=host, guard=app.state.guard)
    problems.install(app)
    for router in (*ROUTES, live.live_routes, _live_documentation()):
        app.include_router(router, prefix=PREFIX)
    app.include_router(prometheus.routes)
    app.include_router(page_routes())
    app.add_api_websocket_route("/{path:path}", _no_such_stream)
    app.openapi = _documentation(app)  # type: ignore[method-assign]  # FastAPI's documented way to change it
    return app


async def _no_such_stream(socket: WebSocket) -> None:
    await live.accept(socket)
    await close_stream(socket, Code.NO_SUCH_PATH, f"there is no WebSocket at this path: it is at {PREFIX}/live")


def _live_documentation() -> APIRouter:
    """OpenAPI knows no WebSockets: the stream is described at its address, where plain HTTP is told to upgrade."""
    router = APIRouter(responses=documented(*ANYBODY))

    async def live_stream() -> None:
        detail = f"this is the address of a WebSocket: connect to {PREFIX}/live?topics=run,metrics with a WebSocket client"
        raise ProblemError(Code.UPGRADE_REQUIRED, detail, {"Upgrade": "websocket", "Connection": "Upgrade"})

    router.add_api_route(
        "/live",
        live_stream,
        methods=["GET"],
        tags=["live"],
        summary="Live Stream",
        description=live.__doc__,
        status_code=101,
        response_description="The stream begins.",
        responses=documented(Code.UPGRADE_REQUIRED),
    )
    return router


def _documentation(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The OpenAPI document, with the media type that errors really have.  FastAPI gives every model that of the route."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            for operation in (operation for path in schema["paths"].values() for operation in path.values()):
                for status, response in operation["responses"].items():
                    if int(status) >= 400:
                        response["content"] = {problems.MEDIA_TYPE: next(iter(response["content"].values()))}
            app.openapi_schema = schema
        return app.openapi_schema

    return openapi
