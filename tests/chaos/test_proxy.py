"""The bad line, with an echo at its other end: in plain words, and through TLS."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.proxy import FaultProxy
from tests.peers.servers import Relay, Server, a_status
from tmrld.errors import LinkLost
from tmrld.peers.link import Link
from tmrld.protocol.messages import Ack, Status

WAIT_S = 30.0
"""Longer than anything here takes."""

WORD = "x" * 200

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo(Server):
    """Says what it is told."""

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said_back(ends: Ends, data: bytes) -> bytes:
    """What comes back of this, until it is complete or the connection ends."""
    reader, writer = ends
    writer.write(data)
    back = b""
    try:
        while len(back) < len(data) and (more := await reader.read(65536)):
            back += more
    except ConnectionError:
        pass
    return back


def run(scene: Callable[[FaultProxy], Awaitable[None]]) -> None:
    """Have a scene with an echo behind a proxy."""

    async def whole() -> None:
        async with Echo().listening() as port:
            with FaultProxy(port) as proxy:
                await scene(proxy)

    asyncio.run(asyncio.wait_for(whole(), WAIT_S))


def test_a_good_line_carries_everything_as_it_is() -> None:
    async def scene(proxy: FaultProxy) -> None:
        data = bytes(range(256)) * 1000
        async with connected(proxy) as first, connected(proxy) as second:
            assert await said_back(first, data) == data
            assert await said_back(second, b"and the other one") == b"and the other one"
        assert proxy.connections == 2
        assert proxy.carried == 2 * (len(data) + len(b"and the other one"))

    run(scene)


def test_the_end_of_one_way_is_passed_on_and_the_other_way_goes_on() -> None:
    async def scene(proxy: FaultProxy) -> None:
        async with connected(proxy) as (reader, writer):
            writer.write(b"last words")
            writer.write_eof()
            assert await reader.read() == b"last words"

    run(scene)


def test_a_cut_ends_what_there_is_and_lets_nobody_through_until_it_is_healed() -> None:
    async def scene(proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            assert await said_back(ends, b"hello") == b"hello"
            proxy.cut()
            assert await said_back(ends, b"hello?") == b""
        async with connected(proxy) as ends:
            assert await said_back(ends, b"anybody?") == b""
        proxy.heal()
        async with connected(proxy) as ends:
            assert await said_back(ends, b"again") == b"again"

    run(scene)


def test_a_half_open_connection_neither_carries_nor_ends_and_a_new_one_is_good() -> None:
    async def scene(proxy: FaultProxy) -> None:
        async with connected(proxy) as ends, connected(proxy) as other:
            assert await said_back(ends, b"hello") == b"hello"
            assert await said_back(other, b"hello") == b"hello"
            proxy.half_open()
            silent = asyncio.create_task(said_back(ends, b"hello?"))
            other[1].transport.abort()  # which nobody at the far end learns
            async with connected(proxy) as new:
                for _ in range(20):
                    assert await said_back(new, b"good") == b"good"
            assert not silent.done()
            proxy.heal()
            async with connected(proxy) as new:
                assert await said_back(new, b"good") == b"good"
            assert not silent.done()
            silent.cancel()

    run(scene)


def test_a_delay_keeps_the_order_and_lasts_at_least_as_long_as_it_says() -> None:
    async def scene(proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            proxy.delay(0.05)
            began = time.monotonic()
            data = bytes(range(256)) * 200
            assert await said_back(ends, data) == data
            assert time.monotonic() - began >= 0.1  # there and back
            proxy.heal()
            assert await said_back(ends, b"and on") == b"and on"

    run(scene)


def test_a_throttle_lets_no_more_through_than_it_says() -> None:
    async def scene(proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            proxy.throttle(100_000.0)
            began = time.monotonic()
            data = bytes(20_000)
            assert await said_back(ends, data) == data
            assert time.monotonic() - began >= 0.1  # all but its last piece had to wait
            proxy.heal()

    run(scene)


def test_what_is_truncated_ends_in_the_middle() -> None:
    async def scene(proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            assert await said_back(ends, b"whole") == b"whole"
            proxy.truncate(15)
            assert await said_back(ends, b"ten bytes.") == b"ten b"
        async with connected(proxy) as ends:
            assert await said_back(ends, b"whole again") == b"whole again"

    run(scene)


def test_what_is_corrupted_has_one_wrong_bit_and_goes_on() -> None:
    async def scene(proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            assert await said_back(ends, b"whole") == b"whole"
            proxy.corrupt(3)
            assert await said_back(ends, b"aaaaaa") == b"aaaqaa"
            assert await said_back(ends, b"aaaaaa") == b"aaaaaa"

    run(scene)


def test_where_nobody_listens_nobody_gets_through() -> None:
    async def scene() -> None:
        async with Echo().listening() as port:
            pass
        with FaultProxy(port) as proxy:
            async with connected(proxy) as ends:
                assert await said_back(ends, b"anybody?") == b""

    asyncio.run(asyncio.wait_for(scene(), WAIT_S))


# A link of tmrld on it


async def echo(link: Link) -> None:
    async for message in link:
        if isinstance(message, Status):
            await link.send(Ack(message.detail, []))


async def answered(link: Link, word: str) -> bool:
    """Whether the far end answers with this word, rather than that the link ends."""
    try:
        await link.send(a_status(word))
        received = await link.receive()
    except LinkLost:
        return False
    assert received is None or received.message == Ack(word, [])
    return received is not None


async def heard_until_the_end(link: Link) -> set[str]:
    """All that the far end answers until the link ends, while it is told words.

    A wrong length leaves TLS waiting for more than one word, so nobody waits for an answer here.
    """
    answers = set()

    async def hear() -> None:
        async for message in link:
            assert isinstance(message, Ack)
            answers.add(message.incarnation)

    hearing = asyncio.create_task(hear())
    with contextlib.suppress(LinkLost):
        while not hearing.done():
            await link.send(a_status(WORD))
            await asyncio.sleep(0)
    with contextlib.suppress(LinkLost):
        await hearing
    return answers


@pytest.mark.parametrize("after", [0, 3, 20, 200])
def test_a_wrong_bit_costs_the_link_and_changes_nothing_that_is_said(tmp_path: Path, after: int) -> None:
    async def scene() -> None:
        relay = Relay(tmp_path)
        async with relay.listener(echo) as listener:
            with FaultProxy(listener.port) as proxy:
                link = await relay.dialer(proxy.port).connect()
                assert await answered(link, "hello")
                proxy.corrupt(after)
                assert await heard_until_the_end(link) <= {WORD}
                await link.close()
                link = await relay.dialer(proxy.port).connect()
                assert await answered(link, "hello again")
                await link.close()

    asyncio.run(asyncio.wait_for(scene(), WAIT_S))


def test_a_message_that_breaks_off_costs_the_link_and_is_never_heard(tmp_path: Path) -> None:
    async def scene() -> None:
        relay = Relay(tmp_path)
        async with relay.listener(echo) as listener:
            with FaultProxy(listener.port) as proxy:
                link = await relay.dialer(proxy.port).connect()
                assert await answered(link, "hello")
                proxy.truncate(100)
                assert not await answered(link, "x" * 1000)
                await link.close()
                link = await relay.dialer(proxy.port).connect()
                assert await answered(link, "hello again")
                await link.close()

    asyncio.run(asyncio.wait_for(scene(), WAIT_S))
