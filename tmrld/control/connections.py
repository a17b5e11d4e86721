"""Connections to the control API, as uvicorn holds them: behind a door, and with an end to the patience for slow requests.

Whoever sends the head of a request slowly, or none, is let go of.  A connection whose sender was found to have a good token or
session no longer counts as a stranger's (`auth.Guard` tells by what is in the request's state).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tmrld.security.door import Doorway

HEAD_S = 10.0
"""How long the head of a request may take, from the connection or from its first byte on."""
BODY_S = 30.0
"""How long the body of a stranger's request may take."""
PIECE_S = 60.0
"""How long somebody who is known may send nothing in the middle of a body."""
MOST_HEAD_BYTES = 16 * 1024
"""Of a request's head: more is no request of ours."""
ADMITTED = "admitted"
"""In the state of a request: to be called when it is known whose connection this is."""


class Requests(Doorway, H11Protocol):
    """One connection with requests."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state = {**self.app_state, ADMITTED: self.admitted}
        self._streams = False
        self._awaited = ""
        self._limit: asyncio.TimerHandle | None = None

    def _go_in(self, transport: asyncio.Transport) -> None:
        super()._go_in(transport)
        self._wait_for("head", HEAD_S)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._streams:
            return
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for("head", HEAD_S)
        elif not self.cycle.more_body:
            self._wait_for_nothing()
        elif self.is_stranger:
            self._wait_for("body", BODY_S)
        else:
            self._wait_for_nothing()
            self._wait_for("piece", PIECE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_for_nothing()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_nothing()  # uvicorn lets go of a connection on which nothing more comes

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._streams = True
        self._wait_for_nothing()
        super().handle_websocket_upgrade(event)

    def _wait_for(self, what: str, at_most_s: float) -> None:
        """Be patient, but not for ever; goes on with the patience that there is, if the same was waited for before."""
        if what != self._awaited and not self.transport.is_closing():
            self._wait_for_nothing()
            self._awaited = what
            self._limit = self.loop.call_later(at_most_s, self.transport.abort)

    def _wait_for_nothing(self) -> None:
        self._awaited = ""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


class Streams(WebSocketsSansIOProtocol):
    """One connection with a live stream; it takes over from the `Requests` before."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.app_state[ADMITTED]()
        super().connection_lost(exc)
