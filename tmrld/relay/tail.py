"""The newest records of a run's log, kept in memory for trainers that keep up.  Pure: no file, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from tmrld.protocol.codec import StoredBody


class Tail:
    """The newest records of the log, one behind the other: of at most so many bytes, or those of one commit."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._records: list[StoredBody] = []
        self._size = 0

    def extend(self, records: Sequence[StoredBody]) -> None:
        """These were committed.  Where some before them are missing, those that were here are let go: nobody may skip what is not."""
        if records and self._records and self._records[-1].next_offset != records[0].offset:
            self.clear()
        self._records.extend(records)
        self._size += sum(len(record.body) for record in records)
        gone = 0
        while self._size > self._most_bytes and gone < len(self._records) - len(records):
            self._size -= len(self._records[gone].body)
            gone += 1
        del self._records[:gone]

    def clear(self) -> None:
        """Nobody needs them."""
        self._records.clear()
        self._size = 0

    def read(self, offset: int, max_bytes: int, limit: int) -> list[StoredBody]:
        """The records from ``offset`` on, as `SampleLog.read` has them; none if the first of them is no longer here."""
        start = stop = bisect_left(self._records, offset, key=lambda record: record.offset)
        if start < len(self._records) and self._records[start].offset == offset:
            max_bytes -= len(self._records[start].body)
            stop += 1
            while stop < min(len(self._records), start + limit) and len(self._records[stop].body) <= max_bytes:
                max_bytes -= len(self._records[stop].body)
                stop += 1
        return self._records[start:stop]
