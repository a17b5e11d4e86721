"""The sample log keeps what it acknowledged, once, whatever happens to its files."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from tests.storage.samples import as_record, record, records
from tmrld.errors import BadInput, Damaged, DiskFull, StorageError
from tmrld.storage.records import MAX_CONTENT_BYTES
from tmrld.storage.sample_log import SampleLog


def numbers(log: SampleLog, offset: int = 0) -> list[int]:
    """The numbers of all records that can be read from there on."""
    found: list[int] = []
    while block := log.read(offset, 1000):
        assert all(one.next_offset <= other.offset for one, other in pairwise(block))
        found += [stored.facts.number for stored in block]
        offset = block[-1].next_offset
    return found


def segment_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def drop_index(folder: Path) -> None:
    for path in folder.glob("index.db*"):
        path.unlink()


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    answers = log.append(records(3))
    first, second, third = log.read(0, 10**6)
    assert [(stored.offset, stored.next_offset) for stored in (first, second, third)] == [
        (answer.offset, answer.next_offset) for answer in answers
    ]
    assert as_record(second) == record(1)
    assert log.end == third.next_offset
    assert log.read(log.end, 10**6) == []
    log.close()


def test_a_read_takes_no_more_than_asked_but_always_one(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    size = log.append(records(5, body=b"same size"))[0].next_offset
    assert len(log.read(0, 2 * size)) == 2
    assert len(log.read(0, 1)) == 1
    log.close()


def test_a_resent_record_is_acknowledged_but_stored_once(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    (first,) = log.append([record(0)])
    again = log.append([record(0), record(1), record(1)])
    assert [answer.duplicate for answer in again] == [True, False, True]
    assert again[0].offset == first.offset
    assert again[1].offset == again[2].offset
    assert numbers(log) == [0, 1]
    log.close()


def test_the_same_number_of_another_worker_or_incarnation_is_another_record(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    log.append([record(0, worker="a"), record(0, worker="b"), record(0, worker="a", incarnation="later")])
    assert numbers(log) == [0, 0, 0]
    log.close()


def test_transitions_are_counted_by_purpose_and_incarnation_and_survive_pruning_and_reopening(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=200)
    log.append(records(5, steps=10))
    log.append(records(2, steps=7, worker="other", purpose="evaluation"))

    def totals(log: SampleLog) -> tuple[int, int, int, int]:
        return (
            log.transitions(),
            log.transitions("evaluation"),
            log.transitions_of("driver", "first"),
            log.transitions_of("other", "first"),
        )

    assert totals(log) == (50, 14, 50, 0)
    assert log.prune(log.end) > 0
    assert totals(log) == (50, 14, 50, 0)
    log.close()
    drop_index(tmp_path)
    log = SampleLog(tmp_path, segment_bytes=200)
    assert totals(log) == (50, 14, 50, 0)
    log.close()


def test_pruning_removes_whole_segments_and_still_knows_what_was_in_them(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=300)
    answers = log.append(records(20))
    held = log.size_bytes
    freed = log.prune(answers[10].offset)
    assert 0 < freed == held - log.size_bytes
    assert log.begin <= answers[10].offset
    assert numbers(log) == numbers(log, log.begin)
    assert numbers(log)[-10:] == list(range(10, 20))
    end = log.end
    (again,) = log.append([record(0)])
    assert again.duplicate
    assert again.offset == -1
    assert log.end == end
    log.close()


def test_offsets_go_on_after_everything_was_pruned(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    log.append(records(5, body=b"x" * 100))
    log.close()
    log = SampleLog(tmp_path, segment_bytes=400)
    end = log.end
    assert log.prune(end) == end
    assert (log.begin, log.end, log.size_bytes) == (end, end, 0)
    log.close()
    log = SampleLog(tmp_path, segment_bytes=400)
    assert log.append([record(5)])[0].offset == end
    log.close()


def test_a_crash_in_the_middle_of_pruning_is_finished_on_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SampleLog(tmp_path, segment_bytes=300)
    log.append(records(20))
    monkeypatch.setattr(log._files, "forget", lambda bases: 0)
    log.prune(log.end)
    log.close()
    log = SampleLog(tmp_path, segment_bytes=300)
    assert len(segment_files(tmp_path)) == 1
    assert log.append([record(0)])[0].duplicate
    assert log.transitions() == 20
    assert log.damages == []
    log.close()


def test_pruning_that_failed_half_way_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise DiskFull("no room for the index")

    log = SampleLog(tmp_path, segment_bytes=300)
    log.append(records(20))
    with monkeypatch.context() as patch:
        patch.setattr(log._files.index, "remove", full)
        with pytest.raises(DiskFull):
            log.prune(log.end // 2)
    log.prune(log.end)
    log.close()
    log = SampleLog(tmp_path, segment_bytes=300)
    assert log.transitions() == 20
    log.close()


def test_records_that_were_never_synced_are_synced_before_they_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    log = SampleLog(tmp_path)
    log.append(records(3))
    log.close()
    drop_index(tmp_path)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(descriptor), raising=False)
    log = SampleLog(tmp_path)
    assert len(synced) == 1
    assert log.append([record(2)])[0].duplicate
    log.close()


def test_a_bad_sector_costs_only_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SampleLog(tmp_path)
    answers = log.append(records(3))
    read = log._files.segments.read

    def fail(offset: int, size: int) -> bytes:
        if offset <= answers[1].offset < offset + size:
            raise Damaged("the disk cannot read it")
        return read(offset, size)

    monkeypatch.setattr(log._files.segments, "read", fail)
    assert numbers(log) == [0, 2]
    assert log.damages[0].reason == "the disk cannot read it"
    log.close()


def test_the_index_is_rebuilt_when_it_is_missing_or_garbage(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=300)
    log.append(records(20))
    log.close()
    for damage in (lambda: drop_index(tmp_path), lambda: (tmp_path / "index.db").write_bytes(b"not a database" * 1000)):
        damage()
        log = SampleLog(tmp_path, segment_bytes=300)
        assert numbers(log) == list(range(20))
        assert log.append([record(3)])[0].duplicate
        assert log.damages == []
        log.close()


def test_an_index_that_is_behind_learns_the_rest(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    log.append(records(5))
    log._files.index.remove(log.read(0, 1)[0].next_offset * 3, 10**9)
    log.close()
    log = SampleLog(tmp_path)
    assert numbers(log) == [0, 1, 2, 3, 4]
    log.close()


@pytest.mark.parametrize("with_index", [True, False])
def test_a_tail_torn_at_any_byte_costs_only_the_record_it_was_in(tmp_path: Path, with_index: bool) -> None:
    log = SampleLog(tmp_path / "log")
    answers = log.append(records(2))
    log.close()
    whole = segment_files(tmp_path / "log")[0].read_bytes()
    index = (tmp_path / "log" / "index.db").read_bytes()
    for length in range(len(whole)):
        folder = tmp_path / "log"
        for path in folder.iterdir():
            path.unlink()
        (folder / f"{0:020d}.segment").write_bytes(whole[:length])
        if with_index:
            (folder / "index.db").write_bytes(index)
        log = SampleLog(folder)
        survivors = [n for n, answer in enumerate(answers) if answer.next_offset <= length]
        assert numbers(log) == survivors
        assert bool(log.damages) == with_index
        (added,) = log.append([record(7)])
        assert added.offset >= (answers[-1].next_offset if with_index else 0)
        assert numbers(log) == [*survivors, 7]
        log.close()


def test_a_flipped_byte_costs_only_its_record(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    answers = log.append(records(3))
    log.close()
    path = segment_files(tmp_path)[0]
    whole = path.read_bytes()
    for position in range(answers[0].next_offset, answers[1].next_offset):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x40]) + whole[position + 1 :])
        log = SampleLog(tmp_path)
        assert numbers(log) == [0, 2]
        assert [damage.offset for damage in log.damages] == [answers[1].offset]
        assert log.transitions() == 3
        log.close()


def test_a_damaged_record_is_skipped_when_the_index_is_rebuilt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = SampleLog(tmp_path)
    answers = log.append(records(3))
    log.close()
    path = segment_files(tmp_path)[0]
    whole = bytearray(path.read_bytes())
    whole[answers[1].offset] ^= 1
    path.write_bytes(whole)
    drop_index(tmp_path)
    log = SampleLog(tmp_path)
    assert numbers(log) == [0, 2]
    assert [(damage.offset, damage.bytes) for damage in log.damages] == [
        (answers[1].offset, answers[1].next_offset - answers[1].offset)
    ]
    assert "damaged" in caplog.text
    log.close()


def test_a_record_inside_a_body_is_not_taken_for_one(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    log.append([record(0)])
    inner = segment_files(tmp_path)[0].read_bytes()
    answers = log.append([record(1, body=inner), record(2)])
    log.close()
    path = segment_files(tmp_path)[0]
    whole = bytearray(path.read_bytes())
    whole[answers[0].offset] ^= 1
    path.write_bytes(whole)
    drop_index(tmp_path)
    log = SampleLog(tmp_path)
    assert numbers(log) == [0, 2]
    log.close()


def test_a_segment_that_vanished_is_reported_and_the_rest_stays_usable(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=300)
    log.append(records(20))
    log.close()
    files = segment_files(tmp_path)
    files[1].unlink()
    log = SampleLog(tmp_path, segment_bytes=300)
    assert log.damages[0].offset == int(files[1].stem)
    found = numbers(log)
    assert found[0] == 0
    assert found[-1] == 19
    assert len(found) < 20
    log.close()


def test_a_damaged_account_of_pruned_records_is_put_aside_and_reported(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=300)
    log.append(records(20))
    log.prune(log.end // 2)
    left = numbers(log)
    log.close()
    (tmp_path / "pruned.json").write_text("{}")
    log = SampleLog(tmp_path, segment_bytes=300)
    assert numbers(log) == left
    assert "pruned" in log.damages[0].reason
    assert (tmp_path / "pruned.damaged").exists()
    log.close()


class FullDisk:
    """Stands for os.write on a disk that has this much room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, bytes(data)[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 10, 150, 1000])
