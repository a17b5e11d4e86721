"""The sample log: every chunk of a run, in the order in which it was stored, each of them once.

A relay keeps one per run, a worker uses one as its spool.  Records lie one after another in segments (`segments`); an offset is a
byte position in the whole log, never used twice, and stays valid for ever.  A record that `append` has answered survives power
loss.  Pruning takes whole segments away, oldest first; what was in them is still recognised and counted.

Thread-safe: `append`, `prune` and `close` exclude each other; reading and the properties never wait for them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tmrld.errors import Damaged, DiskFull
from tmrld.storage.files import explaining, make_folder, replace_file
from tmrld.storage.log_files import LogFiles
from tmrld.storage.pruned import Pruned, with_steps
from tmrld.storage.records import Damage, Key, Record, StoredRecord, packed_facts, packed_record
from tmrld.storage.sample_index import Row

SEGMENT_BYTES = 64 * 2**20
_LEAST_WORTH_FREEING = 4  # the newest segment is freed, too, when it holds at least a fourth of what a segment may


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record is stored.  ``duplicate`` says that it was there before, or comes twice in a batch.

    The offsets of a duplicate that was pruned already are -1.
    """

    offset: int
    next_offset: int
    duplicate: bool


class SampleLog:
    """The log in ``folder``, made where it is missing.

    ``quota_bytes`` bounds what its segments take on the disk: `append` raises DiskFull rather than pass it, and goes on
    when `prune` made room.  Raises StorageError when the files cannot be used; damage inside them does not (`damages`).
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, quota_bytes: int | None = None) -> None:
        self._folder = make_folder(folder)
        self._segment_bytes = segment_bytes
        self._quota_bytes = quota_bytes
        self._lock = threading.RLock()
        self._closed = False
        self._pruned_path = folder / "pruned.json"
        self._pruned, lost = _load_pruned(self._pruned_path)
        self._files = LogFiles(folder, segment_bytes, first=self._pruned.before, is_copy=False)
        if lost:
            self._files.report(Damage(0, self._files.begin, lost))
        # Replaced, never changed, so that readers need no lock.
        self._transitions = self._pruned.transitions | {
            counted: total + self._pruned.transitions.get(counted, 0)
            for counted, total in self._files.index.transitions().items()
        }

    @property
    def begin(self) -> int:
        """The offset of the oldest record that was not pruned."""
        return self._files.begin

    @property
    def end(self) -> int:
        """The offset at which the next record will be stored."""
        return self._files.end

    @property
    def size_bytes(self) -> int:
        """What the segments take on the disk."""
        return self._files.segments.total_bytes

    @property
    def damages(self) -> list[Damage]:
        """What was found to be damaged since the log was opened; each was also logged as an error."""
        return self._files.damages

    def append(self, records: Sequence[Record], *, durable: bool = True) -> list[Appended]:
        """Store records, all with one sync and one transaction; answers in their order.

        A record that is stored already is not written again.  Raises DiskFull when there is no room or the quota would be
        passed, StorageError when writing fails, BadInput when a record is too long; in each case nothing of the batch is stored.
        With ``durable`` off the answer comes earlier, and the newest records may be gone after power loss.
        """
        with self._lock:
            known = self._known(records)
            answers: list[Appended] = []
            pieces: list[tuple[int, bytes]] = []
            rows: list[Row] = []
            end = self._files.end
            for record in records:
                key = record.key
                stored = known.get(key)
                if stored is None:
                    data = packed_record(end, packed_facts(record), record.body)
                    pieces.append((end, data))
                    rows.append(row_of(record, end, len(data)))
                    answers.append(Appended(end, end + len(data), duplicate=False))
                    known[key] = Appended(end, end + len(data), duplicate=True)
                    end += len(data)
                else:
                    answers.append(stored)
            if rows:
                self._check_quota(end - self._files.end)
                self._files.write(pieces, rows, durable=durable)
                self._transitions = with_steps(self._transitions, rows)
            return answers

    def read(self, offset: int, max_bytes: int) -> list[StoredRecord]:
        """The next records from ``offset`` on: at least one if there is any, otherwise no more than ``max_bytes`` of them.

        Goes over what was pruned; damaged records are reported and skipped.  An empty answer means that there is no more.
        """
        return self._files.read(offset, max_bytes)

    def transitions(self, purpose: str = "train") -> int:
        """How many transitions of that purpose were ever stored, the pruned ones included."""
        return sum(total for (_, _, found), total in self._transitions.items() if found == purpose)

    def transitions_of(self, worker: str, incarnation: str, purpose: str = "train") -> int:
        """How many of them came from one incarnation of a worker."""
        return self._transitions.get((worker, incarnation, purpose), 0)

    def freeable(self, wanted_bytes: int, before: int) -> tuple[int, int]:
        """What `prune` would have to be told to free so many bytes, or as many as it can, and none at or beyond ``before``.

        Returns that offset and how many bytes it would free.
        """
        with self._lock:
            segments, stop, freed = self._files.segments, self._files.begin, 0
            for base in segments.bases:
                end = segments.end_of(base)
                last = segments.after(base) is None
                if freed >= wanted_bytes or end > before or (last and not self._is_worth_freeing(base)):
                    break
                stop, freed = end, freed + end - base
            return stop, freed

    def prune(self, before: int) -> int:
        """Remove all segments that end at or before this offset; tells how many bytes that freed.

        The newest segment goes only if nothing in it is needed and it is worth the trouble (a fourth of a full one).
        """
        with self._lock:
            files = self._files
            bases = [
                base for base in files.segments.bases if files.segments.end_of(base) <= before and files.segments.after(base)
            ]
            newest = files.segments.bases[-1:]
            if newest and before >= files.end and self._is_worth_freeing(newest[0]):
                files.segments.begin(files.end)
                bases.append(newest[0])
            if not bases:
                return 0
            stop = files.segments.after(bases[-1])
            assert stop is not None
            pruned = self._pruned.plus(files.index.rows(self._pruned.before, stop), stop)
            pruned.save(self._pruned_path)
            self._pruned = pruned
            return files.forget(bases)

    def close(self) -> None:
        """Makes all that was appended survive power loss, as far as the disk lets it.  May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._files.sync()
            finally:
                self._files.close()

    def _is_worth_freeing(self, newest: int) -> bool:
        return self._files.end - newest >= self._segment_bytes // _LEAST_WORTH_FREEING

    def _known(self, records: Sequence[Record]) -> dict[Key, Appended]:
        """Which of these records are stored already, and where."""
        keys = [record.key for record in records]
        known = {key: Appended(-1, -1, duplicate=True) for key in keys if self._pruned.has(key)}
        for key, place in self._files.index.find(keys).items():
            known[key] = Appended(place.offset, place.end, duplicate=True)
        return known

    def _check_quota(self, more: int) -> None:
        used = self._files.segments.total_bytes
        if self._quota_bytes is not None and used + more > self._quota_bytes:
            raise DiskFull(
                f"The log in {self._folder} may take {self._quota_bytes} bytes, holds {used}, and {more} more were to be stored. "
                "Wait until its records are acknowledged, or raise the quota."
            )


def _load_pruned(path: Path) -> tuple[Pruned, str]:
    """What was pruned, and what is wrong with the file that says so; a damaged one is put aside."""
    try:
        return Pruned.load(path), ""
    except Damaged:
        aside = path.with_suffix(".damaged")
        with explaining("put aside", path):
            replace_file(path, aside)
        return Pruned(), f"what is known of pruned records is damaged, see {aside}"


def row_of(record: Record, offset: int, size: int) -> Row:
    """How the index knows this record, stored there."""
    return Row(offset, size, record.worker, record.incarnation, record.number, record.steps, record.purpose)
