"""The door of a port: what a connection has to pass before anything of a server is made for it.

A connection is counted when it comes (`Crowd`), takes its place in line if there is none within, and gets its TLS under a time limit.
So thousands of connections that say nothing, or say it slowly, take neither memory nor anybody's turn.  It stops to count when the
server finds out whose it is (`Doorway.admitted`).
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import TypeVar

from tmrld.security.attempts import source_of
from tmrld.security.crowd import Crowd, Place

D = TypeVar("D", bound="Doorway")

IN_LINE_S = 10.0
"""How long somebody waits for a place at most."""
TLS_S = 10
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
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called with the connection as it comes, and again with what TLS makes of it."""
        assert isinstance(transport, asyncio.Transport)
        if self._outer is None:
            self._arrive(transport)
        else:
            self._go_in(transport)

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
        place, self._place = self._place, None
        if place is not None:
            place.leave()

    def turn_away(self) -> None:
        """Give up a connection of which the server knows nothing yet; does nothing to others."""
        if self in self.door.outside:
            self._step_off()
            assert self._outer is not None
            self._outer.abort()
            self.admitted()

    def _arrive(self, transport: asyncio.Transport) -> None:
        transport.pause_reading()
        self._outer = transport
        peer = transport.get_extra_info("peername")
        self.door.outside.add(self)
        self._patience = asyncio.get_running_loop().call_later(IN_LINE_S, self.turn_away)
        self._place = self.door.crowd.arrive(self.door.source(str(peer[0]) if peer else "unknown"), self._called_in)
        if self._place is None:
            self.turn_away()

    def _called_in(self) -> None:
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        if self not in self.door.outside:
            return
        assert self._outer is not None
        assert self._patience is not None
        self._patience.cancel()
        if self.door.context is None:
            self._go_in(self._outer)
        else:
            tls = _Tls(self, self.door.context)
            self._outer.set_protocol(tls)
            tls.connection_made(self._outer)
        self._outer.resume_reading()

    def _go_in(self, transport: asyncio.Transport) -> None:
        self._step_off()
        self._inside = True
        super().connection_made(transport)

    def _step_off(self) -> None:
        self.door.outside.discard(self)
        if self._patience is not None:
            self._patience.cancel()


class _Tls(sslproto.SSLProtocol):
    """TLS with a smaller buffer than asyncio's of 256 KiB, which each connection would fill with zeros before its first byte."""

    max_size = 32 * 1024  # one record of TLS has 16 KiB at most

    def __init__(self, doorway: Doorway, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.create_future()
        begun.add_done_callback(lambda future: future.cancelled() or future.exception())  # the doorway is told otherwise
        super().__init__(
            loop, doorway, context, begun, server_side=True, ssl_handshake_timeout=TLS_S, ssl_shutdown_timeout=TLS_S
        )
        self._doorway: Doorway | None = doorway

    def connection_lost(self, exc: BaseException | None) -> None:
        """Also before there was TLS, when asyncio does not say so."""
        doorway = self._doorway
        self._doorway = None  # or both would stay until Python looks for garbage, with all their buffers
        super().connection_lost(exc)
        if doorway is not None:
            doorway.turn_away()


def behind(door: Door, protocol: type[D]) -> type[D]:
    """This protocol, for the connections that come through a door."""
    return type(protocol.__name__, (protocol,), {"door": door})
