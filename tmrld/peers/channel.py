"""What a link rides on: whole messages as bytes, in order, both ways, with a close that says why.

A `Channel` is all that a `Link` needs to know about the outside.  Here are two: a WebSocket, and a pair in memory for roles
that live in one process and for tests.  Engines bring a third one, on a pipe.

Closing carries a WebSocket close code (RFC 6455, section 7.4) on every kind of channel, so that one table tells what became
of a link: `NORMAL` and so on below.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from websockets.exceptions import ConnectionClosed

from tmrld.errors import LinkLost, ProtocolError
from tmrld.peers.websocket import CLOSE_TIMEOUT_S, Silence

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

NORMAL = 1000
"""All was said; nobody should come back because of it."""
GOING_AWAY = 1001
"""This end stops or restarts; try again later."""
UNSUPPORTED = 1003
"""A kind of data that this protocol does not have."""
ABNORMAL = 1006
"""No closing words at all: a cut cable, a killed process.  Never sent, only reported."""
POLICY = 1008
"""You may not; trying again will not help."""
INTERNAL = 1011
"""This end failed, or got no answer to its pings."""

REPLACED = 4001
"""This node has come back on a newer link; what this one says no longer counts."""
RENAMED = 4002
"""This node is called something else now: it comes back, and is told."""

MAX_REASON_BYTES = 123
"""A control frame holds 125 bytes, two of which are the code (RFC 6455, section 5.5)."""
PIECE_BYTES = 128 * 1024
"""Larger messages travel in pieces of this size, so that pings and pongs pass between them: a checkpoint that takes a minute
on a slow line must not look like a dead line.  At most 2050 pieces make the largest message; websockets allows 4096."""


class Closed(LinkLost):
    """The channel is closed: with which code, why, and whether this end (``ours``) or the other one began."""

    def __init__(self, code: int, reason: str = "", *, ours: bool = False) -> None:
        super().__init__(reason or f"the connection was closed with code {code}")
        self.code = code
        self.reason = reason
        self.ours = ours


class Channel(Protocol):
    """Carries messages of bytes.  `recv` is called by one task at a time; `send` and `close` by any number."""

    async def send(self, data: bytes) -> None:
        """Send one message; waits while the way is full, which is how back-pressure reaches the sender.

        Messages arrive in the order of the calls.  A message whose sending is cancelled arrives whole or not at all; if half of
        it was under way, that costs the channel.  Raises `Closed`.
        """

    async def recv(self) -> bytes:
        """Return the next message.  Cancelling loses nothing.

        Messages sent before the other end closed still arrive; then raises `Closed`, again at every further call.
        """

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close for good; may be called twice, the first call counts.  ``reason`` is cut to what a close can carry."""

    @property
    def remote(self) -> str:
        """Who is at the other end, for logs: an address, or a word."""

    @property
    def latency_s(self) -> float | None:
        """The round trip as last measured; None before the first measurement."""


def fit_reason(reason: str) -> str:
    """Cut a sentence to the 123 bytes of UTF-8 that a close can carry, between characters; ``…`` marks the cut."""
    encoded = reason.encode(errors="replace")
    if len(encoded) <= MAX_REASON_BYTES:
        return encoded.decode()
    mark = "…".encode()
    return encoded[: MAX_REASON_BYTES - len(mark)].decode(errors="ignore") + mark.decode()


