"""What waits to be sent to one peer.

A mailbox is bounded.  Messages of which only the newest matters (weights, allowance, assignment, spaces) replace the one that waits,
so that a slow worker never gets a queue of stale policies; acknowledgements are merged; everything else keeps its order.
When more than ``capacity`` messages wait the peer has stopped reading: `put` raises `MailboxFull` and the relay closes that link;
nothing is lost by it, since all that matters is sent again after a reconnect.
"""

from __future__ import annotations

import asyncio
from collections import deque

from tmrld.errors import LinkLost
from tmrld.protocol.messages import Ack, Allowance, Assign, Message, Spaces, WeightsMessage

_NEWEST_ONLY = (WeightsMessage, Allowance, Assign, Spaces)


class MailboxFull(LinkLost):
    """The peer does not read what it is sent."""


class Mailbox:
    """A peer's waiting messages; belongs to one event loop, `get` to one task."""

    def __init__(self, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._queue: deque[Message] = deque()
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message) -> None:
        """Add a message, or let it take the place of an older one of its kind.  Raises `MailboxFull`."""
        if isinstance(message, _NEWEST_ONLY):
            for waiting in self._queue:
                if type(waiting) is type(message):
                    self._queue.remove(waiting)
                    break
        elif isinstance(message, Ack):
            for index, waiting in enumerate(self._queue):
                if isinstance(waiting, Ack) and waiting.incarnation == message.incarnation:
                    self._queue[index] = Ack(message.incarnation, waiting.numbers + message.numbers)
                    self._ready.set()
                    return
        if len(self._queue) >= self._capacity:
            raise MailboxFull(
                f"{self._capacity} messages wait for a peer that does not read: its link is closed, it may reconnect"
            )
        self._queue.append(message)
        self._ready.set()

    async def get(self) -> Message:
        """The oldest message; waits for one."""
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()
