"""What a worker tells its relay besides its chunks: status, answers, questions, pictures and log lines.

Nobody waits for the line here, the engine least of all.  Of most kinds only the newest message waits; log lines, answers, questions
and what goes wrong keep their order, and go first: when more than `KEPT` of them wait, the oldest are left out and counted.  While
there is no link, nothing waits but log lines and how the worker is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from tmrld.protocol.messages import FetchFile, LogLines, Message, Result, Status

KEPT = 500
TROUBLE = ("problem", "recovered", "failed")
"""States that are told, whatever came after."""


class Aside:
    """Belongs to one event loop, `get` to one task at a time."""

    def __init__(self) -> None:
        self._newest: dict[type[Any], Message] = {}
        self._series: deque[Message] = deque()
        self._ready = asyncio.Event()
        self.dropped = 0
        """How many messages were left out."""

    def put(self, message: Message) -> None:
        """Add a message, or let it take the place of an older one of its kind; never waits."""
        if isinstance(message, LogLines | Result | FetchFile) or (isinstance(message, Status) and message.state in TROUBLE):
            if isinstance(message, Status):
                self._newest.pop(Status, None)  # it was before
            self._series.append(message)
            if len(self._series) > KEPT:
                self._series.popleft()
                self.dropped += 1
        else:
            self._newest[type(message)] = message
        self._ready.set()

    def begin(self) -> None:
        """For a new link: what was asked, answered or to be seen on the one before is no longer of interest."""
        self._series = deque(message for message in self._series if isinstance(message, LogLines | Status))
        self._newest = {kind: message for kind, message in self._newest.items() if kind is Status}

    async def get(self) -> Message:
        """The next message; waits for one."""
        while not (self._series or self._newest):
            self._ready.clear()
            await self._ready.wait()
        return self._series.popleft() if self._series else self._newest.pop(next(iter(self._newest)))
