"""Connections of which nobody knows whose they are: how many, for how long, and how much of what they say is read."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.peers.servers import Relay, a_status
from tmrld.peers import listener as listening
from tmrld.peers import websocket
from tmrld.peers.listener import MOST_REQUEST_BYTES, Listener
from tmrld.security import door
from tmrld.security.crowd import Crowd
from tmrld.security.tls import client_context


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(tmp_path / "relay")


@contextlib.asynccontextmanager
async def with_room_for(most: int, relay: Relay) -> AsyncIterator[Listener]:
    """A listener that looks at so many strangers at once."""
    listener = relay.listener()
    listener._door.crowd = Crowd(most=most, most_of_source=most, most_waiting=8)
    async with asyncio.timeout(20), listener:
        yield listener


async def knock(listener: Listener, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", listener.port, ssl=context)


async def until_let_go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What the relay says before it ends a connection."""
    try:
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("this never came true")


def test_silent_connections_keep_nobody_out_for_long(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "TLS_S", 0.3)

    async def scene() -> None:
        async with with_room_for(2, relay) as listener:
            silent = [await knock(listener) for _ in range(4)]
            link = await relay.dialer(listener.port).connect()
            await link.close()
            for each in silent:
                assert await until_let_go(*each) == b""

    asyncio.run(scene())


def test_who_waits_too_long_for_a_place_is_let_go(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "IN_LINE_S", 0.3)

    async def scene() -> None:
        async with with_room_for(1, relay) as listener:
            first = await knock(listener)
            second = await knock(listener)
            assert await until_let_go(*second) == b""
            assert listener._door.crowd.waiting == 0
            first[1].close()

    asyncio.run(scene())


def test_more_than_the_line_holds_are_turned_away_at_once(relay: Relay) -> None:
    async def scene() -> None:
        async with with_room_for(1, relay) as listener:
            inside = [await knock(listener) for _ in range(5)]  # one within, four in line: half of it
            turned_away = await knock(listener)
            assert await until_let_go(*turned_away) == b""
            assert (len(listener._door.crowd), listener._door.crowd.waiting) == (1, 4)
            for _, writer in inside:
                writer.close()

    asyncio.run(scene())


def test_an_open_link_is_no_strangers_any_more(relay: Relay) -> None:
    async def scene() -> None:
        async with with_room_for(1, relay) as listener:
            first = await relay.dialer(listener.port).connect()
            assert len(listener._door.crowd) == 0
            second = await relay.dialer(listener.port, role="trainer", name="gpu", token="trainer-token").connect()
            for link in (first, second):
                await link.send(a_status())
                await link.close()

    asyncio.run(scene())


def test_who_is_turned_away_leaves_room(relay: Relay) -> None:
    async def scene() -> None:
        async with with_room_for(1, relay) as listener:
            for _ in range(3):
                reader, writer = await knock(listener, client_context(relay.identity.pin))
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b" 4" in (await until_let_go(reader, writer)).split(b"\r\n")[0]
            await until(lambda: len(listener._door.crowd) == 0)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "words", [b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * 8000, b"GET /" + b"a" * 20_000, b"X" * 20_000], ids=len
)
def test_a_request_without_end_is_read_no_further_than_allowed(relay: Relay, words: bytes) -> None:
    async def scene() -> None:
        async with with_room_for(4, relay) as listener:
            reader, writer = await knock(listener, client_context(relay.identity.pin))
            writer.write(words)
            with contextlib.suppress(OSError):
                for _ in range(64):
                    writer.write(b"\r\nX-Another: " + b"y" * 1000)
                    await writer.drain()
            await until_let_go(reader, writer)

    asyncio.run(scene())
    assert MOST_REQUEST_BYTES < 64_000


def test_a_request_that_drips_is_not_waited_for(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "options", lambda *args: {**_options(*args), "open_timeout": 0.3})

    async def scene() -> None:
        async with with_room_for(1, relay) as listener:
            reader, writer = await knock(listener, client_context(relay.identity.pin))
            writer.write(b"GET / HTTP/1.1\r\n")
            dripping = asyncio.create_task(_drip(writer))
            await until_let_go(reader, writer)
            dripping.cancel()

    asyncio.run(scene())


async def _drip(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while True:
            writer.write(b"X")
            await writer.drain()
            await asyncio.sleep(0.05)


_options = websocket.options


def test_closing_lets_go_of_those_who_wait(relay: Relay) -> None:
    async def scene() -> None:
        async with with_room_for(1, relay) as listener:
            waiting = [await knock(listener) for _ in range(3)]
            await until(lambda: listener._door.crowd.waiting == 2)
            await listener.close()
            for each in waiting:
                assert await until_let_go(*each) == b""

    asyncio.run(scene())


def test_what_is_no_tls_is_let_go(relay: Relay) -> None:
    async def scene() -> None:
        async with with_room_for(1, relay) as listener:
            reader, writer = await knock(listener)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until_let_go(reader, writer)
            await until(lambda: len(listener._door.crowd) == 0)

    asyncio.run(scene())
