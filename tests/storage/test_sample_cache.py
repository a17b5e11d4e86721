"""A cache holds what it was given at the relay's offsets, in any order, and heals from what it lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.samples import as_record, record, records
from tmrld.errors import Damaged
from tmrld.storage.sample_cache import Copy, SampleCache
from tmrld.storage.sample_log import SampleLog


def relay(folder: Path, count: int = 20) -> list[Copy]:
    """What a relay with that many records would send."""
    log = SampleLog(folder, segment_bytes=300)
    log.append(records(count))
    copies = [Copy(stored.offset, stored.next_offset, as_record(stored)) for stored in log.read(0, 10**6)]
    log.close()
    return copies


def held(cache: SampleCache) -> list[tuple[int, int, int]]:
    """(offset, next offset, number) of all that the cache can read."""
    return [(stored.offset, stored.next_offset, stored.facts.number) for stored in cache.read(0, 10**6)]


def expected(copies: list[Copy]) -> list[tuple[int, int, int]]:
    return [(copy.offset, copy.next_offset, copy.record.number) for copy in copies]


def test_a_copy_of_everything_has_the_same_offsets_and_bytes(tmp_path: Path) -> None:
    copies = relay(tmp_path / "relay")
    cache = SampleCache(tmp_path / "cache", segment_bytes=500)
    assert cache.mirror(copies[:7]) == 7
    assert cache.mirror(copies) == 13
    assert cache.mirror(copies) == 0
    assert held(cache) == expected(copies)
    assert cache.gaps(0, copies[-1].next_offset) == []
    assert (cache.begin, cache.end) == (0, copies[-1].next_offset)
    cache.close()


def test_it_may_begin_anywhere_and_be_filled_in_any_order(tmp_path: Path) -> None:
    copies = relay(tmp_path / "relay")
    cache = SampleCache(tmp_path / "cache", segment_bytes=500)
    cache.mirror(copies[10:12])
    assert cache.begin == copies[10].offset
    cache.mirror(copies[15:])
    cache.mirror(copies[3:5])
    end = copies[-1].next_offset
    assert held(cache) == expected([*copies[3:5], *copies[10:12], *copies[15:]])
    assert cache.gaps(0, end + 9) == [
        (0, copies[3].offset),
        (copies[5].offset, copies[10].offset),
        (copies[12].offset, copies[15].offset),
        (end, end + 9),
    ]
    assert cache.gaps(copies[3].offset + 1, copies[10].offset) == [(copies[5].offset, copies[10].offset)]
    cache.close()
    cache = SampleCache(tmp_path / "cache", segment_bytes=500)
    cache.mirror(copies)
    assert held(cache) == expected(copies)
    cache.close()


def test_a_copy_of_another_log_is_refused(tmp_path: Path) -> None:
    copies = relay(tmp_path / "relay")
    cache = SampleCache(tmp_path / "cache")
    cache.mirror(copies[:5])
    other = record(99, body=copies[2].record.body)
    for wrong in (
        Copy(copies[2].offset, copies[2].next_offset, other),
        Copy(copies[2].offset + 1, copies[2].next_offset, other),
        Copy(copies[3].offset, copies[3].next_offset, copies[2].record),
        Copy(copies[6].offset, copies[6].next_offset + 1, copies[6].record),
    ):
        with pytest.raises(Damaged, match="not a copy"):
            cache.mirror([copies[5], wrong])
    assert held(cache) == expected(copies[:5])
    cache.close()


def test_a_record_that_the_relay_stored_again_elsewhere_is_not_taken_twice(tmp_path: Path) -> None:
    copies = relay(tmp_path / "relay")
    cache = SampleCache(tmp_path / "cache")
    cache.mirror(copies[:5])
    assert cache.mirror([Copy(copies[7].offset, copies[7].next_offset, copies[1].record)]) == 0
    assert held(cache) == expected(copies[:5])
    cache.close()


def test_pruning_removes_whole_segments_which_may_come_again(tmp_path: Path) -> None:
    copies = relay(tmp_path / "relay")
    cache = SampleCache(tmp_path / "cache", segment_bytes=500)
    cache.mirror(copies)
    assert cache.prune(copies[10].offset) > 0
    assert 0 < cache.begin <= copies[10].offset
    assert held(cache)[-10:] == expected(copies[10:])
    cache.mirror(copies)
    assert held(cache) == expected(copies)
    assert cache.prune(cache.end) > 0
    assert (held(cache), cache.begin, cache.end, cache.size_bytes) == ([], 0, 0, 0)
    cache.close()


def test_a_damaged_record_becomes_a_gap_and_can_be_fetched_again(tmp_path: Path) -> None:
    copies = relay(tmp_path / "relay")
    cache = SampleCache(tmp_path / "cache")
    cache.mirror(copies)
    (path,) = (tmp_path / "cache").glob("*.segment")
    whole = bytearray(path.read_bytes())
    whole[copies[4].next_offset - 1] ^= 1
    path.write_bytes(whole)
    assert held(cache) == expected([*copies[:4], *copies[5:]])
    assert cache.gaps(0, cache.end) == [(copies[4].offset, copies[4].next_offset)]
    assert [damage.offset for damage in cache.damages] == [copies[4].offset]
    assert cache.mirror(copies) == 1
    assert held(cache) == expected(copies)
    cache.close()


CRASH = """
import os, sys
from pathlib import Path
from tests.storage.test_sample_cache import relay
from tmrld.storage.sample_cache import SampleCache
copies = relay(Path(sys.argv[1]))
cache = SampleCache(Path(sys.argv[2]), segment_bytes=500)
cache.mirror(copies[:10])
cache.sync()
cache.mirror(copies[10:])
os._exit(1)
"""


def test_after_a_crash_only_what_was_not_synced_is_checked_and_lost_bytes_are_gaps(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CRASH, str(tmp_path / "a"), str(tmp_path / "cache")], check=False)
    copies = relay(tmp_path / "b")
    newest = max((tmp_path / "cache").glob("*.segment"))
    size = newest.stat().st_size
    os.truncate(newest, size // 2)
    os.truncate(newest, size)  # power loss may leave zeros where the newest bytes were
    cache = SampleCache(tmp_path / "cache", segment_bytes=500)
    lost = [copy for copy in copies if copy.next_offset > int(newest.stem) + size // 2]
    assert 0 < len(lost) < 10
    assert held(cache) == expected([copy for copy in copies if copy not in lost])
    assert cache.end == lost[0].offset
    cache.mirror(copies)
    assert held(cache) == expected(copies)
    cache.close()


def test_closing_makes_it_safe_and_may_be_done_twice(tmp_path: Path) -> None:
    copies = relay(tmp_path / "relay")
    cache = SampleCache(tmp_path / "cache")
    cache.mirror(copies)
    cache.close()
    cache.close()
    cache = SampleCache(tmp_path / "cache")
    assert cache._files.index.unsynced() == []
    assert held(cache) == expected(copies)
    cache.close()
