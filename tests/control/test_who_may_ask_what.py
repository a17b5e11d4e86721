"""Every route of the application × every scope: who may, who may not, and that no page of another server may in a browser's name.

The routes are read from the application.  One that is not in the table below fails the test, and so does one that is gone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest

from tests.control.conftest import Api
from tmrld.control.auth import COOKIE, SAFE_METHODS
from tmrld.control.page import FOLDER
from tmrld.security.sessions import Sessions
from tmrld.security.tokens import PEOPLE

NEEDS: dict[str, str] = {
    "GET /": "",
    "GET /favicon.svg": "",
    "GET /assets/": "",
    "GET /metrics": "viewer",
    "WEBSOCKET /{path:path}": "",  # says that there is no such stream
    "WEBSOCKET live": "viewer",
    "GET live": "",  # says that it is a WebSocket's address
    "GET openapi.json": "",
    "GET health": "",
    "POST login": "",
    "POST logout": "",
    "GET version": "viewer",
    "GET session": "viewer",
    "POST codes": "viewer",
    "GET tokens": "admin",
    "POST tokens": "admin",
    "DELETE tokens/{name}": "admin",
    "GET invites": "admin",
    "POST invites": "admin",
    "DELETE invites/{id}": "admin",
    "GET nodes": "viewer",
    "PATCH nodes/{name}": "admin",
    "DELETE nodes/{name}": "admin",
    "PUT nodes/{name}/assignment": "operator",
    "POST nodes/{name}/start": "operator",
    "POST nodes/{name}/stop": "operator",
    "POST nodes/{name}/restart": "operator",
    "POST nodes/{name}/doctor": "operator",
    "GET nodes/{name}/doctor": "viewer",
    "GET nodes/{name}/log": "viewer",
    "GET storage": "viewer",
    "POST storage/clean": "operator",
    "GET runs": "viewer",
    "POST runs": "operator",
    "GET presets": "viewer",
    "POST runs/{run}/clone": "operator",
    "DELETE runs/{run}": "operator",
    "GET runs/{run}": "viewer",
    "POST runs/{run}/start": "operator",
    "POST runs/{run}/pause": "operator",
    "POST runs/{run}/resume": "operator",
    "POST runs/{run}/stop": "operator",
    "POST runs/{run}/queue": "operator",
    "GET schema": "viewer",
    "GET runs/{run}/config": "viewer",
    "PATCH runs/{run}/config": "operator",
    "GET runs/{run}/config/revisions": "viewer",
    "GET runs/{run}/config/revisions/{number}": "viewer",
    "POST runs/{run}/config/rollback": "operator",
    "GET runs/{run}/metrics": "viewer",
    "GET runs/{run}/episodes": "viewer",
    "GET runs/{run}/episodes/{episode}": "viewer",
    "GET runs/{run}/track": "viewer",
    "GET runs/{run}/bottleneck": "viewer",
    "GET runs/{run}/log": "viewer",
    "GET runs/{run}/weights": "viewer",
    "GET runs/{run}/weights/{version}": "viewer",
    "HEAD runs/{run}/weights/{version}": "viewer",
    "POST runs/{run}/weights/{version}/pin": "operator",
    "POST runs/{run}/weights/{version}/unpin": "operator",
    "GET runs/{run}/checkpoints": "viewer",
    "POST runs/{run}/checkpoints/{update}/pin": "operator",
    "POST runs/{run}/checkpoints/{update}/unpin": "operator",
    "POST runs/{run}/checkpoints/{update}/resume": "operator",
    "GET evaluations": "viewer",
    "POST evaluations": "operator",
    "DELETE evaluations/{id}": "operator",
    "GET leaderboard": "viewer",
    "GET tracks/{name}/line": "viewer",
    "POST runs/{run}/demonstrations": "operator",
    "GET runs/{run}/demonstrations": "viewer",
}
for _kind in ("tracks", "weights", "demonstrations"):
    NEEDS |= {
        f"GET {_kind}": "viewer",
        f"GET {_kind}/{{name}}": "viewer",
        f"GET {_kind}/{{name}}/file": "viewer",
        f"HEAD {_kind}/{{name}}/file": "viewer",
        f"PUT {_kind}/{{name}}": "operator",
        f"DELETE {_kind}/{{name}}": "operator",
    }

BY_ANYBODY = {"POST login", "POST logout", "POST codes"}
"""What changes nothing but who is signed in, and as whom: whoever is asking, no more."""

OF_THE_BUILT_PAGE = {"GET /favicon.svg", "GET /assets/"}

PLACES = {"run": "demo", "name": "gamer", "number": "1", "id": "1", "version": "2", "update": "20", "episode": "e1"}


def walked(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route; FastAPI keeps those of a router within it."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from walked(inner.routes, prefix + route.include_context.prefix)
        else:
            for method in getattr(route, "methods", None) or ("WEBSOCKET",):
                yield method, prefix + route.path


def routes_of(api: Api) -> dict[str, tuple[str, str]]:
    """Every route as the table spells it: without HEAD of what is the same for everybody, and one of the page's assets for all."""
    found = {}
    for method, path in walked(api.app.routes):
        if method == "HEAD" and (path in ("/", "/favicon.svg", "/api/v1/openapi.json") or path.startswith("/assets/")):
            continue
        short = "/assets/" if path.startswith("/assets/") else path.removeprefix("/api/v1/")
        found[f"{method} {short}"] = (method, re.sub(r"{(\w+)}", lambda place: PLACES[place[1]], path))
    return found


