"""The outgoing side: find the relay, make sure that it is the right one, say who we are, and come back when the line breaks.

What can go wrong is sorted in `explain` into two kinds: `LinkLost`, which another try may mend, and `Refused`, which only a
person can.  Each carries the sentence that the person needs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    ProxyError,
)
from websockets.http11 import Response
from websockets.proxy import parse_proxy
from websockets.uri import parse_uri

from tmrld.errors import LinkError, LinkLost, ProtocolError, Refused, Replaced, SettingsError
from tmrld.peers.channel import GOING_AWAY, WebSocketChannel
from tmrld.peers.link import Link, link_trouble
from tmrld.peers.websocket import NAME_HEADER, OPEN_TIMEOUT_S, ROLE_HEADER, Heedful, options
from tmrld.protocol.conversation import check_subprotocol
from tmrld.protocol.messages import PROTOCOL, SPOKEN, Hello
from tmrld.security.tls import WrongKey
from tmrld.security.tokens import check_name

log = logging.getLogger(__name__)

STEADY_S = 5.0
"""A link that lived this long was a good one: the next delay is a short one again."""


def backoff(first_s: float = 0.1, cap_s: float = 5.0, chance: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before each further try: exponential with full jitter, so that a relay that comes back is not stormed.

    (Full jitter: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.)
    """
    ceiling = first_s
    while True:
        yield chance() * ceiling
        ceiling = min(cap_s, 2 * ceiling)


class Dialer:
    """Keeps one peer connected to its relay.

    ``url`` is ``wss://host:port``; ``context`` comes from `tls.client_context`; ``hello`` says role and name, which have to be
    those of the token.  ``proxy`` is None for no proxy, True for the one that the system names, or its URL.

    A refusal ends `run` by default.  With ``persist`` it is reported, and tried again every ``refused_delay_s`` seconds: for a
    node that nobody is looking at, started before its token was made.  So is a link that was replaced, from the second time in a row
    on: two machines have this node's name, and the relay has always the one that came last.
    """

    def __init__(
        self,
        url: str,
        token: str,
        hello: Hello,
        context: ssl.SSLContext,
        *,
        proxy: str | Literal[True] | None = None,
        persist: bool = False,
        refused_delay_s: float = 30.0,
        delays: Callable[[], Iterator[float]] = backoff,
        report: Callable[[str], None] = log.warning,
        spoken: Sequence[str] = SPOKEN,
    ) -> None:
        """Raises `SettingsError` or `BadInput` for an address, proxy, token or name that cannot be."""
        self.address = _check_url(url)
        _check_proxy(proxy)
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise SettingsError("the token is empty or has characters that no token has: copy it again, whole")
        check_name(hello.name)
        self._url = url
        self._token = token
        self._hello = hello
        self._context = context
        self._proxy = proxy
        self._persist = persist
        self._refused_delay_s = refused_delay_s
        self._delays = delays
        self._report = report
        self._spoken = spoken
        self._lived_s = 0.0

    async def connect(self) -> Link:
        """Try once.  Raises `LinkLost` or `Refused`; `ProtocolError` if the relay does not keep to the protocol."""
        try:
            connection = await dial(
                self._url,
                ssl=self._context,
                proxy=self._proxy,
                additional_headers={
                    "Authorization": f"Bearer {self._token}",
                    ROLE_HEADER: self._hello.role,
                    NAME_HEADER: self._hello.name,
                },
                create_connection=_Connection,
                **options(spoken=self._spoken),
            )
        except ImportError as error:
            raise SettingsError(f"the proxy {self._proxy} cannot be used: {error}") from error
        except (OSError, InvalidHandshake) as error:
            raise explain(error, self.address) from error
        channel = await WebSocketChannel.over(connection, self.address)
        try:
            check_subprotocol(connection.subprotocol, self.address, self._spoken)
        except Refused:
            await channel.close()
            raise
        return await Link.dial(channel, self._hello)

    async def run(self, on_link: Callable[[Link], Awaitable[None]]) -> None:
        """Connect, hand each link to ``on_link``, and connect again when that returns or the link fails.  Runs until cancelled.

        Raises `Refused` and `ProtocolError` unless ``persist``, and whatever else ``on_link`` raises.  Trouble is reported once,
        however often it comes in a row.
        """
        task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        delays = self._delays()
        said = ""
        replaced = 0
        while True:
            trouble: LinkError | ProtocolError | None = None
            try:
                # In a task of its own, because a TaskGroup in there whose tasks fail just when this is cancelled swallows the
                # cancellation, and in Python 3.11 miscounts it.
                await asyncio.create_task(self._once(on_link))
            except Exception as error:
                trouble = link_trouble(error)
                if trouble is None:
                    raise
            if task.cancelling() > cancellations:
                raise asyncio.CancelledError
            if self._lived_s >= STEADY_S:
                delays, said = self._delays(), ""
            replaced = replaced + 1 if isinstance(trouble, Replaced) else 0
            if replaced > 1:
                delay_s = self._refused_delay_s
            elif trouble is None or isinstance(trouble, LinkLost):
                delay_s = next(delays)
            elif self._persist:
                delay_s = self._refused_delay_s
            else:
                raise trouble
            if trouble is not None and str(trouble) != said:
                self._report(f"{trouble}; trying again")
            said = str(trouble)
            await asyncio.sleep(delay_s)

    async def _once(self, on_link: Callable[[Link], Awaitable[None]]) -> None:
        clock = asyncio.get_running_loop().time
        self._lived_s = 0.0
        link = await self.connect()
        began = clock()
        log.info("linked to relay %s at %s", link.peer.name, self.address)
        try:
            await on_link(link)
        except BaseException:
            await link.close(GOING_AWAY, f"{self._hello.role} {self._hello.name} left")
            raise
        finally:
            self._lived_s = clock() - began
        await link.close()


