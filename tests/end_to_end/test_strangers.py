"""What a real relay pays for strangers: its memory under bursts of hostile connections to both of its ports."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cluster import Cluster, Program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MOST_EXTRA_BYTES = 64 * 2**20
CONNECTIONS = 200
"""Of each kind of attack, all at once."""
BURST_S = 4.0

HELLO = bytes.fromhex("16030140000100fffc0303") + bytes(3 * 2**14)
"""The beginning of a ClientHello that says that it is long, and does not end."""
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def once(words: bytes) -> AsyncIterator[bytes]:
    yield words


async def again_and_again(first: bytes, words: bytes) -> AsyncIterator[bytes]:
    yield first
    while True:
        yield words


def anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


Words = Callable[[], AsyncIterator[bytes]]

AGAINST_PEERS: dict[str, tuple[Words, bool]] = {
    "silent": (nothing, False),
    "half a hello": (lambda: once(HELLO), False),
    "no TLS": (lambda: again_and_again(b"", b"A" * 65536), False),
    "silent in TLS": (nothing, True),
    "long head": (lambda: once(HEAD + b"X: " + b"y" * 8000 + b"\r\nX: " + b"y" * 7000), True),
    "endless head": (lambda: again_and_again(HEAD, b"X-More: " + b"y" * 8000 + b"\r\n"), True),
    "a large message before there is a WebSocket": (lambda: again_and_again(HEAD + b"\r\n", b"\x82\x7f" + bytes(65536)), True),
}
AGAINST_CONTROL: dict[str, tuple[Words, bool]] = {
    "silent": (nothing, False),
    "long head": (lambda: once(HEAD + b"X: " + b"y" * 15_000), False),
    "endless head": (lambda: again_and_again(HEAD, b"X-More: " + b"y" * 8000 + b"\r\n"), False),
    "endless body": (lambda: again_and_again(POST, b"10000\r\n" + b'"' * 65536 + b"\r\n"), False),
    "deep body": (lambda: again_and_again(POST, b"10000\r\n" + b"[" * 65536 + b"\r\n"), False),
    "long body": (lambda: once(POST + b"f000\r\n" + b" " * 0xF000 + b"\r\n"), False),
}


async def attack(port: int, words: Words, context: ssl.SSLContext | None) -> None:
    """One connection that says this, and stays until it is let go of."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(BURST_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                async for each in words():
                    writer.write(each)
                    await writer.drain()
                    await asyncio.sleep(0)  # draining waits for nothing while there is room
                    if writer.is_closing():
                        return
                while await reader.read(65536):
                    pass
            finally:
                writer.transport.abort()


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """The memory of a process from time to time, as a list that grows."""
    found: list[int] = []
    process, ended = psutil.Process(pid), threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            found.append(process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
    finally:
        ended.set()
        watching.join()


def healthy(relay: Program) -> bool:
    with urllib.request.urlopen(f"{relay.said('control')}/api/v1/health", timeout=30) as answer:
        return bool(answer.status == 200)


def test_strangers_cost_less_than_64_mb(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        relay = cluster.start_relay()
        assert healthy(relay)
        before = psutil.Process(relay.pid).memory_info().rss
        with watched(relay.pid) as memory:
            for port, attacks in (("peers", AGAINST_PEERS), ("control", AGAINST_CONTROL)):
                number = int(relay.said(port).rpartition(":")[2])
                for kind, (words, in_tls) in attacks.items():
                    asyncio.run(burst(number, words, in_tls))
                    extra = max(memory) - before
                    print(f"{port}, {kind}: so far {extra / 2**20:.1f} MB more than {before / 2**20:.1f} MB")
                    assert extra < MOST_EXTRA_BYTES, f"{port}, {kind}"
                    assert healthy(relay)


async def burst(port: int, words: Words, in_tls: bool) -> None:
    context = anybody() if in_tls else None
    await asyncio.gather(*(attack(port, words, context) for _ in range(CONNECTIONS)))
