"""A worker's or trainer's daemon side on a link in memory; the test is its relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from tmrld.peers.channel import memory_pair
from tmrld.peers.link import Link
from tmrld.protocol.messages import Hello, Message, Welcome

M = TypeVar("M", bound=Message)


class Role(Protocol):
    async def serve(self, link: Link) -> None: ...


class Relay:
    """The relay's end of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def say(self, *messages: Message) -> None:
        for message in messages:
            await self._link.send(message)

    async def hear_any(self) -> Message:
        """The next message."""
        received = await self._link.receive()
        assert received is not None, "the link ended before the expected message came"
        return received.message

    async def hear(self, kind: type[M]) -> M:
        """The next message of this kind."""
        while not isinstance(message := await self.hear_any(), kind):
            pass
        return message


@asynccontextmanager
async def linked(role: Role, kind: str, name: str, limit: int = 16) -> AsyncIterator[Relay]:
    """Link a role to this test; ``limit`` messages may wait in each direction."""
    here, there = memory_pair(limit, ("relay", name))
    accepting = asyncio.create_task(Link.accept(there, kind, name, Welcome("hub", "0.1.0", 0.0)))
    link = await Link.dial(here, Hello(kind, name, "0.1.0"))
    relays = await accepting
    serving = asyncio.create_task(role.serve(link))
    try:
        yield Relay(relays)
    finally:
        await relays.close()
        await asyncio.wait({serving})
