"""Who watches what the cars of a run see: its workers send pictures as long as somebody does."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tmrld.protocol.messages import Command, Preview
from tmrld.relay.hub import Member

COMMAND = "preview"


class Previews:
    """Counts watchers.  ``changed`` is called when a run gets its first one or loses its last, to have `tell` called."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._watchers: Counter[str] = Counter()

    @contextmanager
    def watching(self, run: str) -> Iterator[None]:
        """Somebody watches this run meanwhile."""
        self._watchers[run] += 1
        if self._watchers[run] == 1:
            self._changed()
        try:
            yield
        finally:
            self._watchers[run] -= 1
            if not self._watchers[run]:
                del self._watchers[run]
                self._changed()

    def watched(self, run: str) -> bool:
        """Whether anybody watches this run."""
        return run in self._watchers

    def tell(self, members: Iterable[Member]) -> None:
        """Have the workers of watched runs send pictures, and the others none; says only what has changed."""
        for member in members:
            wanted = member.role == "worker" and self.watched(member.seat.run)
            if wanted != member.previewing:
                member.previewing = wanted
                member.put(Command(0, COMMAND, {"on": wanted}))


def shown(worker: str, preview: Preview) -> dict[str, Any]:
    """What listeners are told of a picture."""
    return {
        "image": base64.b64encode(preview.payload).decode(),
        "width": preview.width,
        "height": preview.height,
        "beams": preview.beams,
        "action": preview.action,
        "speed": preview.speed,
        "step": preview.step,
        "worker": worker,
    }