def test_a_full_disk_takes_nothing_of_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    log = SampleLog(tmp_path, segment_bytes=300)
    log.append(records(2))
    before = [(path, path.stat().st_size) for path in segment_files(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(room))
        with pytest.raises(DiskFull, match="disk is full"):
            log.append([record(number) for number in range(2, 40)])
    assert [(path, path.stat().st_size) for path in segment_files(tmp_path)] == before
    assert numbers(log) == [0, 1]
    assert log.transitions() == 2
    assert not log.append([record(2)])[0].duplicate
    assert numbers(log) == [0, 1, 2]
    log.close()


def test_a_failed_sync_or_index_takes_nothing_of_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def full(*_: object, **__: object) -> None:
        raise DiskFull("no room for the index")

    log = SampleLog(tmp_path)
    log.append(records(2))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync" if hasattr(os, "fdatasync") else "fsync", refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            log.append([record(2)])
    with monkeypatch.context() as patch:
        patch.setattr(log._files.index, "add", full)
        with pytest.raises(DiskFull):
            log.append([record(2)])
    assert numbers(log) == [0, 1]
    log.append([record(3)])
    log.close()
    drop_index(tmp_path)
    log = SampleLog(tmp_path)
    assert numbers(log) == [0, 1, 3]
    log.close()


def test_nothing_more_is_written_when_even_taking_back_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    log = SampleLog(tmp_path)
    log.append(records(2))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(10))
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(DiskFull):
            log.append([record(2)])
    with pytest.raises(StorageError, match="restart tmrld"):
        log.append([record(2)])
    assert numbers(log) == [0, 1]
    log.close()
    log = SampleLog(tmp_path)
    log.append([record(2)])
    assert numbers(log) == [0, 1, 2]
    log.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_real_limit_on_file_size_is_a_full_disk(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from tests.storage.samples import record
from tmrld.errors import DiskFull
from tmrld.storage.sample_log import SampleLog
log = SampleLog(Path(sys.argv[1]))
log.append([record(0)])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    log.append([record(1, body=bytes(300_000))])
except DiskFull as error:
    print("full:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(log.append([record(1)]) == log.append([record(1)]), log.size_bytes)
log.append([record(2)])
print([stored.facts.number for stored in log.read(0, 10**6)])
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "full: Cannot write the log" in done.stdout
    assert done.stdout.rstrip().endswith("[0, 1, 2]")


def test_a_quota_stops_appending_until_there_is_room(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=400, quota_bytes=1200)
    stored = 15
    for number in range(stored):
        log.append([record(number, body=b"x" * 17)])
    with pytest.raises(DiskFull, match="quota"):
        log.append([record(stored, body=b"x" * 300)])
    assert log.size_bytes <= 1200
    assert numbers(log) == list(range(stored))
    log.prune(log.end)
    log.append([record(stored)])
    assert numbers(log) == [stored]
    log.close()


def test_impossible_records_are_refused(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    with pytest.raises(BadInput, match="number -1"):
        log.append([record(-1)])
    with pytest.raises(BadInput, match="too long"):
        log.append([record(0, body=bytes(MAX_CONTENT_BYTES + 1))])
    with pytest.raises(BadInput, match="names"):
        log.append([record(0, worker="w" * 10_000)])
    assert log.end == 0
    log.close()


def test_a_record_longer_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=300)
    log.append([record(0), record(1, body=bytes(1000)), record(2)])
    assert len(segment_files(tmp_path)) == 3
    assert numbers(log) == [0, 1, 2]
    log.close()


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    log.close()
    log.close()


def test_readers_see_only_whole_committed_records_while_one_writes(tmp_path: Path) -> None:
    log = SampleLog(tmp_path, segment_bytes=5000)
    seen: list[int] = []

    def follow() -> None:
        offset = 0
        while len(seen) < 500:
            for stored in log.read(offset, 4000):
                assert stored.body == record(stored.facts.number).body
                seen.append(stored.facts.number)
                offset = stored.next_offset

    reader = threading.Thread(target=follow)
    reader.start()
    for start in range(0, 500, 10):
        log.append([record(number) for number in range(start, start + 10)], durable=False)
    reader.join(60)
    assert seen == list(range(500))
    assert log.damages == []
    log.close()


WRITER = """
import sys
from pathlib import Path
from tests.storage.samples import record
from tmrld.storage.sample_log import SampleLog
log = SampleLog(Path(sys.argv[1]), segment_bytes=3000)
number = int(sys.argv[2])
while True:
    batch = [record(number + more) for more in range(5)]
    log.append(batch)
    number += len(batch)
    print(number, flush=True)
"""


def test_everything_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    acknowledged = 0
    for round_ in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(20 + 7 * round_):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        rest = child.stdout.read().decode().splitlines()
        child.stdout.close()
        child.wait()
        acknowledged = int(rest[-1]) if rest else acknowledged
        log = SampleLog(tmp_path, segment_bytes=3000)
        found = numbers(log)
        assert found[:acknowledged] == list(range(acknowledged))
        assert found == list(range(len(found)))
        assert log.damages == []
        acknowledged = len(found)
        log.close()
