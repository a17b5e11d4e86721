"""What both ends of a WebSocket link have in common: limits, how a dead line is noticed, the logger."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.connection import Connection

from tmrld.protocol.messages import MAX_MESSAGE_BYTES, SPOKEN

ROLE_HEADER = "Tmrld-Role"
NAME_HEADER = "Tmrld-Name"
"""Who the peer will say that it is, so that a mistake is refused with a whole sentence before there is a link."""

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
PING_INTERVAL_S = 10.0
SILENCE_S = 20.0
"""A line from which nothing came for so long is dead, even if nobody has closed it; noticed within a ping's interval after."""


class Silence(TimeoutError):
    """The other end has said nothing, and answered no ping, for too long."""


class Heedful(Connection):
    """A connection that gives up a line from which nothing comes any more: a pulled cable, a sleeping laptop, a forgetful router.

    Both ends ping, and anything that comes is a sign of life, so an end that has stopped reading because it has no room (the
    relay's disk is full) is not taken for a dead one: its pings still come.  While this end has no room itself, it does not judge.
    A time in which this process stood still, because it or its machine slept, counts as no more than one interval.

    In place of websockets' own way, which waits until there is room for its ping: for ever, where a line that nobody reads is full.
    """

    _heard = False

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)

    async def keepalive(self) -> None:
        """Task of websockets, cancelled when the connection is lost."""
        interval_s, patience_s = self.ping_interval, self.ping_timeout
        assert interval_s is not None
        assert patience_s is not None
        silence_s = 0.0
        while True:
            self._heard = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self.ping()
                    await asyncio.sleep(interval_s)
            if self._heard or self.recv_messages.paused:
                silence_s = 0.0
            else:
                silence_s += interval_s
            if silence_s >= patience_s:
                self.set_connection_exc(Silence(f"nothing came from there for {silence_s:g} s, not even an answer to a ping"))
                self.transport.abort()
                return


def options(max_message_bytes: int = MAX_MESSAGE_BYTES, spoken: Sequence[str] = SPOKEN) -> dict[str, Any]:
    """The arguments that `websockets.connect` and `websockets.serve` share.

    Compression is off: payloads that gain from it come compressed already.  When 16 frames wait that nobody reads (2 MiB of
    pieces), the sender is held up.  Of the versions ``spoken``, the newest first, the server takes the first that is offered.
    """
    return {
        "subprotocols": list(spoken),
        "compression": None,
        "open_timeout": OPEN_TIMEOUT_S,
        "close_timeout": CLOSE_TIMEOUT_S,
        "ping_interval": PING_INTERVAL_S,
        "ping_timeout": SILENCE_S,
        "max_size": max_message_bytes,
        "max_queue": 16,
        "write_limit": 256 * 1024,
        "logger": _silent_about_headers(),
    }


def _silent_about_headers() -> logging.Logger:
    """websockets logs requests with all headers at DEBUG, also the one with the token: never let it."""
    logger = logging.getLogger("tmrld.peers.websockets")
    logger.setLevel(logging.WARNING)
    return logger
