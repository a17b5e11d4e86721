"""The door of a port: what a connection has to pass before anything of a server is made for it.

A connection is counted when it comes (`Crowd`), takes its place in line if there is none within, and gets its TLS under a time limit.
So thousands of connections that say nothing, or say it slowly, take neither memory nor anybody's turn.  It stops to count when the
server finds out whose it is (`Doorway.admitted`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from tmrld.security.attempts import source_of
from tmrld.security.crowd import Crowd, Place

D = TypeVar("D", bound="Doorway")

IN_LINE_S = 10.0
"""How long somebody waits for a place at most."""
TLS_S = 10.0
"""How long the handshake may take, and the last words."""


class Door:
    """One for each port.  With a ``context`` connections get TLS; those of a ``shared`` address, such as a proxy's, are counted in
    all alone."""

    def __init__(
        self,
        context: ssl.SSLContext | None,
        crowd: Crowd | None = None,
        shared: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self.context = context
        self.crowd = crowd or Crowd()
        self._shared = shared
        self.outside: set[Doorway] = set()
        """Connections of which the server knows nothing yet."""

    def source(self, address: str) -> str | None:
        """Whom a connection is counted with; None for one that is not."""
        return None if self._shared(address) else source_of(address)

    def close(self) -> None:
        """Let go of all connections that are still outside."""
        for doorway in list(self.outside):
            doorway.turn_away()


class Doorway(asyncio.Protocol):
    """Stands before the protocol of a server: ``class Ours(Doorway, TheirProtocol)``.  Theirs begins where TLS is done."""

    door: Door

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._outer: asyncio.Transport | None = None
        self._place: Place | None = None
        self._inside = False
        self._early: list[bytes] = []
        self._shaking: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self._outer = transport
        peer = transport.get_extra_info("peername")
        self.door.outside.add(self)
        self._patience = asyncio.get_running_loop().call_later(IN_LINE_S, self.turn_away)
        self._place = self.door.crowd.arrive(self.door.source(str(peer[0]) if peer else "unknown"), self._called_in)
        if self._place is None:
            self.turn_away()

    def data_received(self, data: bytes) -> None:
        if self._inside:
            self.received(data)
        else:
            self._early.append(data)  # came in one piece with the end of the handshake

    def received(self, data: bytes) -> None:
        """What comes within; to be overridden instead of `data_received`."""
        super().data_received(data)

    def eof_received(self) -> None:
        if self._inside:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inside:
            self.admitted()
            super().connection_lost(exc)
        else:
            self.turn_away()

    @property
    def is_stranger(self) -> bool:
        """Whether it is not known yet whose connection this is."""
        return self._place is not None and self._place.within

    def admitted(self) -> None:
        """Whose connection this is has been found out: it no longer counts as a stranger's.  May be called twice."""
        if self._place is not None:
            self._place.leave()

    def entered(self) -> None:
        """The connection is within; called once."""

    def turn_away(self) -> None:
        """Give up a connection of which the server knows nothing yet."""
        self.door.outside.discard(self)
        if self._patience is not None:
            self._patience.cancel()
        if self._shaking is not None:
            self._shaking.cancel()
        if self._outer is not None:
            self._outer.abort()
        self.admitted()

    def _called_in(self) -> None:
        assert self._patience is not None
        assert self._outer is not None
        self._patience.cancel()
        loop = asyncio.get_running_loop()
        if self.door.context is None:
            loop.call_soon(self._go_in, self._outer)
        else:
            self._shaking = loop.create_task(self._shake_hands(self.door.context))

    async def _shake_hands(self, context: ssl.SSLContext) -> None:
        assert self._outer is not None
        try:
            inner = await asyncio.get_running_loop().start_tls(
                self._outer,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=TLS_S,
                ssl_shutdown_timeout=TLS_S,
            )
        except OSError:
            inner = None
        self._shaking = None
        if inner is None:  # it does not speak TLS, took too long, or is gone
            self.turn_away()
        else:
            self._go_in(inner)

    def _go_in(self, transport: asyncio.Transport) -> None:
        if self not in self.door.outside:
            return
        self.door.outside.discard(self)
        self._inside = True
        super().connection_made(transport)
        self.entered()
        transport.resume_reading()
        early, self._early = self._early, []
        for data in early:
            self.received(data)


def behind(door: Door, protocol: type[D]) -> type[D]:
    """This protocol, for the connections that come through a door."""
    return type(protocol.__name__, (protocol,), {"door": door})
