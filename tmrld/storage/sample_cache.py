"""A trainer's copy of a part of a run's sample log, with the same offsets.

It may begin anywhere, be filled in any order and have gaps: what the relay pruned or found damaged, and what was not asked for.
Nothing in it is precious, so writes are not synced one by one; `sync` makes them safe, and after a crash the opening checks
what was not.

Thread-safe: `mirror`, `sync`, `prune` and `close` exclude each other; reading goes on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tmrld.errors import Damaged
from tmrld.storage.files import make_folder
from tmrld.storage.log_files import LogFiles
from tmrld.storage.records import Damage, Record, StoredRecord, packed_facts, packed_record
from tmrld.storage.sample_index import Place, Row
from tmrld.storage.sample_log import SEGMENT_BYTES, row_of

_PLACES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Copy:
    """A record, and where the relay's log has it."""

    offset: int
    next_offset: int
    record: Record


class SampleCache:
    """The copy in ``folder``, made where it is missing.  Raises StorageError when the files cannot be used."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = make_folder(folder)
        self._lock = threading.RLock()
        self._closed = False
        self._files = LogFiles(folder, segment_bytes, is_copy=True)

    @property
    def begin(self) -> int:
        """The lowest offset that may be in the cache; 0 when it is empty."""
        return self._files.begin

    @property
    def end(self) -> int:
        """The offset after the last record in the cache; 0 when it is empty."""
        return self._files.end

    @property
    def size_bytes(self) -> int:
        """What the segments take on the disk."""
        return self._files.segments.total_bytes

    @property
    def damages(self) -> list[Damage]:
        """What was found to be damaged since the cache was opened; each was also logged as an error."""
        return self._files.damages

    def mirror(self, copies: Sequence[Copy], *, durable: bool = False) -> int:
        """Store copies of records at the relay's offsets; tells how many were new.  One that is there already is ignored.

        Raises DiskFull or another StorageError when writing fails, and Damaged when the copies do not fit what the cache holds,
        because it is a copy of another log; in each case none of them is stored.
        """
        with self._lock:
            pieces: list[tuple[int, bytes]] = []
            rows: list[Row] = []
            known = self._files.index.find([row_of(copy.record, 0, 0).key for copy in copies])
            end = self._files.end
            for copy in copies:
                row = row_of(copy.record, copy.offset, copy.next_offset - copy.offset)
                if row.key in known or (copy.offset < end and self._overlaps(row)):
                    self._check_same(row, known.get(row.key))
                    continue
                data = packed_record(copy.offset, packed_facts(copy.record), copy.record.body)
                if len(data) != row.size:
                    raise self._foreign(f"the record at offset {row.offset} takes {row.size} bytes there, {len(data)} here")
                pieces.append((copy.offset, data))
                rows.append(row)
                known[row.key] = Place(row.offset, row.size)
                end = max(end, copy.next_offset)
            if rows:
                self._files.write(pieces, rows, durable=durable)
            return len(rows)

    def read(self, offset: int, max_bytes: int) -> list[StoredRecord]:
        """The next records from ``offset`` on: at least one if there is any, otherwise no more than ``max_bytes`` of them.

        Goes over gaps; damaged records are reported and skipped.  An empty answer means that there is no more.
        """
        return self._files.read(offset, max_bytes)

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The stretches (from, to) between two offsets that the cache does not hold, in order."""
        gaps = []
        before = self._files.index.last_before(start)
        covered = max(start, before.end) if before is not None else start
        while covered < stop:
            places = self._files.index.places(covered, _PLACES_AT_ONCE)
            for place in places:
                if place.offset > covered:
                    gaps.append((covered, min(place.offset, stop)))
                covered = place.end
                if covered >= stop:
                    break
            if not places:
                gaps.append((covered, stop))
                break
        return gaps

    def sync(self) -> None:
        """Make all that was mirrored survive power loss; worth doing before a checkpoint that counts on it."""
        with self._lock:
            self._files.sync()

    def prune(self, before: int) -> int:
        """Remove all segments that end at or before this offset; tells how many bytes that freed."""
        with self._lock:
            segments = self._files.segments
            return self._files.forget([base for base in segments.bases if segments.end_of(base) <= before])

    def close(self) -> None:
        """Syncs.  May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                try:
                    self._files.sync()
                finally:
                    self._files.close()

    def _overlaps(self, row: Row) -> bool:
        last = self._files.index.last_before(row.offset + row.size)
        return last is not None and last.end > row.offset

    def _check_same(self, row: Row, place: Place | None) -> None:
        """The relay never has two records at one offset; it may have one record at two, when it lost the first."""
        held = self._files.index.rows(row.offset, row.offset + 1)
        if place is None or (held and held[0].key != row.key):
            raise self._foreign(f"at offset {row.offset} it holds another record")

    def _foreign(self, what: str) -> Damaged:
        return Damaged(
            f"The cache in {self._folder} is not a copy of the relay's log: {what}. "
            "If the run was made anew, remove this folder; otherwise bring relay and trainer to the same version."
        )
