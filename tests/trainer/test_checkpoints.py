"""Checkpoints, the journal, and that a run which was killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import logging
import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.runs import LogRecord, a_log, a_loop, assert_same_state, ingest_until
from tmrld.errors import Damaged, DiskFull, StorageError
from tmrld.payloads import Array
from tmrld.rl.priorities import Prioritised
from tmrld.rl.sac import SAC
from tmrld.storage.files import pack_arrays, unpack_arrays
from tmrld.trainer.checkpoints import KEEP_LOCAL, Checkpoint, CheckpointFolder, Journal, JournalEntry, pack, unpack
from tmrld.trainer.loop import Counters, TrainingLoop

ENTRY_BYTES = 20


def a_checkpoint(update: int = 5, window: int = 100) -> Checkpoint:
    arrays: dict[str, Array] = {"policy.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array(3, np.int64)}
    return Checkpoint("run", update, 1, 2, 400, window, arrays, {"counters": {"updates": update}, "random": "text"})


def assert_equal(left: Checkpoint, right: Checkpoint) -> None:
    for name in ("run", "update", "lineage", "revision", "offset", "window", "plain"):
        assert getattr(left, name) == getattr(right, name)
    assert left.arrays.keys() == right.arrays.keys()
    for name, array in left.arrays.items():
        np.testing.assert_array_equal(array, right.arrays[name], strict=True)


# One checkpoint


def test_a_checkpoint_comes_back_as_it_was() -> None:
    assert_equal(unpack(pack(a_checkpoint()), "it"), a_checkpoint())


@settings(max_examples=40)
@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    whole = bytearray(pack(a_checkpoint()))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged, match="my file"):
        unpack(bytes(whole), "my file")


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_a_torn_file_is_noticed(length: int) -> None:
    whole = pack(a_checkpoint())
    with pytest.raises(Damaged, match="my file"):
        unpack(whole[: min(length, len(whole) - 1)], "my file")


@pytest.mark.parametrize("metadata", [{}, {"checkpoint": "{}"}, {"checkpoint": "[]"}, {"checkpoint": "no json"}])
def test_other_arrays_are_no_checkpoint(metadata: dict[str, str]) -> None:
    with pytest.raises(Damaged, match="my file is not a checkpoint of tmrld"):
        unpack(pack_arrays({}, metadata), "my file")


def test_one_of_a_newer_tmrld_is_refused_politely_and_the_first_had_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tmrld.trainer.checkpoints.FORMAT", 2)
        newer = pack(a_checkpoint())
    with pytest.raises(StorageError, match=r"my file was written by a newer tmrld \(format 2; .* up to 1\)\. Upgrade tmrld"):
        unpack(newer, "my file")
    arrays, metadata = unpack_arrays(pack(a_checkpoint()), "it")
    facts = json.loads(metadata["checkpoint"])
    del facts["format"]
    assert_equal(unpack(pack_arrays(arrays, {"checkpoint": json.dumps(facts)}), "it"), a_checkpoint())


# The folder


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert (folder.newest(), folder.updates(), folder.oldest_window()) == (None, [], 0)


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for update in (1, 5, 9, 100, 20):
        folder.save(update, 10 * update, pack(a_checkpoint(update)))
    assert folder.updates() == [100, 20, 9]
    assert len(folder.updates()) == KEEP_LOCAL
    newest = folder.newest()
    assert newest is not None
    assert newest.update == 100
    assert folder.oldest_window() == 90


def test_what_a_killed_process_left_half_written_is_removed_with_the_next(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    half = tmp_path / ".000000000001.checkpoint.x7k_2.new"
    half.write_bytes(b"half")
    assert folder.updates() == []
    folder.save(2, 0, pack(a_checkpoint(2)))
    assert [path.name for path in tmp_path.iterdir()] == ["000000000002.checkpoint"]


def test_a_damaged_newest_is_put_aside_for_the_one_before_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = CheckpointFolder(tmp_path)
    for update in (1, 2, 3):
        folder.save(update, 10 * update, pack(a_checkpoint(update)))
    (newest,) = tmp_path.glob("*3.checkpoint")
    newest.write_bytes(newest.read_bytes()[:-1])
    with caplog.at_level(logging.ERROR):
        found = CheckpointFolder(tmp_path).newest()
    assert found is not None
    assert found.update == 2
    assert "Falling back to the checkpoint before it" in caplog.text
    assert newest.name in caplog.text
    assert CheckpointFolder(tmp_path).updates() == [2, 1]
    assert newest.with_suffix(".damaged").exists()


def test_when_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(1, 0, b"rubbish")
    folder.save(2, 0, b"")
    assert folder.newest() is None
    assert folder.updates() == []


def test_nothing_may_be_pruned_for_a_checkpoint_whose_window_is_not_known_yet(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(1, 70, pack(a_checkpoint(1, window=70)))
    later = CheckpointFolder(tmp_path)
    later.save(2, 80, pack(a_checkpoint(2, window=80)))
    assert later.oldest_window() == 0
    again = CheckpointFolder(tmp_path)
    newest = again.newest()
    assert newest is not None
    assert again.oldest_window() == 0
    (tmp_path / "000000000001.checkpoint").unlink()
    assert again.oldest_window() == 80


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    (tmp_path / "notes.checkpoint").write_text("mine")
    assert folder.updates() == []
    assert folder.newest() is None


# The journal


def journal_with(path: Path, *entries: tuple[int, int]) -> None:
    journal = Journal(path)
    for update, offset in entries:
        journal.append(JournalEntry(update, offset))
    journal.close()


def after(path: Path, update: int = 0, offset: int = 0) -> list[tuple[int, int]]:
    journal = Journal(path)
    entries = journal.after(update, offset)
    journal.close()
    return [(entry.update, entry.offset) for entry in entries]


def test_a_new_journal_is_empty(tmp_path: Path) -> None:
    assert after(tmp_path / "deep" / "journal") == []


@pytest.mark.skipif(os.name != "posix", reason="these permissions are POSIX's")
def test_the_journal_is_its_owners_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "journal").close()
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o600


def test_the_journal_remembers_what_was_appended_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal_with(path, (0, 100), (5, 200))
    journal_with(path, (5, 300), (2**40, 2**50))
    assert after(path) == [(0, 100), (5, 200), (5, 300), (2**40, 2**50)]


def test_only_what_lies_beyond_the_checkpoint_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal_with(path, (0, 100), (5, 200), (5, 250), (7, 250), (9, 300))
    assert after(path, 5, 200) == [(5, 200), (5, 250), (7, 250), (9, 300)]
    assert after(path, 6, 250) == [(7, 250), (9, 300)]
    assert after(path, 10, 300) == []


def test_neither_updates_nor_offsets_ever_fall(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal_with(path, (4, 400), (2, 500), (5, 300), (5, 500))
    assert after(path) == [(4, 400), (5, 500)]


@settings(max_examples=20)
@given(torn=st.integers(1, ENTRY_BYTES), garbage=st.binary(max_size=50))
def test_a_torn_tail_ends_the_journal_and_is_written_over(torn: int, garbage: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        journal_with(path, (1, 10), (2, 20), (3, 30))
        whole = path.read_bytes()
        path.write_bytes(whole[:-torn] + bytes(64) + garbage)
        assert after(path) == [(1, 10), (2, 20)]
        journal_with(path, (4, 40))
        assert after(path) == [(1, 10), (2, 20), (4, 40)]


def test_a_damaged_entry_hides_what_follows_and_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal"
    journal_with(path, (1, 10), (2, 20), (3, 30))
    whole = bytearray(path.read_bytes())
    whole[ENTRY_BYTES] ^= 1
    path.write_bytes(whole)
    assert after(path) == [(1, 10)]
    assert "is damaged after 1 entries: what follows is trained anew" in caplog.text


def test_clearing_forgets_everything(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal_with(path, (1, 10))
    journal = Journal(path)
    journal.clear()
    assert journal.after(0, 0) == []
    journal.append(JournalEntry(2, 20))
    journal.close()
    assert after(path) == [(2, 20)]


def test_what_no_kept_checkpoint_needs_is_forgotten_and_appending_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for update in range(10):
        journal.append(JournalEntry(update, 10 * update))
    journal.forget_before(8)
    journal.append(JournalEntry(10, 100))
    journal.forget_before(3)
    journal.close()
    assert after(path) == [(8, 80), (9, 90), (10, 100)]
    assert path.stat().st_size == 3 * ENTRY_BYTES


class NearlyFull(FileIO):
    """A file on a disk that has room for seven bytes more."""

    def write(self, data: Any) -> int:
        return super().write(data[:7])


def test_a_full_disk_leaves_no_half_entry_behind(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(JournalEntry(1, 10))
    roomy, journal._file = journal._file, NearlyFull(path, "r+")
    with pytest.raises(DiskFull, match="the disk is full"):
        journal.append(JournalEntry(2, 20))
    journal._file.close()
    journal._file = roomy
    journal.append(JournalEntry(3, 30))
    journal.close()
    assert after(path) == [(1, 10), (3, 30)]


def test_a_journal_that_finds_no_room_when_it_is_shortened_loses_nothing_that_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for update in range(3):
        journal.append(JournalEntry(update, 10 * update))

    def no_room_at_first(path: Path, data: bytes) -> None:
        raise DiskFull("the disk is full")

    def no_room_at_last(path: Path, data: bytes) -> None:
        path.write_bytes(data)
        raise DiskFull("the disk is full")

    for update, fails in ((3, no_room_at_first), (4, no_room_at_last)):
        monkeypatch.setattr("tmrld.trainer.checkpoints.files.write_atomic", fails)
        with pytest.raises(DiskFull):
            journal.forget_before(2)
        journal.append(JournalEntry(update, 10 * update))
        journal.append(JournalEntry(update, 10 * update))
    journal.close()
    assert after(path) == [(2, 20), (3, 30), (3, 30), (4, 40), (4, 40)]


# Going on as if nothing had happened


@dataclass(frozen=True)
class Beginning:
    """What a run begins with: demonstrations, and weights, unless the policy that starts from them is held for 0 updates.

    With ``prioritised`` its memory is.
    """

    demonstrations: list[LogRecord]
    hold: int
    gru: int = 0
    """How much the policy remembers."""
    prioritised: Prioritised | None = None


def a_policy(gru: int) -> dict[str, Array]:
    """Weights to start from."""
    other = a_loop(update_to_data=10.0, gru=gru)
    ingest_until(other, a_log(3), 30)
    for _ in range(20):
        other.update()
    return other.algorithm.policy_tensors()


class Life:
    """A trainer's process, in short: what it does is written down in a schedule, and so are the updates with a checkpoint."""

    def __init__(self, folder: Path, log: list[LogRecord], capacity: int, beginning: Beginning) -> None:
        self.log = log
        self.checkpoints = CheckpointFolder(folder / "checkpoints")
        self.journal = Journal(folder / "journal")
        self.loop = a_loop(
            capacity,
            beginning.demonstrations,
            gru=beginning.gru,
            prioritised=beginning.prioritised,
            policy_hold=beginning.hold,
        )
        checkpoint = self.checkpoints.newest()
        if beginning.hold and checkpoint is None:
            assert isinstance(self.loop.algorithm, SAC)
            self.loop.algorithm.start_from(a_policy(beginning.gru))
        if checkpoint is not None:
            self.loop.restore(checkpoint.arrays, checkpoint.plain)
            counters = self.loop.counters
            self.loop.counters = Counters(offset=checkpoint.window)
            ingest_until(self.loop, log, checkpoint.offset)
            self.loop.counters = counters
        self.do(self.journal.after(self.loop.counters.updates, self.loop.counters.offset))

    def do(self, schedule: Sequence[JournalEntry], checkpoint_at: frozenset[int] = frozenset(), *, live: bool = False) -> None:
        """Follow the schedule from where the loop is; ``live`` writes journal and checkpoints."""
        for entry in schedule:
            while self.loop.counters.updates < entry.update:
                self.loop.update()
                if live and self.loop.counters.updates in checkpoint_at:
                    self.checkpoint()
            if self.loop.counters.offset < entry.offset:
                if live:
                    self.journal.append(entry)
                ingest_until(self.loop, self.log, entry.offset)

    def checkpoint(self) -> None:
        arrays, plain = self.loop.state()
        counters, window = self.loop.counters, self.loop.replay.oldest_offset
        assert window is not None
        checkpoint = Checkpoint("run", counters.updates, 0, 1, counters.offset, window, arrays, plain)
        self.checkpoints.save(checkpoint.update, checkpoint.window, pack(checkpoint))
        self.journal.forget_before(min(self.checkpoints.updates()))

    def end(self) -> TrainingLoop:
        self.journal.close()
        return self.loop


