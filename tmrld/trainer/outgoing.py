"""What a trainer has still to send to its relay.

Nobody waits for the line here, the engine least of all.  Of most kinds only the newest message waits, so that a slow line gets no
queue of stale weights; metrics, log lines, answers and what goes wrong keep their order, and when too many wait the oldest go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tmrld.protocol.messages import LogLines, Message, Metrics, Result, Status, WeightsMessage

EVENTS = ("problem", "recovered")
"""States that are told, whatever came after."""


class Outgoing:
    """Belongs to one event loop, `get` to one task at a time.  ``kept`` bounds what keeps its order."""

    def __init__(self, kept: int = 2000) -> None:
        self._newest: dict[type[Any], Message] = {}
        self._series: deque[Message] = deque(maxlen=kept)
        self.dropped = 0
        """How many messages of those that keep their order were left out."""
        self._series_is_next = False
        self._ready = asyncio.Event()
        self._all_sent = asyncio.Event()

    def put(self, message: Message) -> None:
        """Add a message, or let it take the place of an older one of its kind; never waits."""
        if isinstance(message, Metrics | LogLines | Result) or (isinstance(message, Status) and message.state in EVENTS):
            self.dropped += len(self._series) == self._series.maxlen
            self._series.append(message)
        else:
            if isinstance(message, Status) and message.state == "finished":
                self._newest.pop(Status, None)  # it comes after the weights that the run has finished with
            self._newest[type(message)] = _joined(self._newest.get(type(message)), message)
        self._all_sent.clear()
        self._ready.set()

    def begin(self, messages: Iterable[Message]) -> None:
        """For a new link: these come first, instead of all that waits except what keeps its order."""
        self._newest.clear()
        for message in messages:
            self.put(message)

    async def get(self) -> Message:
        """The next message; waits for one.  Asking for it says that the one before was sent.

        The newest ones come in the order in which their kinds began to wait, by turns with those that keep theirs.
        """
        while not (self._newest or self._series):
            self._all_sent.set()
            self._ready.clear()
            await self._ready.wait()
        series = bool(self._series) and (self._series_is_next or not self._newest)
        self._series_is_next = not series
        return self._series.popleft() if series else self._newest.pop(next(iter(self._newest)))

    async def all_sent(self) -> None:
        """Wait until nothing is left to be sent."""
        await self._all_sent.wait()


def _joined(waiting: Message | None, message: Message) -> Message:
    """The newer message in place of the one that waits; an evaluation that was asked for is not forgotten."""
    if isinstance(message, WeightsMessage) and isinstance(waiting, WeightsMessage) and waiting.run == message.run:
        return replace(message, evaluate=max(waiting.evaluate, message.evaluate))
    return message
