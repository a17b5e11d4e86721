"""A sample log on a disk that is slow."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from tmrld.storage.records import Record
from tmrld.storage.sample_log import Appended, SampleLog


class HeldLog(SampleLog):
    """A log whose disk is slow: `append` waits until ``released``; ``reached`` says that it does."""

    reached: threading.Event
    released: threading.Event

    def append(self, records: Sequence[Record], *, durable: bool = True) -> list[Appended]:
        assert durable
        self.reached.set()
        assert self.released.wait(30)
        return super().append(records)
