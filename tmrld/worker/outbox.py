"""Chunks that the relay has not yet acknowledged: in memory first, then in a bounded spool on disk.

A chunk is numbered when it enters; (incarnation, number) identify it for ever.  The incarnation is new whenever the outbox is, so
numbers never repeat, even if the spool was wiped; chunks that an earlier incarnation left there are sent under the identity they had.
After a broken line everything unacknowledged is sent again: the relay stores each of them once.

In what order
-------------
The chunks of an episode are always handed out in theirs, which is how the trainer's memory finds out what follows what.  Where
several episodes wait, as after an outage, the oldest and the newest of them take turns, chunk by chunk: what is driven now waits for
no more than what its own episode has waiting and as much again of the backlog, however long that is; and the backlog has half of the
line at least.  An episode counts as the newer, the later the first of its waiting chunks came.

Of which run
------------
Chunks name their run, and a run that was deleted may have been made anew under its name, also while this daemon was down.  A small
file in the spool's folder says when the runs were made whose chunks may wait, and from where in the spool on they are of that one,
so that what waits of the one does not enter the other (`Outbox.belongs`).
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tmrld.errors import ProtocolError, StorageError
from tmrld.protocol.codec import decode, encode
from tmrld.protocol.messages import ChunkMessage
from tmrld.storage import files
from tmrld.storage.records import Record
from tmrld.storage.sample_log import SampleLog

log = logging.getLogger(__name__)

Identity = tuple[str, int]
"""Incarnation and number."""

READ_BYTES = 2**20
SPILL_CHUNKS = 100
"""How many chunks go to the spool with one transaction."""
MADE_KIND = "tmrld runs of a worker"
MADE_RUNS = 1000
"""How many runs the file knows at most: those that were asked for last."""


@dataclass
class _Entry:
    """One unacknowledged chunk: itself, or where it lies in the spool."""

    identity: Identity
    episode: str
    chunk: ChunkMessage | None
    offset: int = 0
    run: str = ""


class Outbox:
    """Not thread-safe.  ``memory_bytes`` may wait in memory; what comes on top goes to ``spool``, which it owns from now on.

    ``made`` is the file that says when the runs were made; without one, that is known until the process ends.
    """

    def __init__(self, spool: SampleLog, memory_bytes: int, made: Path | None = None) -> None:
        self.incarnation = secrets.token_hex(8)
        self.transitions = 0
        """Training transitions that entered under this incarnation."""
        self._spool = spool
        self._memory_limit_bytes = memory_bytes
        self._memory_bytes = 0
        self._next_number = 0
        self._made_path = made
        self._made = self._read_made()
        """Of each run, when it was made and from where in the spool on its chunks are of that one."""
        self._made_is_written = True
        self._entries = self._left_in_spool()
        self._unsent: dict[str, deque[_Entry]] = {}
        """What was not handed out yet of each episode, in the order in which they began to wait."""
        self._newest_is_next = False
        self.rewind()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def spooled_bytes(self) -> int:
        """What the spool takes on the disk; it shrinks by whole segments, once all in them is acknowledged."""
        return self._spool.size_bytes

    def put(self, chunk: ChunkMessage) -> None:
        """Number a chunk and keep it until it is acknowledged.

        Raises DiskFull when there is no room, or another StorageError; the chunk is not kept then and its number not used.
        """
        chunk = dataclasses.replace(chunk, incarnation=self.incarnation, number=self._next_number)
        entry = _Entry((chunk.incarnation, chunk.number), chunk.episode, chunk, run=chunk.run)
        if self._memory_bytes + len(chunk.payload) <= self._memory_limit_bytes:
            self._memory_bytes += len(chunk.payload)
        else:
            self._spill([entry])
        self._next_number += 1
        if chunk.purpose == "train":
            self.transitions += chunk.steps
        self._entries[entry.identity] = entry
        self._unsent.setdefault(entry.episode, deque()).append(entry)

    def next_unsent(self) -> ChunkMessage | None:
        """The chunk whose turn it is of those that were not handed out since the last `rewind`; None when there is none.

        One that lies damaged in the spool is reported and forgotten.
        """
        while self._unsent:
            entry = self._take()
            if entry.identity not in self._entries:
                continue
            chunk = entry.chunk or self._load(entry)
            if chunk is not None:
                return chunk
            del self._entries[entry.identity]
            log.error("chunk %d of %s was damaged on the disk before the relay had it: it is lost", *reversed(entry.identity))
        return None

    def _take(self) -> _Entry:
        """The first that waits of the oldest episode or, by turns, of the newest."""
        ends = reversed(self._unsent) if self._newest_is_next else iter(self._unsent)
        self._newest_is_next = not self._newest_is_next
        waiting = self._unsent[episode := next(ends)]
        entry = waiting.popleft()
        if not waiting:
            del self._unsent[episode]
        return entry

    def rewind(self) -> None:
        """After a broken line: hand out everything unacknowledged again."""
        self._unsent.clear()
        for entry in self._entries.values():
            self._unsent.setdefault(entry.episode, deque()).append(entry)

    def acknowledge(self, incarnation: str, numbers: Sequence[int]) -> None:
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
            self._prune()

    def belongs(self, run: str, made: float) -> bool:
        """From now on, the run of this name is the one that was made then; whether it was another one before.

        What waits for that one is let go: this one would learn from it.
        """
        known = self._made.pop(run, None)
        another = known is not None and known[0] != made
        self._made[run] = (made, self._spool.end) if another else known or (made, 0)
        if another or known is None:
            self._made_is_written = False
            self._write_made()
        if another:
            self._let_go(run)
        return another

    def _let_go(self, run: str) -> None:
        gone = [entry.identity for entry in self._entries.values() if entry.run == run]
        if gone:
            log.warning("%d chunks of the run %s, which was deleted, are let go", len(gone), run)
        for incarnation in {incarnation for incarnation, _ in gone}:
            self.acknowledge(incarnation, [number for its, number in gone if its == incarnation])

    def _read_made(self) -> dict[str, tuple[float, int]]:
        if self._made_path is None or not self._made_path.exists():
            return {}
        try:
            known = files.read_manifest(self._made_path, MADE_KIND, 1)["runs"]
            made = {str(run): (float(made), int(since)) for run, made, since in known}
        except (StorageError, KeyError, TypeError, ValueError) as error:
            log.error("if a run was made anew meanwhile, it may learn from what waits here for the one before it: %s", error)
            return {}
        end = self._spool.end  # a spool that was lost begins anew
        return {run: (when, since if since <= end else 0) for run, (when, since) in made.items()}

    def _write_made(self) -> None:
        """Unless it is written; where that fails, the next chunk that goes to the spool tries again."""
        if self._made_path is None or self._made_is_written:
            return
        known = [[run, made, since] for run, (made, since) in self._made.items()]
        try:
            files.write_manifest(self._made_path, MADE_KIND, 1, {"runs": known[-MADE_RUNS:]})
            self._made_is_written = True
        except StorageError as error:
            log.warning("which run this worker collects for cannot be noted: %s", error)

    def close(self) -> None:
        """Move what waits in memory to the spool, so that it is sent after the daemon's next start, and close that.

        May be called twice.  Raises StorageError, which says what is lost, when the spool cannot take it.
        """
        waiting = [entry for entry in self._entries.values() if entry.chunk is not None]
        try:
            for start in range(0, len(waiting), SPILL_CHUNKS):
                self._spill(waiting[start : start + SPILL_CHUNKS])
        except StorageError as error:
            steps = sum(entry.chunk.steps for entry in waiting if entry.chunk is not None)
            raise StorageError(f"{steps} steps that were driven but not yet stored by the relay are lost: {error}") from error
        finally:
            self._spool.close()

    def _spill(self, entries: Sequence[_Entry]) -> None:
        """Move chunks to the spool: all of them, or none and StorageError."""
        self._write_made()
        records = []
        for entry in entries:
            c = entry.chunk
            assert c is not None
            records.append(Record(c.worker, c.incarnation, c.number, c.steps, c.purpose, c.episode, encode(c)))
        for entry, stored in zip(entries, self._spool.append(records, durable=False), strict=True):
            entry.chunk, entry.offset = None, stored.offset

    def _load(self, entry: _Entry) -> ChunkMessage | None:
        """The chunk from the spool; None if it is damaged there (reading goes on behind it then)."""
        for record in self._spool.read(entry.offset, 1):
            if (record.facts.incarnation, record.facts.number) == entry.identity:
                chunk = decode(record.body)
                assert isinstance(chunk, ChunkMessage)
                return chunk
        return None

    def _prune(self) -> None:
        spooled = (entry.offset for entry in self._entries.values() if entry.chunk is None)
        try:
            self._spool.prune(min(spooled, default=self._spool.end))
        except StorageError as error:  # what is not freed now is freed with a later acknowledgement
            log.warning("acknowledged chunks stay on the disk for now: %s", error)

    def _left_in_spool(self) -> dict[Identity, _Entry]:
        """What earlier incarnations left, oldest first.

        One incarnation's chunks may lie out of order, because those in memory came last; but all lie before the next one's.
        """
        left: dict[str, dict[int, _Entry]] = {}
        offset = self._spool.begin
        while records := self._spool.read(offset, READ_BYTES):
            for record in records:
                identity, run = (record.facts.incarnation, record.facts.number), _run_of(record.body)
                _, since = self._made.get(run, (0.0, 0))
                if record.offset < since:
                    continue  # it was let go, and its segment is still there
                entry = _Entry(identity, record.facts.episode, None, record.offset, run)
                left.setdefault(record.facts.incarnation, {})[record.facts.number] = entry
            offset = records[-1].next_offset
        entries = [entry for numbers in left.values() for _, entry in sorted(numbers.items())]
        return {entry.identity: entry for entry in entries}


def _run_of(body: bytes) -> str:
    """Which run a chunk is of; "" if it cannot be read."""
    try:
        message = decode(body)
    except ProtocolError:
        return ""
    return message.run if isinstance(message, ChunkMessage) else ""