class _Connection(Heedful, ClientConnection):
    pass


class dial(connect):  # noqa: N801  (as its base)
    """Opens a WebSocket.  Follows no redirects: the token is for this address alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def explain(error: OSError | InvalidHandshake, address: str) -> LinkError:
    """What a failed try means, and what to do."""
    match error:
        case WrongKey():
            return Refused(f"{address}: {error}")
        case ssl.SSLCertVerificationError():
            return Refused(
                f"the certificate of {address} is not accepted: {error.verify_message}. Check the address and the file of "
                "authorities, or use the relay's pin"
            )
        case ssl.SSLError():
            return LinkLost(
                f"{address} does not speak TLS as expected ({error.reason or error}): is it the relay's port for peers?"
            )
        case InvalidStatus():
            return _explain_status(error.response, address)
        case NegotiationError():
            return Refused(f"{address} answers with another protocol than {PROTOCOL} ({error}): it is not a tmrld relay")
        case InvalidProxyStatus() if error.response.status_code == 407:
            return Refused(
                "the proxy asks for a name and password: write them into its address, http://NAME:PASSWORD@HOST:PORT"
            )
        case ProxyError():
            return LinkLost(f"the proxy does not lead to {address}: {error}")
        case TimeoutError():
            return LinkLost(
                f"{address} did not answer within {OPEN_TIMEOUT_S:g} s: is the machine on, and no firewall between?"
            )
        case OSError():
            return LinkLost(
                f"{address} cannot be reached ({error.strerror or error}): is the relay running, and the address right?"
            )
        case _:
            return LinkLost(f"{address} does not answer like a relay: {error}")


def _explain_status(response: Response, address: str) -> LinkError:
    """An HTTP answer instead of a WebSocket.  Relays give a sentence in the body; so do many other servers."""
    status = response.status_code
    text = bytes(response.body or b"")[:1000].decode(errors="replace")
    sentence = "".join(c if c.isprintable() else " " for c in text).strip()
    if status in (400, 401, 403, 426):
        return Refused(f"{address} refuses (HTTP {status}): {sentence or 'without a reason'}")
    if status == 429 or status >= 500:
        return LinkLost(f"{address} cannot take us now (HTTP {status}): {sentence or 'without a reason'}")
    return Refused(f"{address} answers with HTTP {status}, expected a tmrld relay: check the address and port")


def _check_url(url: str) -> str:
    """The ``host:port`` in it, for sentences."""
    try:
        uri = parse_uri(url)
    except InvalidURI as error:
        raise SettingsError(f"{url!r} is not the address of a relay: expected wss://HOST:PORT") from error
    if not uri.secure:
        raise SettingsError(f"{url!r} is not encrypted, and a token must not travel so: write wss:// instead of ws://")
    if uri.user_info is not None:
        raise SettingsError("the address of a relay has a name or password in it: write wss://HOST:PORT, and the token apart")
    return f"[{uri.host}]:{uri.port}" if ":" in uri.host else f"{uri.host}:{uri.port}"


def _check_proxy(proxy: str | Literal[True] | None) -> None:
    if isinstance(proxy, str):
        try:
            parse_proxy(proxy)
        except (InvalidProxy, ValueError):
            raise SettingsError("the address of the proxy cannot be used: expected http://HOST:PORT") from None
