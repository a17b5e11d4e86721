"""Who may reach this relay: tokens, invites and sign-ins in one place, and what follows when one of them ends.

A change of the tokens, whoever made it (this API, or the command line in another process), is noticed at once: the link of a node
whose token counts no more is cut, one that is called something else is told so, and whoever waits for the `next_change` looks again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from tmrld.errors import BadInput, Conflict, NotFound, StorageError
from tmrld.security.invites import Invite, InviteRecord, Invites
from tmrld.security.sessions import OneTimeCodes, Sessions
from tmrld.security.tokens import NODES, Grant, TokenRecord, TokenStore, check_name

log = logging.getLogger(__name__)

LOOK_S = 0.25
"""How often it is looked whether another process has changed the tokens: reading one number in memory."""
REVOKED = "this node's token was revoked or replaced on the relay: to come back it needs a new invite"

_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9a-fA-F:.]+")

T = TypeVar("T")


class Links(Protocol):
    """What this module asks of the relay role."""

    def cut(self, name: str, token_hash: str, reason: str) -> None:
        """Let go of a node at once, if it is connected with this token."""

    def rename(self, name: str, new: str) -> None:
        """A node is called something else."""

    def named(self, name: str, token_hash: str) -> None:
        """A name belongs to the holder of this token: nobody else may use it any more who was called so before."""

    def met(self, name: str, role: str) -> None:
        """A node has joined, and will connect."""

    def forget(self, name: str) -> bool:
        """Forget a node; False if there was none."""


@dataclass(frozen=True)
class Address:
    """Where machines find the relay's port for peers: what it listens on, what was set as its address, and its key."""

    host: str
    port: int
    public: str
    pin: str


@dataclass(frozen=True)
class MadeInvite:
    """An invite that was just made.  ``warning`` says what may keep it from working."""

    id: str
    role: str
    name: str | None
    expires: float
    address: str
    invite: str
    command: str
    warning: str | None

    def __repr__(self) -> str:
        return f"MadeInvite({self.id!r}, {self.role!r}, {self.name!r})"  # without the secret


