"""Chunks that the relay has not yet acknowledged: in memory first, then in a bounded spool on disk.

A chunk is numbered when it enters; (incarnation, number) identify it for ever.  The incarnation is new whenever the outbox is, so
numbers never repeat; chunks that an earlier incarnation left in the spool are sent under the identity they had.
After a broken line everything unacknowledged is sent again, in order: the relay stores each of them once.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections import deque
from dataclasses import dataclass

from tmrld.protocol.codec import decode, encode
from tmrld.protocol.messages import ChunkMessage
from tmrld.storage.records import Record
from tmrld.storage.sample_log import SampleLog


@dataclass
class _Entry:
    """One unacknowledged chunk: itself, or where it lies in the spool."""

    identity: tuple[str, int]
    chunk: ChunkMessage | None
    offset: int = 0


class Outbox:
    """Not thread-safe.  ``memory_bytes`` may wait in memory; what comes on top goes to ``spool``, which raises DiskFull when full."""

    def __init__(self, spool: SampleLog, memory_bytes: int) -> None:
        self.incarnation = secrets.token_hex(8)
        self.transitions = 0
        """Training transitions that entered under this incarnation."""
        self._spool = spool
        self._memory_limit_bytes = memory_bytes
        self._memory_bytes = 0
        self._next_number = 0
        self._entries: dict[tuple[str, int], _Entry] = {}
        self._unsent: deque[_Entry] = deque()
        self._recover()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def spooled_bytes(self) -> int:
        """How much of it lies on disk."""
        return self._spool.size_bytes

    def put(self, chunk: ChunkMessage) -> None:
        """Number a chunk and keep it until it is acknowledged.  Raises DiskFull, and keeps nothing then."""
        chunk = dataclasses.replace(chunk, incarnation=self.incarnation, number=self._next_number)
        if self._memory_bytes + len(chunk.payload) <= self._memory_limit_bytes:
            entry = _Entry((chunk.incarnation, chunk.number), chunk)
            self._memory_bytes += len(chunk.payload)
        else:
            entry = self._spill(chunk)
        self._next_number += 1
        if chunk.purpose == "train":
            self.transitions += chunk.steps
        self._entries[entry.identity] = entry
        self._unsent.append(entry)

    def next_unsent(self) -> ChunkMessage | None:
        """The oldest chunk that was not handed out since the last `rewind`; None when there is none."""
        while self._unsent:
            entry = self._unsent.popleft()
            if entry.identity in self._entries:
                return entry.chunk or self._load(entry.offset)
        return None

    def rewind(self) -> None:
        """After a broken line: hand out everything unacknowledged again, oldest first."""
        self._unsent = deque(self._entries.values())

    def acknowledge(self, incarnation: str, numbers: list[int]) -> None:
        """Forget chunks; unknown numbers are ignored (an acknowledgement may come twice)."""
        freed_spool = False
        for number in numbers:
            entry = self._entries.pop((incarnation, number), None)
            if entry is None:
                continue
            if entry.chunk is not None:
                self._memory_bytes -= len(entry.chunk.payload)
            else:
                freed_spool = True
        if freed_spool:
            spooled = (entry.offset for entry in self._entries.values() if entry.chunk is None)
            self._spool.prune(min(spooled, default=self._spool.end))

    def close(self) -> None:
        """Move what waits in memory to the spool, so that it is sent after the daemon's next start, and close that."""
        for identity, entry in list(self._entries.items()):
            if entry.chunk is not None:
                self._entries[identity] = self._spill(entry.chunk)
                self._memory_bytes -= len(entry.chunk.payload)
        self._spool.close()

    def _spill(self, chunk: ChunkMessage) -> _Entry:
        record = Record(chunk.worker, chunk.incarnation, chunk.number, chunk.steps, chunk.purpose, chunk.episode, encode(chunk))
        (stored,) = self._spool.append([record], durable=False)
        return _Entry((chunk.incarnation, chunk.number), None, stored.offset)

    def _load(self, offset: int) -> ChunkMessage:
        (record,) = self._spool.read(offset, 1)
        chunk = decode(record.body)
        assert isinstance(chunk, ChunkMessage)
        return chunk

    def _recover(self) -> None:
        offset = self._spool.begin
        while records := self._spool.read(offset, 1 << 20):
            for record in records:
                identity = (record.facts.incarnation, record.facts.number)
                self._entries[identity] = _Entry(identity, None, record.offset)
            offset = records[-1].next_offset
        self.rewind()