class MemoryChannel:
    """One end of a pair in memory; made by `memory_pair`.

    At most ``limit`` messages wait for a reader; then `send` waits, and nothing is ever dropped.
    """

    def __init__(self, remote: str, limit: int) -> None:
        self._remote = remote
        self._limit = limit
        self._inbox: deque[bytes] = deque()
        self._sending = asyncio.Lock()  # fair: who sends without a pause lets the others have their turn
        self._changed = asyncio.Condition()
        self._closed: Closed | None = None
        self._other: MemoryChannel = self

    @property
    def remote(self) -> str:
        return self._remote

    @property
    def latency_s(self) -> float | None:
        return 0.0

    async def send(self, data: bytes) -> None:
        other = self._other
        async with self._sending, other._changed:
            await other._changed.wait_for(lambda: self._closed or len(other._inbox) < self._limit)
            self._raise_if_closed()
            other._inbox.append(data)
            other._changed.notify_all()

    async def recv(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._inbox)
            if self._inbox:
                data = self._inbox.popleft()
                self._changed.notify_all()
                return data
            self._raise_if_closed()
            raise AssertionError("woken although nothing came and nothing was closed")

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        if self._closed is not None:
            return
        reason = fit_reason(reason)
        self._closed = Closed(code, reason, ours=True)
        self._inbox.clear()
        self._other._closed = Closed(code, reason)
        for end in (self, self._other):
            async with end._changed:
                end._changed.notify_all()

    def _raise_if_closed(self) -> None:
        if self._closed is not None:
            raise Closed(self._closed.code, self._closed.reason, ours=self._closed.ours)


def memory_pair(limit: int = 16, names: tuple[str, str] = ("memory", "memory")) -> tuple[MemoryChannel, MemoryChannel]:
    """Two joined channels; ``names`` are those of the first and second end.  ``limit`` messages may wait in each direction."""
    first, second = MemoryChannel(names[1], limit), MemoryChannel(names[0], limit)
    first._other, second._other = second, first
    return first, second


class WebSocketChannel:
    """A channel over an open WebSocket connection, which it owns.

    What waits to be sent is bounded by the write limit of the connection plus one piece; what waits to be received by its
    queue of frames: while nobody calls `recv` the sender is held up by TCP.  A line from which nothing comes any more is given up
    (`tmrld.peers.websocket.Heedful`), and one that takes nothing any more is closed all the same, within `CLOSE_TIMEOUT_S`.
    """

    def __init__(self, connection: Connection, remote: str) -> None:
        self._connection = connection
        self._remote = remote
        self._sending = asyncio.Lock()

    @classmethod
    async def over(cls, connection: Connection, remote: str) -> WebSocketChannel:
        """The channel over a connection that was just made.  Pings at once: the latency is known from the first words on."""
        with contextlib.suppress(ConnectionClosed):
            await connection.ping()
        return cls(connection, remote)

    @property
    def remote(self) -> str:
        return self._remote

    @property
    def latency_s(self) -> float | None:
        return self._connection.latency or None

    async def send(self, data: bytes) -> None:
        async with self._sending:
            try:
                await self._connection.send(data if len(data) <= PIECE_BYTES else _pieces(data))
            except ConnectionClosed as error:
                raise _closed(error) from error
            except asyncio.CancelledError:
                if len(data) > PIECE_BYTES:
                    self._connection.transport.abort()  # half a message is out: nothing can follow it
                raise

    async def recv(self) -> bytes:
        try:
            data = await self._connection.recv()
        except ConnectionClosed as error:
            raise _closed(error) from error
        if isinstance(data, str):
            raise ProtocolError("a text message came; peers speak in binary messages only", UNSUPPORTED)
        return data

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.close(code, fit_reason(reason))
        except TimeoutError:  # there is no room for the closing words
            self._connection.transport.abort()
            await self._connection.wait_closed()


def _pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    return (view[start : start + PIECE_BYTES] for start in range(0, len(view), PIECE_BYTES))


def _closed(error: ConnectionClosed) -> Closed:
    """Who closed, with which words.  An end that closes without a word reports 1006."""
    if error.rcvd is not None and error.rcvd_then_sent is not False:
        return Closed(error.rcvd.code, error.rcvd.reason)
    if error.sent is not None:
        return Closed(error.sent.code, error.sent.reason, ours=True)
    cause = error.__cause__
    return Closed(ABNORMAL, str(cause) if isinstance(cause, Silence) else "the connection was lost")