def answers(api: Api, routes: dict[str, tuple[str, str]], **headers: str) -> dict[str, tuple[int, str]]:
    """Status and code of the answer to each request."""

    async def exchange() -> dict[str, tuple[int, str]]:
        told = {}
        transport = httpx.ASGITransport(api.app, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7400", headers=headers) as http:
            for route, (method, path) in routes.items():
                http.cookies.clear()
                response = await http.request(method, path, json={"code": "nonsense"} if path.endswith("/login") else None)
                problem = "problem" in response.headers.get("content-type", "") and response.content
                told[route] = (response.status_code, response.json()["code"] if problem else "")
        return told

    return asyncio.run(exchange())


def over_http(api: Api) -> dict[str, tuple[str, str]]:
    return {route: request for route, request in routes_of(api).items() if request[0] != "WEBSOCKET"}


def test_the_table_has_every_route_of_the_application_and_no_other(api: Api) -> None:
    built = (FOLDER / "index.html").is_file()
    assert sorted(routes_of(api)) == sorted(route for route in NEEDS if built or route not in OF_THE_BUILT_PAGE)


def test_whatever_changes_something_needs_more_than_a_look(api: Api) -> None:
    changing = {route for route in NEEDS if route.split()[0] not in (*SAFE_METHODS, "WEBSOCKET")}
    assert {route for route in changing if NEEDS[route] in ("", "viewer")} == BY_ANYBODY


@pytest.mark.parametrize("scope", ["", *PEOPLE, "worker", "trainer"])
def test_each_scope_may_what_the_table_says(api: Api, scope: str) -> None:
    told = answers(api, over_http(api), **({"authorization": f"Bearer {api.tokens[scope]}"} if scope else {}))
    assert told.pop("POST login") == (401, "unauthenticated")  # the code that it was sent is none, whoever is asking
    for route, (status, code) in told.items():
        allowed = not NEEDS[route] or scope in PEOPLE[PEOPLE.index(NEEDS[route]) :]
        if allowed:
            assert status not in (401, 403), route
        else:
            refusal = (403, "forbidden") if scope else (401, "unauthenticated")
            assert (status, code or refusal[1]) == refusal, route  # HEAD has no body that could say the code
    if scope not in ("operator", "admin"):
        assert api.node.moves == []


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:7401", "https://127.0.0.1:7400"])
def test_no_page_of_another_server_changes_anything_in_a_browsers_name(api: Api, origin: str | None) -> None:
    secret, _ = Sessions(api.store).begin(next(iter(api.store.holders())))
    changing = {route: request for route, request in over_http(api).items() if request[0] not in SAFE_METHODS}
    headers = {"cookie": f"{COOKIE}={secret}"} | ({} if origin is None else {"origin": origin})
    for route, told in answers(api, changing, **headers).items():
        if route == "POST login" and origin is None:  # of a script, which has no cookie to be misused
            assert told == (401, "unauthenticated")
        else:
            assert told == (403, "wrong_origin"), route
    assert api.node.moves == []
