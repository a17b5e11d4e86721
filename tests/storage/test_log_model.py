"""Whatever is done to a log in whatever order, it agrees with a list."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.storage.samples import as_record, record
from tmrld.storage.records import Record
from tmrld.storage.sample_cache import Copy, SampleCache
from tmrld.storage.sample_log import SampleLog

SEGMENT_BYTES = 400

batches = st.lists(
    st.builds(
        lambda number, worker, size, steps: record(number, worker=worker, steps=steps, body=bytes([number % 256]) * size),
        st.integers(0, 40),
        st.sampled_from(["a", "b"]),
        st.integers(0, 500),
        st.integers(0, 9),
    ),
    max_size=6,
)


class LogMachine(RuleBasedStateMachine):
    """A log and its copy beside what they must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.open()
        self.cache = SampleCache(self.folder / "cache", segment_bytes=300)
        self.known: set[tuple[str, str, int]] = set()
        self.lost: dict[tuple[str, str, int], int] = {}
        self.flipped = False
        self.kept: list[Copy] = []
        self.mirrored: dict[int, Copy] = {}

    def open(self) -> None:
        self.log = SampleLog(self.folder / "log", segment_bytes=SEGMENT_BYTES)

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "log").glob("*.segment"))

    @rule(batch=batches)
    def append(self, batch: list[Record]) -> None:
        end = self.log.end
        for one, answer in zip(batch, self.log.append(batch), strict=True):
            assert answer.duplicate == (one.key in self.known)
            if not answer.duplicate:
                assert answer.offset == end
                end = answer.next_offset
                self.known.add(one.key)
                self.kept.append(Copy(answer.offset, answer.next_offset, one))
        assert self.log.end == end

    @rule(fraction=st.floats(0, 1))
    def prune(self, fraction: float) -> None:
        before = int(self.log.begin + fraction * (self.log.end - self.log.begin))
        self.log.prune(before)
        assert self.log.begin <= before
        assert self.log.begin - before < 1000  # what one segment holds at most
        self.kept = [copy for copy in self.kept if copy.offset >= self.log.begin]
        self.lost = {key: offset for key, offset in self.lost.items() if offset >= self.log.begin}

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.open()

    @rule()
    def reopen_without_index(self) -> None:
        self.log.close()
        for path in (self.folder / "log").glob("index.db*"):
            path.unlink()
        self.open()
        self.known -= self.lost.keys()
        self.lost.clear()

    @rule(garbage=st.binary(min_size=1, max_size=50))
    def tear_the_tail(self, garbage: bytes) -> None:
        """A write that never was committed."""
        self.log.close()
        if self.files:
            with self.files[-1].open("ab") as file:
                file.write(garbage)
        self.open()
        assert self.flipped or self.log.damages == []

    @precondition(lambda self: len(self.kept) > 1)
    @rule(data=st.data())
    def flip_a_byte(self, data: st.DataObject) -> None:
        """In any record but the last, whose loss with the index would be a torn tail."""
        victim = data.draw(st.sampled_from(self.kept[:-1]))
        position = data.draw(st.integers(victim.offset, victim.next_offset - 1))
        path = max(path for path in self.files if int(path.stem) <= position)
        if path == self.files[-1] and self.kept[-1].offset < int(path.stem):
            return
        whole = bytearray(path.read_bytes())
        whole[position - int(path.stem)] ^= 0x10
        path.write_bytes(whole)
        self.flipped = True
        self.kept.remove(victim)
        self.lost[victim.record.key] = victim.offset

    @rule(data=st.data())
    def mirror(self, data: st.DataObject) -> None:
        if self.kept:
            start = data.draw(st.integers(0, len(self.kept) - 1))
            some = self.kept[start : start + data.draw(st.integers(1, 5))]
            keys = {copy.record.key for copy in self.mirrored.values()}
            fresh = [copy for copy in some if copy.record.key not in keys]
            assert self.cache.mirror(some) == len(fresh)
            self.mirrored.update({copy.offset: copy for copy in fresh})

    @rule()
    def reopen_the_cache(self) -> None:
        self.cache.close()
        self.cache = SampleCache(self.folder / "cache", segment_bytes=300)
        assert self.cache.damages == []

    @invariant()
    def the_log_holds_what_it_took(self) -> None:
        found = [Copy(stored.offset, stored.next_offset, as_record(stored)) for stored in self.log.read(0, 10**9)]
        assert found == self.kept

    @invariant()
    def the_cache_holds_what_it_was_given(self) -> None:
        found = [Copy(stored.offset, stored.next_offset, as_record(stored)) for stored in self.cache.read(0, 10**9)]
        assert found == [self.mirrored[offset] for offset in sorted(self.mirrored)]

    def teardown(self) -> None:
        self.log.close()
        self.cache.close()
        shutil.rmtree(self.folder)


TestLog = LogMachine.TestCase
TestLog.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink]
)
