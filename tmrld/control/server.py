"""The control API's listener: uvicorn as a guest in the daemon's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from tmrld.access import Access
from tmrld.control.app import create_app
from tmrld.control.connections import MOST_HEAD_BYTES, Requests, Streams
from tmrld.control.gate import is_loopback
from tmrld.control.options import ControlOptions
from tmrld.errors import Conflict, SettingsError
from tmrld.node import Node
from tmrld.security.door import Door, behind
from tmrld.security.tls import server_context

log = logging.getLogger(__name__)

POLITE_S = 0.5
"""How long requests that are being answered may take to finish when the server closes."""


class ControlServer:
    """Serves the control API between `start` and `close`."""

    def __init__(self, settings: ControlOptions, node: Node, access: Access) -> None:
        """Raises SettingsError for a certificate, key or proxy that cannot be used."""
        self._settings = settings
        self._context = _tls(settings)
        self._app = create_app(node, access, host=settings.host)
        self._door = Door(self._context, shared=_Proxies(settings.trusted_proxies).has)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._port = settings.port

    @property
    def url(self) -> str:
        """Where the API is, as seen from this machine: http://127.0.0.1:7400."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)  # noqa: S104 - compared, not bound
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._context else 'http'}://{shown}:{self._port}"

    async def start(self) -> None:
        """Begin to listen.

        Raises SettingsError for an address that needs HTTPS and has none, Conflict for one that cannot be had.
        """
        listener = await self._bind()
        self._port = listener.getsockname()[1]
        self._server = _Server(self._config())
        self._serving = asyncio.create_task(self._server.serve([listener]), name="control API")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait((listening, self._serving), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._serving.done():
            await self._serving
        log.info("the control API is at %s", self.url)

    async def close(self) -> None:
        """Stop listening and end all requests and streams, within a second.  May be called twice."""
        server, serving = self._server, self._serving
        self._server = self._serving = None
        if server is None or serving is None:
            return
        self._door.close()
        server.should_exit = True
        await serving

    async def _bind(self) -> socket.socket:
        """A socket at the configured address."""
        host, port = self._settings.host, self._settings.port
        try:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104 - "" means all
            family, _, _, _, address = found[0]
            self._check_reach(str(address[0]))
            return _bound(family, address)
        except OSError as error:
            where = f"{host or 'all addresses'}, port {port}"
            if error.errno == errno.EADDRINUSE:
                what = f"the control API cannot have {where}: another program is using it (another tmrld?)"
            else:
                what = f"the control API cannot listen on {where} ({error.strerror or error})"
            raise Conflict(f"{what}; use --set control.port=0 for any free port, or another address") from error

    def _check_reach(self, address: str) -> None:
        if is_loopback(address) or self._context is not None or self._settings.trusted_proxies:
            return
        raise SettingsError(
            f"control.host = {self._settings.host!r} can be reached from other machines, and without HTTPS tokens could be read "
            "on the way: set control.certificate and control.key, or control.trusted_proxies to the addresses of the reverse "
            "proxies that end HTTPS, or control.host to 127.0.0.1"
        )

    def _config(self) -> uvicorn.Config:
        config = uvicorn.Config(
            self._app,
            http=behind(self._door, Requests),
            ws=Streams,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            ws_max_size=2**16,  # nothing that clients send on the live stream is looked at
            lifespan="off",
            log_config=None,
            log_level=logging.WARNING,  # below that, websockets tells whole requests, with their tokens
            access_log=False,
            server_header=False,
            proxy_headers=bool(self._settings.trusted_proxies),
            forwarded_allow_ips=list(self._settings.trusted_proxies),
        )
        config.load()
        return config


class _Server(uvicorn.Server):
    """Leaves signals to the daemon, says when it listens, and does not wait for those who never finish."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        cutting = asyncio.get_running_loop().call_later(POLITE_S, self._cut)
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    def _cut(self) -> None:
        """Drop connections whose other end does not read, and requests that take too long."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    """A socket bound to this address.  It names TCP as its protocol: asyncio sets TCP_NODELAY on no other, and without that a
    reply of two writes takes 40 ms."""
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6():
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _tls(settings: ControlOptions) -> ssl.SSLContext | None:
    if bool(settings.certificate) != bool(settings.key):
        given, missing = ("certificate", "key") if settings.certificate else ("key", "certificate")
        raise SettingsError(f"control.{given} is set and control.{missing} is not: HTTPS needs both, as PEM files")
    return server_context(Path(settings.key), Path(settings.certificate)) if settings.key else None


class _Proxies:
    """The proxies that are trusted: many people may come from one of them."""

    def __init__(self, named: Sequence[str]) -> None:
        """Raises SettingsError for one that is no address and no network."""
        self._networks = [self._network(proxy) for proxy in named]

    def has(self, address: str) -> bool:
        """Whether this is the address of one."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    @staticmethod
    def _network(proxy: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        try:
            return ipaddress.ip_network(proxy)
        except ValueError:
            raise SettingsError(
                f"control.trusted_proxies = {proxy!r} cannot be used: expected an address such as 10.0.0.2, or a network such "
                "as 10.0.0.0/24"
            ) from None
