"""What a worker tells its relay besides its chunks, and may as well leave out: pictures and log lines.

Nobody waits for the line here, the engine least of all.  Of pictures only the newest waits; of log lines the newest `KEPT_LINES`
messages, and while there is no link nothing at all but those.
"""

from __future__ import annotations

import asyncio
from collections import deque

from tmrld.protocol.messages import LogLines, Message, Preview

KEPT_LINES = 500


class Aside:
    """Belongs to one event loop, `get` to one task at a time."""

    def __init__(self) -> None:
        self._preview: Preview | None = None
        self._lines: deque[LogLines] = deque(maxlen=KEPT_LINES)
        self._ready = asyncio.Event()

    def put(self, message: Preview | LogLines) -> None:
        """Add a message; never waits."""
        if isinstance(message, Preview):
            self._preview = message
        else:
            self._lines.append(message)
        self._ready.set()

    def begin(self) -> None:
        """For a new link: what was to be seen before is no longer of interest."""
        self._preview = None

    async def get(self) -> Message:
        """The next message; waits for one."""
        while True:
            if self._lines:
                return self._lines.popleft()
            if self._preview is not None:
                preview, self._preview = self._preview, None
                return preview
            self._ready.clear()
            await self._ready.wait()