@st.composite
def schedules(draw: st.DrawFn) -> list[JournalEntry]:
    """Data enters, then some updates are made, and again; the first data before all updates."""
    update, offset, schedule = 0, 0, []
    for _ in range(draw(st.integers(2, 6))):
        offset += 10 * draw(st.integers(1, 3))
        schedule.append(JournalEntry(update, offset))
        update += draw(st.integers(0, 4))
    return [*schedule, JournalEntry(update + 1, offset)]


@settings(max_examples=16)
@given(
    schedule=schedules(),
    checkpoint_at=st.frozensets(st.integers(1, 20), max_size=6),
    kills=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    capacity=st.sampled_from([8, 14, 1000]),
    damage_newest=st.booleans(),
    beginning=st.builds(Beginning, st.sampled_from([[], a_log(25)[20:]]), st.sampled_from([0, 4]), st.sampled_from([0, 3]))
    | st.builds(
        Beginning,
        st.sampled_from([[], a_log(25)[20:]]),
        st.sampled_from([0, 4]),
        prioritised=st.just(Prioritised(0.6, 0.4, 10)),
    ),
)
def test_a_run_that_is_killed_and_resumed_ends_as_one_that_never_was(
    schedule: list[JournalEntry],
    checkpoint_at: frozenset[int],
    kills: list[int],
    capacity: int,
    damage_newest: bool,
    beginning: Beginning,
) -> None:
    log = a_log(20)
    with tempfile.TemporaryDirectory() as folder:
        unbroken = Life(Path(folder) / "unbroken", log, capacity, beginning)
        unbroken.do(schedule, live=True)

        place = Path(folder) / "broken"
        for kill in kills:
            life = Life(place, log, capacity, beginning)
            life.do(schedule[:kill], checkpoint_at, live=True)
            life.journal.close()
            newest = max((place / "checkpoints").glob("*.checkpoint"), default=None)
            if damage_newest and newest is not None and len(life.checkpoints.updates()) > 1:
                newest.write_bytes(newest.read_bytes()[:-3])
        resumed = Life(place, log, capacity, beginning)
        resumed.do(schedule, checkpoint_at, live=True)
        assert_same_state(resumed.end(), unbroken.end())


def test_what_the_run_went_on_without_is_removed(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for update in (5, 10, 15):
        folder.save(update, 100, pack(a_checkpoint(update)))
    folder.remove_beyond(10)
    assert folder.updates() == [10, 5]
