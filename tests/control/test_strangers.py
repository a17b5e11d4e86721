"""Slow, long and too many requests of whom nobody knows, over real connections."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_node import FakeNode
from tmrld.access import Access
from tmrld.control import connections
from tmrld.control.options import ControlOptions
from tmrld.control.server import ControlServer
from tmrld.security import door
from tmrld.security.crowd import Crowd
from tmrld.security.tls import ensure_identity
from tmrld.security.tokens import TokenStore


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenStore]:
    store = TokenStore(tmp_path / "tokens.db")
    yield store
    store.close()


@contextlib.asynccontextmanager
async def serving(tokens: TokenStore, most: int = 4, **settings: Any) -> AsyncIterator[ControlServer]:
    """A server with room for so many strangers."""
    server = ControlServer(ControlOptions(**{"port": 0, **settings}), FakeNode(), Access(tokens))
    server._door.crowd = Crowd(most=most, most_of_source=most, most_waiting=8)
    await server.start()
    try:
        async with asyncio.timeout(20):
            yield server
    finally:
        await server.close()


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def knock(server: ControlServer, words: bytes = b"", context: ssl.SSLContext | None = None) -> Line:
    reader, writer = await asyncio.open_connection("127.0.0.1", server._port, ssl=context)
    writer.write(words)
    return reader, writer


async def heard(line: Line) -> bytes:
    """All that the server says until it lets go."""
    reader, writer = line
    try:
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def drip(line: Line, words: bytes = b"x") -> None:
    """Send a little, again and again."""
    with contextlib.suppress(OSError):
        while not line[1].is_closing():
            line[1].write(words)
            await line[1].drain()
            await asyncio.sleep(0.02)


HEAD = b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ASK = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\nX: "], ids=["silent", "dripping"])
def test_who_does_not_come_to_the_point_is_let_go(tokens: TokenStore, monkeypatch: pytest.MonkeyPatch, words: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)

    async def scene() -> None:
        async with serving(tokens) as server:
            line = await knock(server, words)
            dripping = asyncio.create_task(drip(line, b"x" if words else b""))
            assert await heard(line) == b""
            dripping.cancel()

    asyncio.run(scene())


def test_the_body_of_a_stranger_is_not_waited_for_for_ever(tokens: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_S", 0.3)

    async def scene() -> None:
        async with serving(tokens) as server:
            line = await knock(server, HEAD + b"Content-Length: 1000\r\n\r\n")
            dripping = asyncio.create_task(drip(line))
            assert await heard(line) == b""
            dripping.cancel()

    asyncio.run(scene())


def test_an_upload_may_take_its_time_but_not_stop(
    tokens: TokenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = tokens.issue("ann", "operator")
    head = f"PUT /api/v1/tracks/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n"

    async def scene() -> None:
        async with serving(tokens) as server:
            line = await knock(server, head.encode())
            while len(server._door.crowd):
                line[1].write(b"x")
                await asyncio.sleep(0.02)
            monkeypatch.setattr(connections, "BODY_S", 0.0)
            for _ in range(5):
                line[1].write(b"x")
                await line[1].drain()
                await asyncio.sleep(0.02)
            monkeypatch.setattr(connections, "PIECE_S", 0.1)
            line[1].write(b"x")
            assert await heard(line) == b""

    asyncio.run(scene())
    assert "failed" not in caplog.text


def test_a_head_without_end_is_refused(tokens: TokenStore) -> None:
    async def scene() -> None:
        async with serving(tokens) as server:
            line = await knock(server, b"GET / HTTP/1.1\r\n" + b"X-Long: yyyyyyyyyy\r\n" * 20_000)
            assert (await heard(line)).startswith((b"HTTP/1.1 400", b""))
            assert (await heard(await knock(server, ASK))).startswith(b"HTTP/1.1 200")

    asyncio.run(scene())


def test_silent_connections_keep_nobody_out_for_long(tokens: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)

    async def scene() -> None:
        async with serving(tokens, most=2) as server:
            silent = [await knock(server) for _ in range(4)]
            assert (await heard(await knock(server, ASK))).startswith(b"HTTP/1.1 200")
            assert [await heard(line) for line in silent] == [b""] * 4

    asyncio.run(scene())


def test_more_than_the_line_holds_are_turned_away_at_once(tokens: TokenStore) -> None:
    async def scene() -> None:
        async with serving(tokens, most=1) as server:
            waiting = [await knock(server) for _ in range(5)]
            assert await heard(await knock(server, ASK)) == b""
            await server.close()
            assert [await heard(line) for line in waiting] == [b""] * 5

    asyncio.run(scene())


def test_who_is_known_is_no_stranger_and_a_stream_is_not_either(tokens: TokenStore) -> None:
    authorization = f"Authorization: Bearer {tokens.issue('ann', 'viewer')}\r\n".encode()
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

    async def scene() -> None:
        async with serving(tokens, most=1) as server:
            known = await knock(server, b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\n" + authorization + b"\r\n")
            assert await known[0].readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
            stream = await knock(
                server, b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n" + upgrade + authorization + b"\r\n"
            )
            assert await stream[0].readuntil(b"\r\n") == b"HTTP/1.1 101 Switching Protocols\r\n"
            await stream[0].readuntil(b"hello")
            assert (await heard(await knock(server, ASK))).startswith(b"HTTP/1.1 200")
            await server.close()
            for line in (known, stream):
                await heard(line)

    asyncio.run(scene())


def test_over_https_the_handshake_has_its_time_and_no_more(
    tokens: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "TLS_S", 0.3)
    identity = ensure_identity(tmp_path)
    context = ssl.create_default_context(cafile=str(identity.certificate))

    async def scene() -> None:
        settings = {"certificate": str(identity.certificate), "key": str(identity.key)}
        async with serving(tokens, most=1, **settings) as server:
            assert await heard(await knock(server)) == b""
            assert await heard(await knock(server, b"GET / HTTP/1.1\r\n\r\n")) != b"HTTP/1.1"
            assert (await heard(await knock(server, ASK, context))).startswith(b"HTTP/1.1 200")

    asyncio.run(scene())
