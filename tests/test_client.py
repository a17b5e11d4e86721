"""The client of the control API against a server that answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tmrld.client import Client
from tmrld.errors import BadInput, Conflict, LinkLost, NotFound, Refused, TmrldError


class Server:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, Any]] = []
        self.answer: tuple[int, Any] = (200, {"ok": True})
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                server.asked.append((self.command, self.path, self.headers.get("Authorization", ""), body))
                status, answer = server.answer
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Content-Location", "/api/v1/runs/demo/weights/7")
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - as the standard library calls them

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_request_has_the_token_the_query_and_the_body(server: Server) -> None:
    client = Client(server.url, "secret")
    assert client.get("runs", "a b/c", limit=5, purpose=None) == {"ok": True}
    client.patch("runs", "x", "config", body={"a": 1}, revision=2, dry_run=True)
    assert server.asked == [
        ("GET", "/api/v1/runs/a%20b%2Fc?limit=5", "Bearer secret", None),
        ("PATCH", "/api/v1/runs/x/config?revision=2&dry_run=true", "Bearer secret", {"a": 1}),
    ]


def test_an_answer_without_a_body_is_none(server: Server) -> None:
    server.answer = (200, b"")
    assert Client(server.url, "").post("x") is None
    assert server.asked[0][2] == ""


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadInput), (401, Refused), (403, Refused), (404, NotFound), (409, Conflict), (422, BadInput), (500, TmrldError)],
)
def test_a_problem_becomes_the_exception_that_it_stands_for(server: Server, status: int, kind: type[TmrldError]) -> None:
    server.answer = (status, {"detail": "this is what happened"})
    with pytest.raises(kind, match="this is what happened"):
        Client(server.url, "secret").get("runs")


def test_without_a_token_the_flags_are_named_that_give_one(server: Server) -> None:
    server.answer = (401, {"detail": "a token is needed: send the header"})
    with pytest.raises(Refused, match=f"relay at {server.url} wants a token.*--token.*--data FOLDER"):
        Client(server.url, "").get("runs")


def test_an_answer_of_something_else_is_named(server: Server) -> None:
    server.answer = (404, b"<html>")
    with pytest.raises(NotFound, match="is that a tmrld relay"):
        Client(server.url, "").get("runs")


def test_a_file_comes_with_the_version_that_it_is(server: Server) -> None:
    server.answer = (200, b"\x00\x01")
    assert Client(server.url, "").download("runs", "demo", "weights", "latest") == (b"\x00\x01", "/api/v1/runs/demo/weights/7")


def test_where_nobody_answers_it_says_what_to_do(server: Server) -> None:
    client = Client("http://127.0.0.1:9", "")
    with pytest.raises(LinkLost, match="start one with `tmrld up`, or give its address with --api"):
        client.get("runs")
    with pytest.raises(LinkLost, match="live stream"):
        list(client.live("run"))


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(BadInput, match="give http://HOST:PORT"):
        Client("ftp://x", "")


def test_a_token_is_never_sent_in_clear_to_another_machine() -> None:
    with pytest.raises(BadInput, match="use https"):
        Client("http://relay.example:7400", "secret")


def test_a_token_is_not_carried_to_where_an_answer_points(server: Server) -> None:
    server.answer = (302, {})
    with pytest.raises(TmrldError):
        Client(server.url, "secret").get("runs")
    assert len(server.asked) == 1


def test_what_the_relay_tells_is_printable(server: Server) -> None:
    client = Client(server.url, "tmrld_x")
    server.answer = (200, {"items": [{"detail": "\x1b[2Jcleared"}]})
    assert client.get("nodes") == {"items": [{"detail": r"\x1b[2Jcleared"}]}
    server.answer = (404, {"detail": "there is no \x1b[2J"})
    with pytest.raises(NotFound, match=r"there is no \\x1b\[2J"):
        client.get("nodes")
