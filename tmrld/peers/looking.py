"""How somebody sees whether a link could be made, without making one: a WebSocket at ``/look`` of the relay's port for peers.

The request is that of a link, and is judged as one: certificate, token, role, name and version.  Whoever would be let in reads one
text message, ``{"relay": …, "version": …, "name": …, "time": …, "about": {…}}``, may measure the round trip with pings, and goes.  No
hello is said, so a daemon that is linked under the same name stays linked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tmrld.errors import LinkLost, ProtocolError, SettingsError
from tmrld.peers.dialer import dial, explain
from tmrld.peers.websocket import NAME_HEADER, OPEN_TIMEOUT_S, ROLE_HEADER, options
from tmrld.protocol.conversation import check_subprotocol
from tmrld.protocol.messages import Welcome

PATH = "/look"
PINGS = 5
STAY_S = 15.0
"""How long somebody who looks may stay."""
_MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True)
class Looked:
    """What the relay says of itself and of whoever looks.

    ``name`` is what it calls this node; ``ahead_s`` how far this machine's clock is ahead of the relay's, give or take half a round
    trip; ``about`` is what the relay knows of this node, as plain values.
    """

    relay: str
    version: str
    name: str
    ahead_s: float
    round_trip_s: float
    about: Mapping[str, Any]


async def look(
    address: str,
    token: str,
    role: str,
    name: str,
    context: ssl.SSLContext,
    proxy: str | Literal[True] | None = None,
    timeout_s: float = OPEN_TIMEOUT_S,
) -> Looked:
    """Look at the relay at ``address`` (HOST:PORT), once.

    Raises what `Dialer.connect` raises, each with its sentence, and with what it came from as its cause.
    """
    try:
        connection = await dial(
            f"wss://{address}{PATH}",
            ssl=context,
            proxy=proxy,
            additional_headers={"Authorization": f"Bearer {token}", ROLE_HEADER: role, NAME_HEADER: name},
            **{**options(_MAX_ANSWER_BYTES), "open_timeout": timeout_s},
        )
    except ImportError as error:
        raise SettingsError(f"the proxy cannot be used: {error}") from error
    except (OSError, InvalidHandshake) as error:
        raise explain(error, address) from error
    try:
        check_subprotocol(connection.subprotocol, address)
        async with asyncio.timeout(timeout_s):
            answer = json.loads(await connection.recv())
            came = time.time()
            round_trip_s = await _round_trip(connection)
        about = answer["about"]
        return Looked(
            relay=str(answer["relay"]),
            version=str(answer["version"]),
            name=str(answer["name"]),
            ahead_s=came - float(answer["time"]) - round_trip_s / 2,
            round_trip_s=round_trip_s,
            about=about if isinstance(about, dict) else {},
        )
    except TimeoutError as error:
        raise ProtocolError(f"{address} lets this node in, but does not say what it is: upgrade the relay") from error
    except ConnectionClosed as error:
        raise LinkLost(f"the line to {address} broke before the relay had answered") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{address} answers what no relay says to whoever looks: upgrade the relay") from error
    finally:
        await connection.close()


async def _round_trip(connection: ClientConnection) -> float:
    """The quickest of some."""
    return min([await (await connection.ping()) for _ in range(PINGS)])


async def show(connection: ServerConnection, welcome: Welcome, name: str, about: Mapping[str, Any]) -> None:
    """The relay's side: say what it is and what it knows, and let go of whoever stays too long."""
    answer = {"relay": welcome.relay, "version": welcome.version, "name": name, "time": welcome.time, "about": about}
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        await connection.send(json.dumps(answer))
        async with asyncio.timeout(STAY_S):
            await connection.wait_closed()
    await connection.close()
