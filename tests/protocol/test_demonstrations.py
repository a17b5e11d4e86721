"""Demonstrations as a file: whole episodes, checked to the last number."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import numpy as np
import pytest
import zstandard

from tests.protocol.examples import a_chunk
from tmrld.errors import BadInput
from tmrld.payloads import Array, Chunk, EnvSpec, EpisodeSummary, PartSpec
from tmrld.protocol import demonstrations
from tmrld.protocol.codec import encode, seal_chunk
from tmrld.protocol.demonstrations import pack, unpack

SPEC = EnvSpec("test/Point-v0", (PartSpec("position", (2,)), PartSpec("image", (3, 3), "uint8")), 1, default_action=(0.0,))


def chunk(episode: str, first_step: int, steps: int, *, last: bool = False) -> Chunk:
    rows = steps + 1
    columns = {
        "position": np.arange(rows * 2, dtype=np.float32).reshape(rows, 2),
        "image": np.full((rows, 3, 3), first_step, np.uint8),
        "action": np.zeros((rows, 1), np.float32),
        "reward": np.ones(rows, np.float32),
        "terminated": np.zeros(rows, np.uint8),
        "truncated": np.zeros(rows, np.uint8),
        "time": np.arange(rows, dtype=np.float64),
        "weights": np.full(rows, -1, np.int64),
        "actor": np.full(rows, 2, np.uint8),
    }
    summary = EpisodeSummary(first_step + steps, 1.0, True, 9.5, 1.0, "human", -1) if last else None
    return a_chunk(
        episode=episode,
        first_step=first_step,
        steps=steps,
        lead=1,
        columns=columns,
        state={},
        ended="terminated" if last else "",
        summary=summary,
    )


CHUNKS = [chunk("a", 0, 5), chunk("a", 5, 3, last=True), chunk("b", 0, 4, last=True)]


def refusal(data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        list(unpack(data).chunks)
    return str(caught.value)


def repacked(*values: object) -> bytes:
    return zstandard.ZstdCompressor().compress(b"".join(msgpack.packb(value) for value in values))


def test_what_was_packed_is_there_again() -> None:
    found = unpack(pack("mine", "monza", SPEC, CHUNKS))
    assert (found.name, found.track, found.spec) == ("mine", "monza", SPEC)
    for _ in range(2):  # as often as they are asked for
        chunks = list(found.chunks)
        assert [(c.episode, c.first_step, c.steps) for c in chunks] == [("a", 0, 5), ("a", 5, 3), ("b", 0, 4)]
        assert chunks[1].summary is not None
        assert chunks[1].summary.lap_time_s == 9.5
        np.testing.assert_array_equal(chunks[2].columns["position"], CHUNKS[2].columns["position"])


@pytest.mark.parametrize(
    "chunks",
    [CHUNKS[:1], CHUNKS[1:], [CHUNKS[0], CHUNKS[2]], [CHUNKS[2], CHUNKS[0]], [CHUNKS[0], CHUNKS[0], CHUNKS[1]]],
)
def test_an_episode_that_is_not_whole_is_refused(chunks: list[Chunk]) -> None:
    with pytest.raises(BadInput, match=r"not whole|cut short"):
        pack("mine", "monza", SPEC, chunks)


def test_evaluation_is_not_for_learning() -> None:
    with pytest.raises(BadInput, match="was driven for evaluation"):
        pack("mine", "monza", SPEC, [replace(CHUNKS[2], purpose="evaluation")])


def test_columns_of_other_spaces_are_refused() -> None:
    other = replace(SPEC, parts=(PartSpec("position", (3,)),))
    with pytest.raises(BadInput, match=r"float32 \(2,\) as position, and test/Point-v0 has float32 \(3,\)"):
        pack("mine", "monza", other, CHUNKS)
    broken = CHUNKS[2].columns | {"reward": np.full(5, np.nan, np.float32)}
    with pytest.raises(BadInput, match="not finite as reward"):
        pack("mine", "monza", SPEC, [replace(CHUNKS[2], columns=broken)])


def test_what_is_no_such_file_is_refused() -> None:
    assert "is not a file of demonstrations" in refusal(b"")
    assert "is not a file of demonstrations" in refusal(b"PK\x03\x04")
    assert "do not say what they are" in refusal(repacked())
    assert "do not say what they are" in refusal(repacked({"format": 1}))
    header = {"format": 1, "name": "x", "track": "y", "spec": SPEC.to_plain(), "chunks": 1}
    assert "reads format 1" in refusal(repacked(header | {"format": 2}))
    assert "do not say what was driven" in refusal(repacked(header | {"spec": {}}))
    assert "no chunk" in refusal(repacked(header, 5))
    assert "a chunk of the demonstrations is damaged" in refusal(repacked(header, b"\x93"))
    assert "cut short: 0 of 1" in refusal(repacked(header))
    assert "damaged" in refusal(zstandard.ZstdCompressor().compress(b"\xc1"))


def test_a_header_takes_no_memory_that_it_has_no_elements_for() -> None:
    for many in (b"\xdd\x06\x00\x00\x00", b"\xdf\x06\x00\x00\x00"):  # a list, a map, of a hundred million
        assert "are damaged" in refusal(zstandard.ZstdCompressor().compress(many))


def test_any_damage_is_noticed() -> None:
    data = pack("mine", "monza", SPEC, CHUNKS)
    for cut in range(0, len(data) - 4, 7):  # the last four bytes are the checksum alone
        assert refusal(data[:cut])
    for place in range(8, len(data), 5):
        assert refusal(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])


def test_a_file_that_swells_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstrations, "MAX_RAW_BYTES", 2 * 2**20)
    header = {"format": 1, "name": "x", "track": "y", "spec": SPEC.to_plain(), "chunks": 1}
    assert "more than 2 MiB" in refusal(repacked(header, bytes(40 * 2**20)))


def test_chunks_that_swell_one_by_one_are_not_all_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is packed for itself: a small file may hold a lot."""
    swelling = [seal_chunk(replace(each, columns=wide(each)), compress=True) for each in CHUNKS]
    header = {"format": 1, "name": "x", "track": "y", "spec": SPEC.to_plain(), "chunks": len(swelling)}
    data = repacked(header, *map(encode, swelling))
    assert len(list(unpack(data).chunks)) == 3
    monkeypatch.setattr(demonstrations, "MAX_RAW_BYTES", swelling[0].raw_bytes + swelling[1].raw_bytes)
    read = unpack(data).chunks
    assert [next(read).episode, next(read).episode] == ["a", "a"]
    with pytest.raises(BadInput, match="hold more than"):
        next(read)


def wide(chunk: Chunk) -> dict[str, Array]:
    """Its columns, and one that is nothing but zeros, some 100 kB."""
    return {**chunk.columns, "info.wide": np.zeros((len(chunk.columns["reward"]), 5_000), np.float32)}
