"""What waits to be sent to one peer.

A mailbox is bounded.  Of messages of which only the newest matters (weights, checkpoint, allowance, assignment, spaces) one of a kind
waits at most: a newer one takes its place, so that a slow worker never gets a queue of stale policies.  An assignment to another run
drops what waits for the run before, which must not reach the node after it.  Acknowledgements are merged, and a file waits once,
however often it was asked for; everything else keeps its order.
When more than ``capacity`` messages wait the peer has stopped reading: `put` raises `MailboxFull` and the relay closes that link;
nothing is lost by it, since all that matters is sent again after a reconnect.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

from tmrld.errors import LinkLost
from tmrld.protocol.messages import Ack, Allowance, Assign, CheckpointMessage, FileMessage, Message, Spaces, WeightsMessage

_NEWEST_ONLY = (WeightsMessage, CheckpointMessage, Allowance, Assign, Spaces)
MAX_NUMBERS = 4096
"""In one acknowledgement; the codec allows twice as many elements."""


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
        if isinstance(message, Assign):
            self._queue = deque(
                waiting for waiting in self._queue if not isinstance(waiting, _NEWEST_ONLY) or waiting.run == message.run
            )
        for index, waiting in enumerate(self._queue):
            joined = _joined(waiting, message)
            if joined is not None:
                self._queue[index] = joined
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


def _joined(waiting: Message, message: Message) -> Message | None:
    """The one message that says what both say, to be sent in place of the first; None if both are needed."""
    if isinstance(message, WeightsMessage) and isinstance(waiting, WeightsMessage) and waiting.run == message.run:
        return replace(message, evaluate=max(waiting.evaluate, message.evaluate))  # an evaluation is not forgotten
    if isinstance(message, _NEWEST_ONLY):
        return message if type(waiting) is type(message) else None
    if isinstance(message, Ack) and isinstance(waiting, Ack) and waiting.incarnation == message.incarnation:
        numbers = waiting.numbers + message.numbers
        return Ack(message.incarnation, numbers) if len(numbers) <= MAX_NUMBERS else None
    if isinstance(message, FileMessage) and isinstance(waiting, FileMessage):
        return message if (waiting.kind, waiting.name) == (message.kind, message.name) else None
    return None
