"""Browsers that sign in: cookies, one-time codes, origins; and what admins do with tokens and invites."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.control.conftest import Api
from tests.control.test_live import Browser, run
from tmrld.security.invites import Invite
from tmrld.security.tokens import hash_token

HERE = "http://127.0.0.1:7400"


class Page:
    """A browser that keeps its cookies and says where its page came from."""

    def __init__(self, api: Api, origin: str | None = HERE, base: str = HERE) -> None:
        self._api = api
        self._origin = origin
        self._base = base
        self.cookies = httpx.Cookies()

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self._api.app, client=("127.0.0.1", 50000))
            headers = {} if self._origin is None else {"origin": self._origin}
            async with httpx.AsyncClient(transport=transport, base_url=self._base, cookies=self.cookies) as http:
                response = await http.request(method, f"/api/v1/{path}", json=body, headers=headers)
                self.cookies = http.cookies
                return response

        return asyncio.run(exchange())

    def sign_in(self, scope: str = "operator") -> httpx.Response:
        return self.ask("POST", "login", {"token": self._api.tokens[scope]})

    def elsewhere(self, origin: str | None) -> Page:
        """Another page in the same browser."""
        other = Page(self._api, origin, self._base)
        other.cookies = self.cookies
        return other

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


@pytest.fixture
def page(api: Api) -> Page:
    return Page(api)


# Signing in and out


def test_a_browser_signs_in_with_a_token_and_out_again(page: Page) -> None:
    response = page.sign_in()
    assert response.status_code == 200
    body = response.json()
    assert (body["name"], body["scope"]) == ("operator", "operator")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("tmrld_session=")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="))
    assert "Secure" not in cookie
    assert page.ask("GET", "session").json() == body
    assert page.ask("GET", "runs").status_code == 200
    before = page.elsewhere(HERE)
    assert page.ask("POST", "logout").status_code == 204
    assert page.ask("GET", "session").status_code == 401
    assert before.ask("GET", "session").json()["code"] == "unauthenticated"


def test_over_https_the_cookie_is_for_https_alone(api: Api) -> None:
    page = Page(api, "https://relay.example", "https://relay.example")
    assert "Secure" in page.sign_in().headers["set-cookie"]
    assert page.ask("POST", "runs/demo/stop").status_code == 200


def test_a_one_time_code_signs_in_once(api: Api, page: Page) -> None:
    code = api.access.codes.new(hash_token(api.tokens["admin"]))
    assert page.ask("POST", "login", {"code": code}).json()["scope"] == "admin"
    again = Page(api).ask("POST", "login", {"code": code})
    assert (again.status_code, again.json()["code"]) == (401, "unauthenticated")
    assert "used already, or ran out" in again.json()["detail"]


def test_whoever_is_signed_in_may_have_a_code_for_another_browser(api: Api, page: Page) -> None:
    page.sign_in("viewer")
    code = page.ask("POST", "codes").json()["code"]
    assert Page(api).ask("POST", "login", {"code": code}).json()["scope"] == "viewer"


@pytest.mark.parametrize("body", [{}, {"token": "a", "code": "b"}, {"token": ""}, {"password": "x"}])
def test_signing_in_takes_a_token_or_a_code(page: Page, body: dict[str, str]) -> None:
    assert page.ask("POST", "login", body).json()["code"] == "invalid_request"


def test_wrong_codes_and_tokens_make_their_source_wait(page: Page) -> None:
    for body in ({"code": "guess"}, {"token": "guess"}, {"code": "again"}):
        assert page.ask("POST", "login", body).status_code == 401
    assert page.sign_in().status_code == 429


def test_a_node_cannot_sign_in(page: Page) -> None:
    assert page.sign_in("worker").status_code == 403


def test_a_session_may_what_its_token_may(page: Page) -> None:
    page.sign_in("viewer")
    response = page.ask("POST", "runs/demo/stop")
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


def test_a_session_ends_with_its_token(api: Api, page: Page) -> None:
    page.sign_in("viewer")
    api.store.revoke("viewer")
    assert page.ask("GET", "runs").status_code == 401


def test_an_old_cookie_is_no_attempt(api: Api, page: Page) -> None:
    page.sign_in("viewer")
    api.store.issue("viewer", "viewer", replace=True)
    for _ in range(5):
        assert page.ask("GET", "runs").status_code == 401
    assert page.sign_in("operator").status_code == 200


# Origins


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:7401", "https://127.0.0.1:7400"])
def test_with_a_cookie_only_pages_of_this_server_change_anything(api: Api, page: Page, origin: str | None) -> None:
    page.sign_in()
    other = page.elsewhere(origin)
    for method, path in (("POST", "runs/demo/stop"), ("POST", "logout"), ("DELETE", "tokens/viewer")):
        response = other.ask(method, path)
        assert (response.status_code, response.json()["code"]) == (403, "wrong_origin")
    assert api.node.moves == []
    assert other.ask("GET", "runs").status_code == 200
    assert page.ask("POST", "runs/demo/stop").status_code == 200


def test_other_pages_cannot_sign_a_browser_in(api: Api) -> None:
    assert Page(api, "http://evil.example").sign_in().json()["code"] == "wrong_origin"
    assert Page(api, None).sign_in().status_code == 200  # a script


def test_a_bearer_token_needs_no_origin(api: Api) -> None:
    assert api.post("runs/demo/stop", origin="http://evil.example").status_code == 200


def test_the_live_stream_takes_the_cookie_from_pages_of_this_server(api: Api, page: Page) -> None:
    page.sign_in("viewer")

    def listening(origin: str) -> Browser:
        browser = Browser(api, token="")
        headers: Any = browser.scope["headers"]
        headers += [(b"cookie", page.cookie.encode()), (b"origin", origin.encode())]
        return browser

    async def story() -> None:
        async with listening("http://localhost") as ours:
            assert (await ours.next())["kind"] == "hello"
            async with listening("http://evil.example") as theirs:
                assert (await theirs.closed())[0] == 4403
            await api.access.revoke_token("viewer")
            assert await ours.closed() == (4401, "the session has ended")

    run(story)


# Tokens and invites


ADMIN = [
    ("GET", "tokens"),
    ("POST", "tokens"),
    ("DELETE", "tokens/viewer"),
    ("GET", "invites"),
    ("POST", "invites"),
    ("DELETE", "invites/1"),
    ("PATCH", "nodes/gamer"),
    ("DELETE", "nodes/gamer"),
]


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_access_is_the_admins_business(page: Page, method: str, path: str) -> None:
    page.sign_in("operator")
    body = {"name": "x", "scope": "viewer", "role": "worker"} if method in ("POST", "PATCH") else None
    assert page.ask(method, path, body).json()["code"] in ("forbidden", "invalid_request")
    assert page.ask(method, path, None).status_code in (403, 422)


def test_an_admin_makes_and_revokes_tokens(api: Api, page: Page) -> None:
    page.sign_in("admin")
    made = page.ask("POST", "tokens", {"name": "ann", "scope": "viewer"})
    assert made.status_code == 201
    api.tokens["ann"] = made.json()["token"]
    assert api.get("runs", token="ann").status_code == 200
    assert "ann" in {token["name"] for token in page.ask("GET", "tokens").json()["items"]}
    assert page.ask("POST", "tokens", {"name": "ann", "scope": "viewer"}).status_code == 409
    assert page.ask("DELETE", "tokens/ann").status_code == 204
    assert api.get("runs", token="ann").status_code == 401
    assert page.ask("DELETE", "tokens/ann").status_code == 404


def test_an_admin_makes_and_revokes_invites(page: Page) -> None:
    page.sign_in("admin")
    response = page.ask("POST", "invites", {"role": "worker", "address": "relay.example"})
    assert response.status_code == 201
    made = response.json()
    assert Invite.parse(made["invite"]).address == "relay.example:7401"
    assert made["command"] == f"tmrld join {made['invite']}"
    (listed,) = page.ask("GET", "invites").json()["items"]
    assert (listed["id"], listed["role"], listed["used_by"]) == (made["id"], "worker", None)
    assert made["invite"] not in str(listed)
    assert page.ask("DELETE", f"invites/{made['id']}").status_code == 204
    assert page.ask("GET", "invites").json()["items"] == []
    assert page.ask("POST", "invites", {"role": "worker", "address": "a b"}).json()["code"] == "bad_input"


def test_an_admin_renames_and_revokes_nodes_and_an_operator_commands_engines(api: Api, page: Page) -> None:
    api.store.issue("gamer", "worker")
    page.sign_in("admin")
    assert page.ask("PATCH", "nodes/gamer", {"name": "lab"}).json()["name"] == "lab"
    assert page.ask("PATCH", "nodes/gamer", {"name": "x"}).status_code == 404
    assert page.ask("PATCH", "nodes/lab", {"name": "worker"}).status_code == 409
    assert page.ask("DELETE", "nodes/lab").status_code == 204
    assert page.ask("DELETE", "nodes/lab").status_code == 404
    for verb in ("start", "stop", "restart"):
        assert page.ask("POST", f"nodes/gamer/{verb}").json()["name"] == "gamer"
    assert api.node.moves[-3:] == [("gamer", "start"), ("gamer", "stop"), ("gamer", "restart")]