class Access:
    """Belongs to one event loop; what touches the disk runs in threads.

    ``own`` are the names of this daemon's own worker and trainer: without their tokens it could not go on.
    """

    def __init__(
        self,
        tokens: TokenStore,
        links: Links | None = None,
        address: Callable[[], Address] | None = None,
        own: Collection[str] = (),
    ) -> None:
        self.store = tokens
        self.sessions = Sessions(tokens)
        self.codes = OneTimeCodes()
        self._invites = Invites(tokens)
        self._links = links
        self._address = address
        self._own = frozenset(own)
        self._holders: dict[str, str] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Notice what other processes change, until cancelled."""
        self._holders = self.store.holders()
        seen = self.store.database.foreign_changes()
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                now = self.store.database.foreign_changes()
                if now != seen:
                    self._look()
                    seen = now
            except StorageError as error:
                log.error("tokens cannot be looked at: %s", error)

    def next_change(self) -> asyncio.Event:
        """Set at the next change of tokens or sessions."""
        return self._changed

    def changed(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _look(self) -> None:
        """Compare who holds a token with who did, and act on it."""
        before, self._holders = self._holders, self.store.holders()
        if self._links is not None:
            for token, name in before.items():
                now = self._holders.get(token)
                if now is None:
                    self._links.cut(name, token, REVOKED)
                    if name not in self._holders.values():
                        self._links.forget(name)
                elif now != name:
                    self._links.rename(name, now)
            for token, name in self._holders.items() - before.items():
                self._links.named(name, token)
        self.changed()

    async def _change(self, work: Callable[[], T]) -> T:
        result = await asyncio.to_thread(work)
        self._look()
        return result

    # Tokens

    async def tokens(self) -> tuple[TokenRecord, ...]:
        """All of them, without their secrets."""
        return await asyncio.to_thread(self.store.list)

    async def issue_token(self, name: str, scope: str) -> str:
        """Raises BadInput for a name or scope that cannot be, Conflict for a name that has one."""
        return await self._change(lambda: self.store.issue(name, scope))

    async def revoke_token(self, name: str) -> None:
        """Make a token worthless; a node of that name is cut off.  Raises NotFound and Conflict."""
        self._check_not_own(name)
        await self._change(lambda: self.store.revoke(name))

    # Nodes

    async def rename_node(self, name: str, new: str) -> None:
        """Raises BadInput, NotFound and Conflict."""
        self._check_not_own(name)
        check_name(new)
        await self._check_is_node(name)
        if new != name:
            await self._change(lambda: self.store.rename(name, new))

    async def revoke_node(self, name: str) -> None:
        """Raises NotFound and Conflict."""
        self._check_not_own(name)
        try:
            await self._check_is_node(name)
        except NotFound:
            if self._links is None or not self._links.forget(name):  # one that had a token once, and is still listed
                raise
            return
        await self._change(lambda: self.store.revoke(name))

    async def _check_is_node(self, name: str) -> None:
        records = await self.tokens()
        if not any(record.name == name and record.scope in NODES for record in records):
            raise NotFound(f"there is no node {name[:80]!r} with a token: it was never here, or was revoked already")

    def _check_not_own(self, name: str) -> None:
        if name in self._own:
            raise Conflict(f"{name} is a part of the relay's own daemon, which cannot do without: stop its engine instead")

    # Invites

    async def invites(self) -> tuple[InviteRecord, ...]:
        """The newest first, without their secrets."""
        return await asyncio.to_thread(self._invites.list)

    async def invite(self, role: str, name: str | None, expires_s: float, address: str | None = None) -> MadeInvite:
        """Make an invite.  ``address`` is where the machine will look for the relay, if that is not `relay.address`.

        Raises BadInput and Conflict.
        """
        if self._address is None:
            raise Conflict("this daemon has no port for peers, so nobody can be invited")
        here = self._address()
        where, warning = reachable(here, address)
        record, secret = await asyncio.to_thread(self._invites.make, role, name, expires_s)
        text = Invite(where, role, here.pin, secret).text()
        return MadeInvite(record.id, role, name, record.expires, where, text, f"tmrld join {text}", warning)

    async def revoke_invite(self, id: str) -> None:
        """Raises NotFound."""
        await asyncio.to_thread(self._invites.revoke, id)

    def enrol(self, secret: str, wish: str, token_hash: str) -> Grant:
        """Let in a machine that brings an invite's secret and the hash of a credential.  Raises Refused and BadInput."""
        grant = self._invites.use(secret, wish, token_hash)
        if self._links is not None:
            self._links.met(grant.name, grant.scope)
        self._look()
        return grant


def reachable(here: Address, wanted: str | None) -> tuple[str, str | None]:
    """HOST:PORT for an invite, and what may be wrong with it.  Raises BadInput for a ``wanted`` that is no address."""
    chosen = wanted or here.public
    if chosen:
        return _host_and_port(chosen, here.port), None
    if _is_loopback(here.host):
        return _joined(here.host, here.port), (
            f"the relay listens on {here.host} alone, so only this very machine can use the invite: for others set relay.host to "
            '"0.0.0.0" and start the relay again, or give the address at which they reach it'
        )
    if here.host not in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return _joined(here.host, here.port), None
    guess = _outward_address()
    return _joined(guess, here.port), (
        f"{guess} is a guess at this machine's address: set relay.address if others reach it at another one"
    )


def _host_and_port(text: str, port: int) -> str:
    """HOST or HOST:PORT with a port."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, given = parts.hostname, parts.port
    except ValueError:
        host, given = None, None
    if not host or not _HOST.fullmatch(host) or parts.netloc != text.strip() or "@" in text:
        raise BadInput(f"{text[:80]!r} is no address of a relay: expected HOST or HOST:PORT")
    return _joined(host, given or port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _outward_address() -> str:
    """The address from which this machine would reach others.  Nothing is sent: UDP knows no connections."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # for documentation, RFC 5737: nobody is there
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
