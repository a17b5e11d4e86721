import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.control.conftest import Api
from tmrld.control.gate import MOST_BODY_BYTES, MOST_OF_STRANGER_BYTES, host_name, is_loopback


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:7400", "localhost.", "127.0.0.1:7400", "[::1]:7400", "192.168.1.5", "relay.example:7400"]
)
def test_our_own_names_are_answered(api: Api, host: str) -> None:
    assert api.get("runs", host=host).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:7400", "127.0.0.1.evil.example", "", "::1"])
def test_a_name_that_could_be_rebound_is_refused(api: Api, host: str) -> None:
    assert api.get("health", token="", host=host).json()["code"] == "wrong_host"


def test_over_https_any_name_will_do(api: Api) -> None:
    assert api.get("runs", base="https://relay.somewhere.example", client="203.0.113.7").status_code == 200


def test_plain_http_is_for_this_machine(api: Api) -> None:
    assert api.get("runs", client="::1").status_code == 200
    response = api.get("runs", client="203.0.113.7")
    assert (response.status_code, response.json()["code"]) == (403, "insecure")


@pytest.mark.parametrize("path", ["health", "nothing", "runs/other"])
def test_every_response_tells_browsers_to_be_strict(api: Api, path: str) -> None:
    headers = api.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_weights_may_be_kept_and_asked_about(api: Api) -> None:
    assert api.get("runs/demo/weights/2").headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "evaluations"), ("POST", "runs"), ("POST", "login"), ("PUT", "tracks/x")]
)
def test_no_stranger_has_a_body_read_to_its_end(api: Api, method: str, path: str) -> None:
    for token in ("", "wrong"):
        response, read = sent_without_end(api, method, path, token)
        assert response.json()["code"] == "unauthenticated"
        assert read <= MOST_OF_STRANGER_BYTES + 2**14


@pytest.mark.parametrize(("method", "path"), [("POST", "evaluations"), ("POST", "runs")])
def test_not_even_an_admin_has_a_body_read_without_end(api: Api, method: str, path: str) -> None:
    response, read = sent_without_end(api, method, path, "admin")
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert read <= MOST_BODY_BYTES + 2**14


def sent_without_end(api: Api, method: str, path: str, token: str) -> tuple[httpx.Response, int]:
    """The answer to a request whose body does not end, and how much of that was read."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 64 * 2**20:
            read += 2**14
            yield bytes(2**14)

    async def exchange() -> httpx.Response:
        transport = httpx.ASGITransport(api.app)
        headers = {"authorization": f"Bearer {api.tokens[token]}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7400", headers=headers) as http:
            return await http.request(method, f"/api/v1/{path}", content=endless())

    return asyncio.run(exchange()), read


def test_hosts_are_taken_apart() -> None:
    assert [host_name(host) for host in ("A.b:1", "a.", "[::1]:1", "[::1]", "127.0.0.1:1")] == [
        "a.b",
        "a",
        "::1",
        "::1",
        "127.0.0.1",
    ]


def test_loopback_has_several_spellings() -> None:
    assert all(is_loopback(address) for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"))
    assert not any(is_loopback(address) for address in ("", "localhost", "0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1"))
