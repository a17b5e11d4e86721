"""One live connection between a relay and a peer: a `Conversation` over a `Channel`.

A link exists once hello and welcome are said, so whoever holds one knows who is at the other end.  How a link ends is told by
types: reading ends quietly when either end closed it because all was said; `LinkLost` for a line that broke, an end that goes away
or (`Replaced`) a newer link of the same node (try again); `Refused` for an end that says no (do not); `ProtocolError` for an end that
does not keep to the protocol, the other or, as the other one sees it, this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tmrld.errors import LinkError, LinkLost, ProtocolError, Refused, Replaced, TmrldError
from tmrld.peers.channel import GOING_AWAY, INTERNAL, NORMAL, POLICY, REPLACED, Channel, Closed
from tmrld.protocol.conversation import Conversation
from tmrld.protocol.messages import Hello, Message, Welcome

OPENING_TIMEOUT_S = 10.0
"""How long the other end may take for its hello or welcome."""

_PROTOCOL_CODES = frozenset({1002, 1003, 1007, 1009})


@dataclass(frozen=True)
class Peer:
    """Who is at the other end, by its own account (its role and name are checked)."""

    role: str
    name: str
    version: str
    remote: str
    capabilities: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    former: tuple[str, ...] = ()
    """Names that it had before."""


@dataclass(frozen=True)
class Received:
    """A message and the bytes that it came in, for who passes it on unchanged."""

    message: Message
    data: bytes


class Link:
    """Made by `dial` or `accept`.  One task reads, any number may send."""

    def __init__(self, channel: Channel, conversation: Conversation, peer: Peer) -> None:
        self.peer = peer
        self.own_name = ""
        """What the relay calls this end, on the side of the peer."""
        self.credential = ""
        """Hash of the token that the peer showed, on the side of the relay."""
        self._channel = channel
        self._conversation = conversation
        self._closed_here = False

    @classmethod
    async def dial(cls, channel: Channel, hello: Hello, timeout_s: float = OPENING_TIMEOUT_S) -> Link:
        """Open the session from the peer's side.  Closes the channel and raises `LinkError` or `ProtocolError` if that fails."""
        conversation = Conversation("peer", hello.role, hello.name)
        link = cls(channel, conversation, Peer("relay", "", "", channel.remote))
        async with _opening(link, timeout_s):
            await link.send(hello)
            await link._first()
        welcome = conversation.welcome
        assert welcome is not None
        link.peer = Peer("relay", welcome.relay, welcome.version, channel.remote)
        link.own_name = welcome.name or hello.name
        return link

    @classmethod
    async def accept(
        cls,
        channel: Channel,
        role: str,
        name: str,
        welcome: Welcome,
        timeout_s: float = OPENING_TIMEOUT_S,
        former: Sequence[str] = (),
    ) -> Link:
        """Open the session from the relay's side, with the peer whose token says this role and name.  Fails as `dial`.

        A peer that was renamed may say one of its ``former`` names, and is told the one that it has.
        """
        conversation = Conversation("relay", role, name, former)
        link = cls(channel, conversation, Peer(role, name, "", channel.remote))
        async with _opening(link, timeout_s):
            await link._first()
            await link.send(replace(welcome, name=name))
        hello = conversation.hello
        assert hello is not None
        link.peer = Peer(role, name, hello.version, channel.remote, tuple(hello.capabilities), hello.machine, tuple(former))
        return link

    @property
    def latency_s(self) -> float | None:
        """The round trip as last measured; None before the first measurement."""
        return self._channel.latency_s

    def give_up_name(self, name: str) -> None:
        """The peer may not speak in this name any more, if it is one that it had before."""
        self.peer = replace(self.peer, former=tuple(each for each in self.peer.former if each != name))

    async def send(self, message: Message) -> None:
        """Send a message; waits while the way is full.  Messages arrive in the order of the calls.

        Raises `LinkError` or `ProtocolError` if the link has ended, `BadInput` for a message that cannot travel (the link
        stays), ValueError for one that this end may not send.  Cancelling while a large message is under way costs the link.
        """
        data = self._conversation.send(message)
        try:
            await self._channel.send(data)
        except Closed as closed:
            raise self._ending(closed) or LinkLost(f"the link to {self._whom()} is closed") from closed

    async def receive(self) -> Received | None:
        """The next message; None when the link was closed because all was said, or by this end.

        Raises `LinkLost`, `Refused` or `ProtocolError`; before the latter it tells the other end the reason, and closes.
        Cancelling loses nothing.
        """
        try:
            data = await self._channel.recv()
            return Received(self._conversation.receive(data), data)
        except ProtocolError as error:
            await self.close(error.code, str(error))
            raise ProtocolError(f"{self._whom()} broke the protocol: {error}", error.code) from error
        except Closed as closed:
            ending = self._ending(closed)
            if ending is None:
                return None
            raise ending from closed

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Every message until the link ends; raises as `receive`."""
        while received := await self.receive():
            yield received.message

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say why, and close; may be called twice, the first call counts.  The other end sees the first 123 bytes of it."""
        self._closed_here = True
        await self._channel.close(code, reason)

    async def _first(self) -> None:
        """Hear the other end's part of the opening."""
        if await self.receive() is None:
            raise LinkLost(f"{self._whom()} closed the link before it was open")

    def _whom(self) -> str:
        return f"{self.peer.role} {self.peer.name}".rstrip() + f" at {self.peer.remote}"

    def _ending(self, closed: Closed) -> TmrldError | None:
        """What a closed channel means; None for an end without trouble."""
        whom = self._whom()
        if closed.ours:
            if self._closed_here or closed.code in (NORMAL, GOING_AWAY):
                return None
            if closed.code in _PROTOCOL_CODES:
                return ProtocolError(f"{whom} broke the protocol: {closed}", closed.code)
            return LinkLost(f"the link to {whom} was given up: {closed}")
        if closed.code == NORMAL:
            return None
        if closed.code == POLICY:
            return Refused(f"{whom} refuses: {closed}")
        if closed.code == REPLACED:
            return Replaced(f"{whom} has let go of this link: {closed}")
        if closed.code in _PROTOCOL_CODES:
            return ProtocolError(f"{whom} closed the link, because this end broke the protocol: {closed}", closed.code)
        return LinkLost(f"the link to {whom} is lost: {closed}")


def link_trouble(error: BaseException) -> LinkError | ProtocolError | None:
    """What became of a link, from what its user raised: the error, or the gravest of a group (tasks of one TaskGroup fail
    together when their link does).  None if anything else is the matter."""
    leaves = list(_leaves(error))
    if not all(isinstance(leaf, LinkError | ProtocolError) for leaf in leaves):
        return None
    gravest = min(leaves, key=lambda leaf: isinstance(leaf, LinkLost))
    assert isinstance(gravest, LinkError | ProtocolError)
    return gravest


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@asynccontextmanager
async def _opening(link: Link, timeout_s: float) -> AsyncIterator[None]:
    """Closes the link if its opening fails or takes too long."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        await link.close(INTERNAL, f"the session was not open within {timeout_s:g} s")
        raise LinkLost(f"no hello or welcome from {link.peer.remote} within {timeout_s:g} s") from None
    except BaseException:
        await link.close(GOING_AWAY, "the session was not opened")
        raise
