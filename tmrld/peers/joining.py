"""How a new machine gets its credential: a WebSocket at ``/join`` of the relay's port for peers, which says one thing and ends.

The request carries the invite's secret as its bearer token, the name that the machine would like, and the SHA-256 of the
credential that it has made for itself.  TLS with the pinned key comes first, so nobody but the relay that made the invite sees the
secret; and the credential itself never travels before the first real link.  Whoever is turned away reads a sentence in the HTTP
answer, as on every link; whoever is let in reads ``{"name": …, "role": …, "relay": …}`` in a text message.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tmrld.errors import LinkLost, ProtocolError, SettingsError
from tmrld.peers.dialer import backoff, dial, explain
from tmrld.peers.websocket import NAME_HEADER, OPEN_TIMEOUT_S, options
from tmrld.security.invites import Invite
from tmrld.security.tls import client_context
from tmrld.security.tokens import Grant, check_name, hash_token, make_token

PATH = "/join"
CREDENTIAL_HEADER = "Tmrld-Credential"
TRIES = 4
"""How often a line that breaks is tried again."""
_MAX_ANSWER_BYTES = 4096


@dataclass(frozen=True)
class Joined:
    """What a machine is called at the relay, and its own credential."""

    name: str
    role: str
    relay: str
    token: str

    def __repr__(self) -> str:
        return f"Joined({self.name!r}, {self.role!r}, {self.relay!r})"  # without the credential


async def join(invite: Invite, wish: str, proxy: str = "") -> Joined:
    """Exchange an invite for a credential.  ``wish`` is what this machine would like to be called.

    Raises `Refused` when the relay says no or has another key, `LinkLost` when it cannot be reached, again and again.
    """
    check_name(wish)
    token = make_token(invite.role)
    for delay_s in (*(delay for delay, _ in zip(backoff(0.5), range(TRIES - 1), strict=False)), None):
        try:
            return await _ask(invite, wish, token, proxy)
        except LinkLost:
            if delay_s is None:
                raise
            await asyncio.sleep(delay_s)
    raise AssertionError("the last try returns or raises")


async def _ask(invite: Invite, wish: str, token: str, proxy: str) -> Joined:
    try:
        connection = await dial(
            f"wss://{invite.address}{PATH}",
            ssl=client_context(invite.pin),
            proxy=proxy or None,
            additional_headers={
                "Authorization": f"Bearer {invite.secret}",
                NAME_HEADER: wish,
                CREDENTIAL_HEADER: hash_token(token),
            },
            **options(_MAX_ANSWER_BYTES),
        )
    except ImportError as error:
        raise SettingsError(f"the proxy {proxy} cannot be used: {error}") from error
    except (OSError, InvalidHandshake) as error:
        raise explain(error, invite.address) from error
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            answer = json.loads(await connection.recv())
        return Joined(check_name(answer["name"]), invite.role, str(answer["relay"]), token)
    except (ConnectionClosed, TimeoutError) as error:
        raise LinkLost(f"the line to {invite.address} broke before the relay had answered") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{invite.address} answers what no relay says to a machine that joins") from error
    finally:
        await connection.close()


async def tell_joined(connection: ServerConnection, grant: Grant, relay: str) -> None:
    """The relay's side: say who has joined, and end.  A machine that is gone by then asks again."""
    with contextlib.suppress(ConnectionClosed):
        await connection.send(json.dumps({"name": grant.name, "role": grant.scope, "relay": relay}))
    await connection.close()
