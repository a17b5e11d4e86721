"""A relay's listener on loopback with real TLS, and servers that are something else."""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tmrld.peers.dialer import Dialer
from tmrld.peers.link import Link
from tmrld.peers.listener import Listener
from tmrld.protocol.messages import Hello, Status, Welcome
from tmrld.security.tls import Identity, client_context, ensure_identity, server_context
from tmrld.security.tokens import Grant

TOKENS = {
    "worker-token": Grant("gamer", "worker"),
    "trainer-token": Grant("gpu", "trainer"),
    "viewer-token": Grant("guest", "viewer"),
}


async def wait_for_the_end(link: Link) -> None:
    async for _ in link:
        pass


class Relay:
    """What a relay has for its peers, in a folder of its own.  Every link that was open is in ``links``."""

    def __init__(self, folder: Path) -> None:
        self.identity: Identity = ensure_identity(folder)
        self.tokens = dict(TOKENS)
        self.links: list[Link] = []

    def listener(self, on_link: Callable[[Link], Awaitable[None]] = wait_for_the_end, **options: Any) -> Listener:
        async def remembering(link: Link) -> None:
            self.links.append(link)
            await on_link(link)

        return Listener(
            options.pop("host", "127.0.0.1"),
            options.pop("port", 0),
            server_context(self.identity.key, self.identity.certificate),
            options.pop("authenticate", lambda token, address: self.tokens.get(token)),
            lambda: Welcome("hub", "0.1.0", 0.0),
            remembering,
            **options,
        )

    def dialer(
        self, port: int, token: str = "worker-token", role: str = "worker", name: str = "gamer", **options: Any
    ) -> Dialer:
        """A peer that knows this relay's pin and is in a hurry."""
        return Dialer(
            f"wss://127.0.0.1:{port}",
            token,
            Hello(role, name, "0.1.0"),
            options.pop("context", client_context(pin=self.identity.pin)),
            delays=options.pop("delays", lambda: itertools.repeat(0.0)),
            refused_delay_s=options.pop("refused_delay_s", 0.0),
            **options,
        )


class Server:
    """A plain TCP or TLS server whose visits are over, and sockets closed, when it is left."""

    def __init__(self) -> None:
        self._visits: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._flows = asyncio.Event()
        self._flows.set()

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    def own(self, writer: asyncio.StreamWriter) -> None:
        """Close this at the end."""
        self._writers.append(writer)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        self.own(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self.visit(reader, writer)
        writer.close()

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._receive, "127.0.0.1", 0, ssl=context)
        async with server:
            yield server.sockets[0].getsockname()[1]
        for writer in self._writers:
            writer.transport.abort()
        self._flows.set()
        if self._visits:
            await asyncio.wait(self._visits)
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Recorder(Server):
    """Takes down what it is told, and answers the first words with ``answer``."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__()
        self.answer = answer
        self.heard = b""
        self.visits = 0

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        if self.answer:
            self.heard += await reader.read(65536)
            writer.write(self.answer)
            await writer.drain()
        else:
            while data := await reader.read(65536):
                self.heard += data


class Proxy(Server):
    """An HTTP proxy that knows CONNECT and forwards bytes; ``refusal`` is what it answers instead, if given."""

    def __init__(self, refusal: bytes = b"") -> None:
        super().__init__()
        self.refusal = refusal
        self.asked: list[bytes] = []
        self.forwarded = bytearray()

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(request.split(b"\r\n")[0])
        if self.refusal:
            writer.write(self.refusal)
            await writer.drain()
            return
        host, _, port = request.split(b" ")[1].decode().rpartition(":")
        reader_there, writer_there = await asyncio.open_connection(host, int(port))
        self.own(writer_there)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self._forward(reader, writer_there), self._forward(reader_there, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                self.forwarded += data
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Drop every connection, as a cable that is pulled."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Forward nothing more, and close nothing, as a router that has forgotten a connection."""
        self._flows.clear()


def a_status(detail: str = "") -> Status:
    return Status("oval", "driving", detail)
