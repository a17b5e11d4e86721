"""A bad line: TCP on loopback between a node and its relay, which is cut, freezes, is slow, or changes what it carries.

It knows nothing of what it carries, so TLS goes through it as it is.  Faults are begun and healed from any thread; what is under way
when one begins is hit by it, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

PIECE_BYTES = 4096
WAITING_PIECES = 64
"""Pieces that wait on a delayed line, in one direction; then its sender is held up."""

LineFault = Literal["cut", "half-open", "delay", "truncate", "corrupt", "throttle"]
LINE_FAULTS: tuple[LineFault, ...] = ("cut", "half-open", "delay", "truncate", "corrupt", "throttle")

T = TypeVar("T")


@dataclass(frozen=True)
class Condition:
    """How the line is now.  ``delay_s`` is how much later everything arrives, ``bytes_per_s`` how much may pass (0: anything)."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    closed: bool = False
    """Nobody gets through: who connects is sent away at once."""


class _Connection:
    """One connection through the proxy: two ways, which end together."""

    def __init__(self, ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        self.ends = ends
        self.frozen = False
        self.cut_after: int | None = None
        """Bytes, in both directions together, after which it breaks off."""
        self.flip_after: int | None = None
        """Bytes after which a bit is wrong, once."""

    def abort(self) -> None:
        """Both ends see the connection break, without a word."""
        for _, writer in self.ends:
            writer.transport.abort()


class FaultProxy:
    """Listens on a port of its own, and connects everybody who comes to ``port`` on loopback; a good line takes ``latency_s``.

    ``with`` it runs, in a thread.  ``carried`` counts the bytes that came through, ``connections`` those who came.
    """

    def __init__(self, port: int, latency_s: float = 0.0) -> None:
        self._target = port
        self._good = Condition(delay_s=latency_s)
        self._condition = self._good
        self._open: set[_Connection] = set()
        self._visits: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")
        self.port = 0
        self.carried = 0
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._visit, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Faults

    def cut(self) -> None:
        """Break all connections, and let nobody through until `heal`."""
        self._set(Condition(closed=True))
        self._each(_Connection.abort)

    def half_open(self) -> None:
        """Carry nothing more on the connections that there are, for ever, and close none of them.  New ones are good."""

        def freeze(connection: _Connection) -> None:
            connection.frozen = True

        self._each(freeze)

    def delay(self, delay_s: float) -> None:
        """Have everything arrive so much later, until `heal`."""
        self._set(Condition(delay_s=delay_s))

    def throttle(self, bytes_per_s: float) -> None:
        """Carry no more than that in each direction, until `heal`."""
        self._set(replace(self._good, bytes_per_s=bytes_per_s))

    def truncate(self, after: int) -> None:
        """Break each connection when it has carried so many more bytes: with any luck in the middle of a message."""

        def set_limit(connection: _Connection) -> None:
            connection.cut_after = after

        self._each(set_limit)

    def corrupt(self, after: int) -> None:
        """Flip a bit on each connection when it has carried so many more bytes."""

        def set_limit(connection: _Connection) -> None:
            connection.flip_after = after

        self._each(set_limit)

    def strike(self, fault: LineFault, chance: random.Random) -> None:
        """Begin a fault of this kind, as bad as chance will have it."""
        match fault:
            case "cut":
                self.cut()
            case "half-open":
                self.half_open()
            case "delay":
                self.delay(chance.uniform(0.05, 0.5))
            case "throttle":
                self.throttle(chance.uniform(2_000, 20_000))
            case "truncate":
                self.truncate(chance.randrange(3000))
            case "corrupt":
                self.corrupt(chance.randrange(3000))

    def heal(self) -> None:
        """The line is good again for whoever connects, and for what is not broken."""
        self._set(self._good)

    # How it is done

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30.0)

    def _set(self, condition: Condition) -> None:
        self._condition = condition

    def _each(self, what: Callable[[_Connection], None]) -> None:
        """Do this to each open connection, before this returns."""

        async def do() -> None:
            for connection in list(self._open):
                what(connection)

        self._do(do())

    async def _end(self) -> None:
        self._server.close()
        for connection in list(self._open):
            connection.abort()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The life of one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        self.connections += 1
        try:
            if self._condition.closed:
                return
            try:
                there = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                return
            connection = _Connection([(reader, writer), there])
            self._open.add(connection)
            try:
                with contextlib.suppress(asyncio.CancelledError):  # at the end of all
                    await self._carry(connection)
            finally:
                self._open.discard(connection)
                connection.abort()
        finally:
            self._visits.discard(task)
            writer.transport.abort()

    async def _carry(self, connection: _Connection) -> None:
        """Both ways, until either breaks, or both have ended."""
        (here, to_here), (there, to_there) = connection.ends
        ways = [
            asyncio.create_task(self._one_way(connection, here, to_there)),
            asyncio.create_task(self._one_way(connection, there, to_here)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
            for way in done:
                with contextlib.suppress(OSError):
                    way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _one_way(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What comes is taken up at once, and handed on when it is its time.  Raises OSError where the connection breaks."""
        waiting: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(WAITING_PIECES)

        async def take() -> None:
            piece: bytes | OSError = b"?"
            while piece and not isinstance(piece, OSError):
                try:
                    piece = await reader.read(PIECE_BYTES)
                except OSError as error:
                    piece = error
                await waiting.put((self._loop.time() + self._condition.delay_s, piece))

        taking = asyncio.create_task(take())
        try:
            while True:
                at, piece = await waiting.get()
                await asyncio.sleep(max(0.0, at - self._loop.time()))
                if connection.frozen:
                    await asyncio.Event().wait()  # whatever its ends do now, the other one does not learn it
                if isinstance(piece, OSError):
                    raise piece
                if not piece:
                    writer.write_eof()
                    return
                await self._hand_on(connection, piece, writer)
                if self._condition.bytes_per_s:
                    await asyncio.sleep(len(piece) / self._condition.bytes_per_s)
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _hand_on(self, connection: _Connection, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Write a piece, with what is wrong on this connection done to it.  Raises OSError where it breaks off."""
        if connection.flip_after is not None:
            if connection.flip_after < len(data):
                changed = bytearray(data)
                changed[connection.flip_after] ^= 0x10
                data, connection.flip_after = bytes(changed), None
            else:
                connection.flip_after -= len(data)
        if connection.cut_after is not None:
            if connection.cut_after < len(data):
                writer.write(data[: connection.cut_after])
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                raise ConnectionAbortedError("the line breaks off here")
            connection.cut_after -= len(data)
        self.carried += len(data)
        writer.write(data)
        await writer.drain()
