"""What both ends of a WebSocket link have in common: limits, pings, the logger."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from tmrld.protocol.messages import MAX_MESSAGE_BYTES, SPOKEN

ROLE_HEADER = "Tmrld-Role"
NAME_HEADER = "Tmrld-Name"
"""Who the peer will say that it is, so that a mistake is refused with a whole sentence before there is a link."""

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0


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
        "ping_interval": 10.0,
        "ping_timeout": 20.0,
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
