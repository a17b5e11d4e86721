"""Segments and their index as one thing: what `sample_log` and `sample_cache` have in common.

A record counts from the moment when the index knows it, which is after it was written (and synced, where that was asked for).
Opening puts the two in step again: the index forgets what the segments lost and learns what they have beyond it, a torn tail
is cut off, and what is damaged in the middle is reported and skipped.

`read` and the properties may be used from any thread; all that writes is for one thread at a time, as is `close`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tmrld.errors import Damaged
from tmrld.storage.records import Damage, StoredRecord, scanned, unpacked_record
from tmrld.storage.sample_index import MAX_OFFSET, Place, Row, SampleIndex
from tmrld.storage.segments import Segments

_PLACES_AT_ONCE = 1024
_log = logging.getLogger(__name__)


class LogFiles:
    """The log in one folder.  No two processes may open the same one: the lock of the data folder sees to that.

    ``first`` is the lowest offset to be used.  The original of a log never uses an offset twice, even if committed records
    vanished from the end of its files; a copy (``is_copy``) forgets what it cannot read, so that it can be fetched again.
    """

    def __init__(self, folder: Path, segment_bytes: int, *, first: int = 0, is_copy: bool) -> None:
        self._folder = folder
        self._first = first
        self._is_copy = is_copy
        self._damages: dict[int, Damage] = {}
        self.segments = Segments(folder, segment_bytes)
        self.segments.remove([base for base in self.segments.bases if base < first])
        self.index = SampleIndex(folder / "index.db")
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    @property
    def begin(self) -> int:
        """The lowest offset that may be in the log."""
        return next(iter(self.segments.bases), self._first)

    @property
    def end(self) -> int:
        """The offset after the last committed record."""
        return self._end

    @property
    def damages(self) -> list[Damage]:
        """What was found to be damaged since the log was opened, in order."""
        return [self._damages[offset] for offset in sorted(self._damages)]

    def write(self, pieces: Sequence[tuple[int, bytes]], rows: Sequence[Row], *, durable: bool) -> None:
        """Write records and commit them, all or none.  Raises DiskFull or another StorageError, and then nothing has changed."""
        before = self.segments.write(pieces, durable=durable)
        try:
            self.index.add(rows, unsynced=() if durable else before)
        except BaseException:
            self.segments.undo(before)
            raise
        self._end = self._measured_end()

    def read(self, offset: int, max_bytes: int) -> list[StoredRecord]:
        """The next records from ``offset`` on, in order: at least one if there is any, and no more than ``max_bytes`` otherwise.

        Damaged records are reported (`damages`) and skipped.
        """
        while True:
            places = self.index.places(offset, _PLACES_AT_ONCE, max_bytes)
            if not places:
                return []
            found = [record for group in self._adjacent(places) for record in self._read_group(group)]
            if found:
                return found
            offset = places[-1].end

    def forget(self, bases: Sequence[int]) -> int:
        """Take whole segments out of the log; tells how many bytes that frees."""
        for base in bases:
            self.index.remove(base, self._stop_of(base))
        freed = self.segments.remove(bases)
        self._end = self._measured_end()
        return freed

    def report(self, damage: Damage) -> None:
        """Tell people of a damage, and keep it for `damages`; once for each offset."""
        if damage.offset not in self._damages:
            self._damages[damage.offset] = damage
            _log.error(
                "the log in %s is damaged: %d bytes at offset %d cannot be read: %s",
                self._folder,
                damage.bytes,
                damage.offset,
                damage.reason,
            )

    def sync(self) -> None:
        """Make everything that was written survive power loss."""
        unsynced = self.index.unsynced()
        if unsynced:
            self.segments.sync(unsynced)
            self.index.all_synced()

    def close(self) -> None:
        """May be called twice."""
        self.segments.close()
        self.index.close()

    def _recover(self) -> None:
        promised = self.index.last_before(MAX_OFFSET)
        for base in self.index.unsynced():
            self.index.remove(base, self._stop_of(base))
        self._forget_rows_before(self.begin)
        for base in self.segments.bases:
            self._recover_segment(base)
        self.sync()
        self._end = self._measured_end()
        if not self._is_copy and promised is not None and promised.end > self._end:
            self.segments.begin(promised.end)
            self._end = promised.end

    def _forget_rows_before(self, begin: int) -> None:
        stop = begin if self.segments.bases else MAX_OFFSET
        gone = self.index.places(self._first, 1)
        if gone and gone[0].offset < stop:
            last = self.index.last_before(stop)
            assert last is not None
            self.report(Damage(gone[0].offset, last.end - gone[0].offset, "the file with these records is gone"))
        self.index.remove(0, stop)

    def _recover_segment(self, base: int) -> None:
        """Put the index in step with one segment.

        Records that it did not know may be those of a process that was killed before it could sync them: that is made up for,
        since they count from now on.
        """
        end, stop = self.segments.end_of(base), self._stop_of(base)
        indexed = self._indexed_end(base, stop)
        if indexed > end:
            self.report(Damage(end, indexed - end, "the file is shorter than it was"))
            self.index.remove(base, stop)
            indexed = base
        if indexed == end:
            return
        rows: list[Row] = []
        found = list(scanned(self.segments.read(indexed, end - indexed), indexed))
        torn = found[-1]
        if isinstance(torn, Damage) and base == self.segments.bases[-1]:
            found.pop()
            _log.info("cut an unfinished write of %d bytes off %s", torn.bytes, self.segments.path(base))
            self.segments.truncate(base, torn.offset - base)
        for item in found:
            if isinstance(item, Damage):
                self.report(item)
            else:
                rows.append(_row(item))
        self.segments.sync([base])
        self.index.add(rows)

    def _indexed_end(self, base: int, stop: int) -> int:
        last = self.index.last_before(stop)
        return last.end if last is not None and last.offset >= base else base

    def _stop_of(self, base: int) -> int:
        following = self.segments.after(base)
        return MAX_OFFSET if following is None else following

    def _measured_end(self) -> int:
        bases = self.segments.bases
        return self.segments.end_of(bases[-1]) if bases else self._first

    def _adjacent(self, places: list[Place]) -> list[list[Place]]:
        """Places that can be read in one go, together."""
        bases = set(self.segments.bases)
        groups: list[list[Place]] = []
        for place in places:
            if groups and groups[-1][-1].end == place.offset and place.offset not in bases:
                groups[-1].append(place)
            else:
                groups.append([place])
        return groups

    def _read_group(self, group: list[Place]) -> list[StoredRecord]:
        start, end = group[0].offset, group[-1].end
        try:
            block = memoryview(self.segments.read(start, end - start))
        except FileNotFoundError:
            if self.segments.base_of(start) is not None and start >= self.begin:
                self.report(Damage(start, end - start, "the file with these records is gone"))
            return []
        except Damaged as error:
            if len(group) > 1:
                return [record for place in group for record in self._read_group([place])]
            self._lose(group[0], str(error))
            return []
        records = []
        for place in group:
            try:
                record = unpacked_record(block, place.offset - start, place.offset)
            except Damaged as error:
                self._lose(place, str(error))
            else:
                records.append(record)
        return records

    def _lose(self, place: Place, reason: str) -> None:
        self.report(Damage(*place, reason))
        if self._is_copy:
            self.index.remove(place.offset, place.end)


def _row(record: StoredRecord) -> Row:
    facts = record.facts
    size = record.next_offset - record.offset
    return Row(record.offset, size, facts.worker, facts.incarnation, facts.number, facts.steps, facts.purpose)
