"""What a worker keeps until the relay has it for good."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tmrld.errors import DiskFull, StorageError
from tmrld.protocol.messages import ChunkMessage
from tmrld.storage import files
from tmrld.storage.sample_log import SampleLog
from tmrld.worker.outbox import Outbox

SEGMENT_BYTES = 4000
QUOTA_BYTES = 12_000
MEMORY_BYTES = 1000


def a_chunk(payload: bytes = b"", steps: int = 1, purpose: str = "train", episode: str = "e") -> ChunkMessage:
    """As an engine hands it over: without an incarnation."""
    return ChunkMessage(
        run="run",
        worker="gamer",
        incarnation="",
        number=0,
        episode=episode,
        first_step=0,
        steps=steps,
        lead=1,
        track="oval",
        purpose=purpose,
        ended="",
        seed=None,
        columns=[],
        state=[],
        summary=None,
        compression="",
        raw_bytes=0,
        payload=payload,
    )


def an_outbox(folder: Path, memory_bytes: int = MEMORY_BYTES, quota_bytes: int = QUOTA_BYTES) -> Outbox:
    return Outbox(SampleLog(folder, segment_bytes=SEGMENT_BYTES, quota_bytes=quota_bytes), memory_bytes)


def two_runs(outbox: Outbox, before: float) -> None:
    """Chunks of two runs wait, some in memory and some in the spool."""
    assert not outbox.belongs("again", before)
    assert not outbox.belongs("kept", 1.0)
    for number in range(4):
        for run in ("again", "kept"):
            outbox.put(replace(a_chunk(bytes(100), episode=f"{run} {number}"), run=run))


def test_what_waits_for_a_run_that_was_made_anew_is_let_go_and_nothing_else(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path, memory_bytes=150)
    two_runs(outbox, 2.0)
    assert not outbox.belongs("again", 2.0)
    assert len(outbox) == 8
    assert outbox.belongs("again", 3.0)
    assert [chunk.run for chunk in drained(outbox)] == ["kept"] * 4
    assert len(outbox) == 4


def test_so_is_what_an_earlier_process_left_for_it(tmp_path: Path) -> None:
    made = tmp_path / "spool" / "made"
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 150, made)) as before:
        two_runs(before, 2.0)
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 150, made)) as outbox:
        assert not outbox.belongs("kept", 1.0)
        assert len(outbox) == 8
        assert outbox.belongs("again", 3.0)
        assert [chunk.run for chunk in drained(outbox)] == ["kept"] * 4
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 150, made)) as outbox:
        assert len(outbox) == 4
        assert not outbox.belongs("again", 3.0)


def test_what_could_not_be_noted_is_noted_before_anything_goes_to_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "spool" / "made"
    write, full = files.write_manifest, [DiskFull("the disk is full")]

    def write_if_there_is_room(*arguments: Any) -> None:
        if full:
            raise full[0]
        write(*arguments)

    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 0, made)) as before:
        two_runs(before, 2.0)
        monkeypatch.setattr(files, "write_manifest", write_if_there_is_room)
        assert before.belongs("again", 3.0)
        full.clear()
        before.put(replace(a_chunk(), run="again"))
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 0, made)) as outbox:
        assert not outbox.belongs("again", 3.0)
        assert [chunk.run for chunk in drained(outbox)].count("again") == 1


def test_a_spool_that_was_lost_begins_anew(tmp_path: Path) -> None:
    made = tmp_path / "spool" / "made"
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 0, made)) as before:
        two_runs(before, 2.0)
        before.belongs("again", 3.0)
    for path in made.parent.iterdir():
        if path != made:
            path.unlink()
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 0, made)) as outbox:
        outbox.belongs("again", 3.0)
        outbox.put(replace(a_chunk(), run="again"))
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 0, made)) as outbox:
        assert len(outbox) == 1


@pytest.mark.parametrize("lost", [b"", b"{}", b"[1]"])
def test_if_it_cannot_be_known_any_more_it_is_said_and_nothing_is_let_go(
    tmp_path: Path, lost: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    made = tmp_path / "spool" / "made"
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 150, made)) as before:
        two_runs(before, 2.0)
    made.write_bytes(lost)
    with closing(Outbox(SampleLog(tmp_path / "spool", segment_bytes=SEGMENT_BYTES), 150, made)) as outbox:
        assert "may learn from what waits here for the one before it" in caplog.text
        assert not outbox.belongs("again", 3.0)
        assert len(outbox) == 8
        assert outbox.belongs("again", 4.0)


def drained(outbox: Outbox) -> list[ChunkMessage]:
    """Everything that it hands out."""
    chunks = []
    while (chunk := outbox.next_unsent()) is not None:
        chunks.append(chunk)
    return chunks


def identities(chunks: list[ChunkMessage]) -> list[tuple[str, int]]:
    return [(chunk.incarnation, chunk.number) for chunk in chunks]


def filled(outbox: Outbox, chunk: ChunkMessage) -> int:
    """Put this chunk again and again until there is no room; how often that went well."""
    for count in range(1000):
        try:
            outbox.put(chunk)
        except DiskFull:
            return count
    raise AssertionError("it never filled up")


def test_chunks_are_numbered_and_handed_out_in_order(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    for payload in (b"a", b"b", b"c"):
        outbox.put(a_chunk(payload))
    chunks = drained(outbox)
    assert [chunk.payload for chunk in chunks] == [b"a", b"b", b"c"]
    assert identities(chunks) == [(outbox.incarnation, number) for number in range(3)]
    outbox.close()


def test_what_does_not_fit_into_memory_goes_to_the_spool_and_keeps_its_order(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path, memory_bytes=10)
    for payload in (b"12345", b"too much for memory", b"12345", b"6"):
        outbox.put(a_chunk(payload))
    assert outbox.spooled_bytes > 0
    assert [chunk.payload for chunk in drained(outbox)] == [b"12345", b"too much for memory", b"12345", b"6"]
    outbox.close()


def test_what_is_driven_now_takes_turns_with_what_an_outage_has_left(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path, quota_bytes=10**7)
    for n in range(200):
        outbox.put(a_chunk(bytes(100), episode=f"before {n // 10}"))
    outbox.close()
    outbox = an_outbox(tmp_path, quota_bytes=10**7)  # most of it lies on the disk
    outbox.put(a_chunk(b"now 0", episode="now"))
    handed_out: list[ChunkMessage] = []
    for n in range(1, 60):  # a chunk comes for each two that the line takes
        handed_out += [chunk for chunk in (outbox.next_unsent(), outbox.next_unsent()) if chunk is not None]
        assert handed_out[-1].payload == f"now {n - 1}".encode()
        outbox.put(a_chunk(f"now {n}".encode(), episode="now"))
    backlog = [chunk for chunk in handed_out if chunk.episode != "now"]
    assert [chunk.number for chunk in backlog] == list(range(59))


def test_an_episode_that_an_outage_has_cut_in_two_is_handed_out_in_order(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path, quota_bytes=10**7)
    for n in range(20):
        outbox.put(a_chunk(episode="first" if n < 15 else "cut"))
    outbox.rewind()
    outbox.put(a_chunk(episode="cut"))
    order = [(chunk.episode, chunk.number) for chunk in drained(outbox)]
    assert order[:12] == [pair for n in range(6) for pair in (("first", n), ("cut", 15 + n))]
    assert order[12:] == [("first", n) for n in range(6, 15)]


def test_a_wiped_spool_begins_another_incarnation_with_numbers_of_its_own(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path / "spool", memory_bytes=0)
    outbox.put(a_chunk(b"gone"))
    lost = identities(drained(outbox))
    outbox.close()
    shutil.rmtree(tmp_path / "spool")
    outbox = an_outbox(tmp_path / "spool", memory_bytes=0)
    outbox.put(a_chunk(b"new"))
    outbox.acknowledge(lost[0][0], [0])  # that of the former one came late
    outbox.rewind()
    (chunk,) = drained(outbox)
    assert (chunk.payload, chunk.number) == (b"new", 0)
    assert chunk.incarnation == outbox.incarnation != lost[0][0]


def test_an_acknowledgement_makes_room_in_memory(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path, memory_bytes=10)
    for _ in range(50):
        outbox.put(a_chunk(b"0123456789"))
        (chunk,) = drained(outbox)
        outbox.acknowledge(chunk.incarnation, [chunk.number])
    assert (len(outbox), outbox.spooled_bytes) == (0, 0)
    outbox.close()


def test_acknowledging_twice_or_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    outbox.put(a_chunk())
    outbox.put(a_chunk())
    outbox.acknowledge(outbox.incarnation, [0, 0, 7])
    outbox.acknowledge(outbox.incarnation, [0])
    outbox.acknowledge("another", [1])
    assert identities(drained(outbox)) == [(outbox.incarnation, 1)]
    outbox.close()


def test_after_a_broken_line_everything_unacknowledged_is_handed_out_again(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    for _ in range(4):
        outbox.put(a_chunk())
    drained(outbox)
    outbox.acknowledge(outbox.incarnation, [1])
    assert drained(outbox) == []
    outbox.rewind()
    assert [chunk.number for chunk in drained(outbox)] == [0, 2, 3]
    outbox.close()


def test_a_full_spool_refuses_a_chunk_and_keeps_all_it_has(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    count = filled(outbox, a_chunk(bytes(500), steps=2))
    assert outbox.spooled_bytes <= QUOTA_BYTES
    assert (len(outbox), outbox.transitions) == (count, 2 * count)
    assert [chunk.number for chunk in drained(outbox)] == list(range(count))

    outbox.acknowledge(outbox.incarnation, list(range(count)))
    outbox.put(a_chunk(bytes(500)))
    assert [chunk.number for chunk in drained(outbox)] == [count]
    outbox.close()


def test_only_training_steps_count_as_transitions(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    outbox.put(a_chunk(steps=3))
    outbox.put(a_chunk(steps=5, purpose="evaluation"))
    assert outbox.transitions == 3
    outbox.close()


def test_a_new_start_sends_what_was_left_under_its_old_identity_and_in_order(tmp_path: Path) -> None:
    before = an_outbox(tmp_path, memory_bytes=10)
    for payload in (b"in memory", b"in the spool", b"x", b"in the spool, too"):
        before.put(a_chunk(payload))
    before.close()

    outbox = an_outbox(tmp_path)
    outbox.put(a_chunk(b"new"))
    chunks = drained(outbox)
    assert [chunk.payload for chunk in chunks] == [b"in memory", b"in the spool", b"x", b"in the spool, too", b"new"]
    assert outbox.incarnation != before.incarnation
    assert identities(chunks) == [(before.incarnation, number) for number in range(4)] + [(outbox.incarnation, 0)]
    assert outbox.transitions == 1
    outbox.close()


def test_what_a_close_cannot_save_is_said(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path, memory_bytes=2**20)
    for _ in range(50):
        outbox.put(a_chunk(bytes(500), steps=3))
    with pytest.raises(StorageError, match=r"150 steps that were driven but not yet stored by the relay are lost: The log in"):
        outbox.close()


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    outbox.put(a_chunk())
    outbox.close()
    outbox.close()


def test_a_chunk_that_is_damaged_in_the_spool_is_reported_and_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = an_outbox(tmp_path, memory_bytes=0)
    for payload in (b"first", b"second", b"third"):
        outbox.put(a_chunk(payload))
    (segment,) = (path for path in tmp_path.iterdir() if b"second" in path.read_bytes())
    segment.write_bytes(segment.read_bytes().replace(b"second", b"sEcond"))
    with caplog.at_level(logging.ERROR, "tmrld.worker"):
        assert [chunk.payload for chunk in drained(outbox)] == [b"first", b"third"]
    assert f"chunk 1 of {outbox.incarnation} was damaged on the disk before the relay had it: it is lost" in caplog.messages
    assert len(outbox) == 2
    outbox.close()


class AnyOrder(RuleBasedStateMachine):
    """Any order of putting, sending, acknowledging, broken lines and restarts.

    ``unacknowledged`` is what must be in there, in order, with the payload of each; ``unsent`` what must come next.
    """

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.spool = Path(self.temporary.name)
        self.unacknowledged: dict[tuple[str, int], bytes] = {}
        self.episodes: dict[tuple[str, int], str] = {}
        self.unsent: list[tuple[str, int]] = []
        self.acknowledged: set[tuple[str, int]] = set()
        self.incarnations: set[str] = set()
        self.open()

    def open(self) -> None:
        self.outbox = an_outbox(self.spool)
        assert self.outbox.incarnation not in self.incarnations
        self.incarnations.add(self.outbox.incarnation)
        self.numbers = 0
        self.transitions = 0

    @rule(
        size=st.integers(0, 800),
        steps=st.integers(0, 5),
        purpose=st.sampled_from(["train", "evaluation"]),
        episode=st.sampled_from("abc"),
    )
    def put(self, size: int, steps: int, purpose: str, episode: str) -> None:
        identity = self.outbox.incarnation, self.numbers
        payload = (repr(identity).encode() * 20)[:size]
        try:
            self.outbox.put(a_chunk(payload, steps, purpose, episode))
        except DiskFull:
            return
        self.numbers += 1
        self.transitions += steps if purpose == "train" else 0
        self.unacknowledged[identity] = payload
        self.episodes[identity] = episode
        self.unsent.append(identity)

    @rule()
    def send(self) -> None:
        chunk = self.outbox.next_unsent()
        if not self.unsent:
            assert chunk is None
            return
        assert chunk is not None
        identity = chunk.incarnation, chunk.number
        assert identity == self.first_unsent(chunk.episode)
        self.unsent.remove(identity)
        assert chunk.payload == self.unacknowledged[identity]

    def first_unsent(self, episode: str) -> tuple[str, int]:
        return next(identity for identity in self.unsent if self.episodes[identity] == episode)

    @precondition(lambda self: self.unacknowledged)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Also what this life has not yet sent: a former one may have."""
        incarnation, _ = data.draw(st.sampled_from(list(self.unacknowledged)))
        numbers = data.draw(st.lists(st.integers(0, 30)))
        self.outbox.acknowledge(incarnation, numbers)
        for number in numbers:
            identity = incarnation, number
            if self.unacknowledged.pop(identity, None) is not None:
                self.acknowledged.add(identity)
            if identity in self.unsent:
                self.unsent.remove(identity)

    @rule()
    def break_the_line(self) -> None:
        self.outbox.rewind()
        self.unsent = list(self.unacknowledged)

    @rule()
    def restart(self) -> None:
        """What shares a segment with something unacknowledged comes back, and is acknowledged again; nothing else appears."""
        try:
            self.outbox.close()
            complete = True
        except StorageError:
            complete = False
        self.open()
        left = self.in_order(identities(drained(self.outbox)))
        assert set(left) <= self.unacknowledged.keys() | self.acknowledged
        expected = self.in_order(identity for identity in self.unacknowledged if complete or identity in left)
        assert [identity for identity in left if identity in self.unacknowledged] == expected
        for incarnation, number in left:
            if (incarnation, number) in self.acknowledged:
                self.outbox.acknowledge(incarnation, [number])
        self.unacknowledged = {identity: self.unacknowledged[identity] for identity in expected}
        self.break_the_line()

    def in_order(self, found: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """By episode, and within one as they came."""
        return sorted(found, key=lambda identity: self.episodes[identity])

    @invariant()
    def keeps_its_bounds(self) -> None:
        assert len(self.outbox) == len(self.unacknowledged)
        assert self.outbox.transitions == self.transitions
        assert self.outbox.spooled_bytes <= QUOTA_BYTES

    def teardown(self) -> None:
        with contextlib.suppress(StorageError):
            self.outbox.close()
        self.temporary.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=15, stateful_step_count=40)
