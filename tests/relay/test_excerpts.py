"""What a run has driven in training becomes a file of demonstrations: whole episodes, in order, and never one of an evaluation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zstandard

from tests.protocol.test_demonstrations import SPEC, chunk
from tests.relay.stage import RUN, Stage, a_summary, on_stage
from tests.relay.stage import chunk as a_message
from tmrld.errors import BadInput, Conflict, NotFound
from tmrld.payloads import Chunk
from tmrld.protocol.codec import decode, encode, seal_chunk
from tmrld.protocol.demonstrations import unpack
from tmrld.protocol.messages import Ack, ChunkMessage
from tmrld.relay import excerpts
from tmrld.relay.excerpts import Excerpt, excerpt
from tmrld.stock import MakingView
from tmrld.storage.episodes import Choice
from tmrld.storage.records import Record
from tmrld.storage.sample_log import SampleLog
from tmrld.storage.shelf import MAX_BYTES


def recorded(chunks: Sequence[tuple[str, Chunk]], *, compress: bool = False) -> list[Record]:
    """As a relay stores them: each from the worker beside it."""
    numbers: dict[str, int] = {}
    records = []
    for worker, driven in chunks:
        number = numbers[worker] = numbers.get(worker, -1) + 1
        body = encode(seal_chunk(replace(driven, run="demo", worker=worker, incarnation=worker, number=number), compress))
        records.append(Record(worker, worker, number, driven.steps, driven.purpose, driven.episode, body))
    return records


def an_episode(name: str, *lengths: int, purpose: str = "train") -> list[Chunk]:
    begins = np.cumsum([0, *lengths])
    last = len(lengths) - 1
    pieces = [chunk(name, int(begins[i]), length, last=i == last) for i, length in enumerate(lengths)]
    return [replace(piece, purpose=purpose) for piece in pieces]


A, B, E, C = (
    an_episode("a", 5, 5, 2),
    an_episode("b", 4, 1),
    an_episode("e", 3, 3, purpose="evaluation"),
    an_episode("c", 6),
)
DRIVEN = [("w", A[0]), ("v", B[0]), ("w", A[1]), ("u", E[0]), ("v", B[1]), ("w", A[2]), ("u", E[1]), ("v", C[0])]
"""Three workers at once: b ends before a does."""


@pytest.fixture
def log(tmp_path: Path) -> SampleLog:
    log = SampleLog(tmp_path / "log", segment_bytes=4000)
    log.append(recorded(DRIVEN))
    return log


def made(log: SampleLog, *episodes: str) -> Excerpt:
    told: list[float] = []
    found = excerpt(log, "mine", "oval", SPEC.to_plain(), episodes, told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    return found


def inside(data: bytes) -> list[tuple[str, int, int]]:
    found = unpack(data)
    assert (found.spec, found.track, found.name) == (SPEC, "oval", "mine")
    return [(each.episode, each.first_step, each.steps) for each in found.chunks]


def test_episodes_that_were_driven_at_the_same_time_stand_one_after_the_other(log: SampleLog) -> None:
    found = made(log, "a", "b", "c")
    assert (found.episodes, found.missing) == (3, 0)
    assert inside(found.data) == [("b", 0, 4), ("b", 4, 1), ("a", 0, 5), ("a", 5, 5), ("a", 10, 2), ("c", 0, 6)]
    for piece, original in zip(unpack(found.data).chunks, [*B, *A, *C], strict=True):
        for name, column in original.columns.items():
            np.testing.assert_array_equal(piece.columns[name], column)


def test_only_those_that_are_asked_for_are_in_it(log: SampleLog) -> None:
    assert inside(made(log, "b").data) == [("b", 0, 4), ("b", 4, 1)]


def test_what_was_driven_for_an_evaluation_is_never_in_it(log: SampleLog) -> None:
    found = made(log, "b", "e")
    assert (found.episodes, found.missing) == (1, 1)
    assert {episode for episode, _, _ in inside(found.data)} == {"b"}


def test_chunks_that_travelled_compressed_are_in_it_as_they_are(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "compressed")
    log.append(recorded(DRIVEN, compress=True))
    assert len(inside(made(log, "a", "b", "c").data)) == 6


def test_what_is_not_whole_any_more_is_left_out_and_counted(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "log", segment_bytes=1500)
    log.append(recorded(DRIVEN))
    offsets = [record.offset for record in log.read(0, 1 << 20)]
    log.prune(offsets[2])
    assert log.begin == offsets[2], "the first chunks of a and b are gone"
    found = made(log, "a", "b", "c", "never driven")
    assert inside(found.data) == [("c", 0, 6)]
    assert (found.episodes, found.missing) == (1, 3)
    with pytest.raises(Conflict, match=r"of the 1 episodes that were chosen none is whole .* \(relay\.sample_log_bytes\)"):
        made(log, "a")


def test_an_episode_with_a_damaged_chunk_is_left_out(tmp_path: Path, log: SampleLog) -> None:
    place = log.read(0, 1 << 20)[2]
    (segment,) = [path for path in (tmp_path / "log").glob("*.segment") if int(path.stem) <= place.offset][-1:]
    data = bytearray(segment.read_bytes())
    data[place.offset - int(segment.stem) + 200] ^= 1
    segment.write_bytes(data)
    found = made(log, "a", "b", "c")
    assert (found.episodes, found.missing) == (2, 1)
    assert {episode for episode, _, _ in inside(found.data)} == {"b", "c"}


def test_what_is_too_large_is_refused_with_how_many_would_do(log: SampleLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "MAX_RAW_BYTES", 3500)
    with pytest.raises(BadInput, match=r"the 3 episodes have 0 MiB, and .* may have 0: choose fewer, .* \(--last 2\)"):
        made(log, "a", "b", "c")
    monkeypatch.setattr(excerpts, "MAX_RAW_BYTES", 100)
    with pytest.raises(BadInput, match="a single one of them is too large"):
        made(log, "a")


def test_so_is_what_is_too_large_when_it_is_compressed(log: SampleLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAX_BYTES, "demonstrations", 100)
    with pytest.raises(BadInput, match="the 3 episodes have more than 0 MiB when they are compressed"):
        made(log, "a", "b", "c")


# At the relay


async def driven(stage: Stage, episodes: int) -> None:
    """A worker of the run has driven so many episodes in training, every second to the finish, and one in evaluation."""
    config = {"environment": {"track": "oval"}}
    await stage.make_run(config=config)
    worker = await stage.worker()
    for number in range(episodes):
        lap = 30.0 - number if number % 2 else None
        await worker.say(a_message(number, summary=a_summary(lap_time_s=lap)))
        await worker.hear(Ack)
    await worker.say(a_message(episodes, purpose="evaluation", summary=a_summary(lap_time_s=1.0)))
    await worker.hear(Ack)


def numbers_in(data: bytes) -> list[int]:
    """Of the chunks in a file."""
    with zstandard.ZstdDecompressor().stream_reader(data) as stream:
        _, *bodies = msgpack.Unpacker(stream)
    return [message.number for message in map(decode, bodies) if isinstance(message, ChunkMessage)]


def made_of(stage: Stage) -> MakingView:
    view = stage.relay.making(RUN)
    assert view is not None
    return view


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        (Choice(), [0, 1, 2, 3, 4, 5]),
        (Choice(first=2), [0, 1]),
        (Choice(last=2), [4, 5]),
        (Choice(last=2, finished_only=True), [3, 5]),
        (Choice(finished_only=True), [1, 3, 5]),
        (Choice(best_laps=2), [3, 5]),
        (Choice(best_laps=100), [1, 3, 5]),
    ],
)
def test_episodes_are_chosen_by_what_is_known_of_them(tmp_path: Path, choice: Choice, numbers: list[int]) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage, stage.listening("shelf") as events:
            await driven(stage, 6)
            files: list[bytes] = []

            async def put(data: bytes) -> None:
                files.append(data)

            begun = await stage.relay.make_demonstrations(RUN, "mine", choice, put)
            assert (begun.state, begun.name) == ("making", "mine")
            await events.hear(kind="demonstrations", name="mine", state="made")
            view = made_of(stage)
            assert (view.state, view.done, view.episodes, view.missing) == ("made", 1.0, len(numbers), 0)
            (data,) = files
            assert unpack(data).track == "oval"
            assert numbers_in(data) == numbers

    asyncio.run(scene())


def test_of_a_run_only_one_is_made_at_a_time_and_it_stays_until_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage, stage.listening("shelf") as events:
            await driven(stage, 2)
            go_on = asyncio.Event()

            async def put(_: bytes) -> None:
                await go_on.wait()

            await stage.relay.make_demonstrations(RUN, "mine", Choice(), put)
            with pytest.raises(Conflict, match="are made of the run demo already, called 'mine'"):
                await stage.relay.make_demonstrations(RUN, "more", Choice(), put)
            await stage.relay.move(RUN, "stop")
            with pytest.raises(Conflict, match="delete it when they are"):
                await stage.relay.delete_run(RUN)
            go_on.set()
            await events.hear(state="made")
            await stage.relay.delete_run(RUN)
            assert stage.relay.making(RUN) is None

    asyncio.run(scene())


@pytest.mark.parametrize("error", [BadInput("too much"), ZeroDivisionError("nobody thought of it")])
def test_what_goes_wrong_is_said_and_the_relay_goes_on(tmp_path: Path, error: Exception) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage, stage.listening("shelf") as events:
            await driven(stage, 1)

            async def put(_: bytes) -> None:
                raise error

            await stage.relay.make_demonstrations(RUN, "mine", Choice(), put)
            await events.hear(state="failed")
            view = made_of(stage)
            assert str(error) in view.detail
            await stage.relay.move(RUN, "pause")

    asyncio.run(scene())


def test_a_run_without_such_episodes_is_told_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async def put(_: bytes) -> None:
            raise AssertionError

        async with on_stage(tmp_path, "") as stage:
            await driven(stage, 1)
            with pytest.raises(Conflict, match="has driven no finished training episode to its end yet"):
                await stage.relay.make_demonstrations(RUN, "mine", Choice(best_laps=3), put)
            with pytest.raises(NotFound):
                await stage.relay.make_demonstrations("nothing", "mine", Choice(), put)

    asyncio.run(scene())
