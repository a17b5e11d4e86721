"""Bytes from elsewhere, for every reader of messages and files: a value or the reader's own error, and never anything else.

Searches begin with a sound file of each kind.  What was once found to go wrong is kept as an example in `FOUND`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.examples import a_chunk, a_summary, every_message
from tests.protocol.test_demonstrations import CHUNKS
from tests.protocol.test_demonstrations import SPEC as A_POINT
from tests.worker.worlds import SPEC
from tmrld.envs.trackmania import tracks
from tmrld.errors import ProtocolError, TmrldError
from tmrld.payloads import EnvSpec, WeightsManifest
from tmrld.protocol import demonstrations
from tmrld.protocol.codec import decode, encode, open_chunk, seal_chunk
from tmrld.protocol.messages import ChunkMessage
from tmrld.rl import weights
from tmrld.security.invites import Invite
from tmrld.security.tls import check_pin
from tmrld.settings import example, load
from tmrld.shelving import accepted, track_file
from tmrld.storage.files import pack_arrays, read_manifest, unpack_arrays, write_manifest
from tmrld.storage.records import Damage, Facts, packed_facts, packed_record, scanned
from tmrld.storage.tracks import thinned
from tmrld.trainer import checkpoints

LINE = np.cumsum(np.ones((50, 3)), axis=0)


def a_checkpoint() -> bytes:
    arrays: dict[str, Any] = {"policy.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return checkpoints.pack(checkpoints.Checkpoint("run", 5, 1, 2, 400, 100, arrays, {"counters": {"updates": 5}}))


def a_line() -> bytes:
    data = io.BytesIO()
    np.save(data, LINE)
    return data.getvalue()


def some_records() -> bytes:
    log = b""
    for number in range(3):
        facts = packed_facts(Facts("w1", "1f", number, 5, "train", "e1"))
        log += packed_record(len(log), facts, encode(seal_chunk(a_chunk())))
    return log


def in_a_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def reading(data: bytes) -> object:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            path.write_bytes(data)
            return read(path)

    return reading


def a_manifest() -> bytes:
    with TemporaryDirectory() as folder:
        write_manifest(Path(folder) / "file", "test", 1, {"a": [1, 2.5, None], "b": {"c": "text"}})
        return (Path(folder) / "file").read_bytes()


def open_message(data: bytes) -> object:
    message = decode(data)
    return open_chunk(message) if isinstance(message, ChunkMessage) else message


def open_demonstrations(data: bytes) -> object:
    return list(demonstrations.unpack(data).chunks)


def read_records(data: bytes) -> object:
    covered = list(scanned(data, 0))
    assert sum(each.bytes if isinstance(each, Damage) else each.next_offset - each.offset for each in covered) == len(data)
    return covered


def read_journal(path: Path) -> object:
    journal = checkpoints.Journal(path)
    journal.close()
    return journal.after(0, 0)


def as_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", errors="surrogateescape"))


SOME_DEMONSTRATIONS = demonstrations.pack("mine", "monza", A_POINT, CHUNKS)
SOME_WEIGHTS = weights.pack(WeightsManifest("run", 1, 2, 0, SPEC, {}, "sac"), {"a": np.ones((2, 2), np.float32)}).data
INVITE = Invite("relay.example:7401", "worker", "sha256:" + "ab" * 32, "A" * 43).text()

READERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "chunk": (open_message, encode(seal_chunk(a_chunk(ended="terminated", summary=a_summary()), True))),
    "weights": (
        weights.unpack,
        weights.pack(WeightsManifest("run", 1, 2, 0, SPEC, {}, "sac"), {"a": np.ones((2, 2), np.float32)}).data,
    ),
    "checkpoint": (lambda data: checkpoints.unpack(data, "the file"), a_checkpoint()),
    "arrays": (lambda data: unpack_arrays(data, "the file"), pack_arrays({"a": np.arange(5)}, {"b": "c"})),
    "demonstrations": (open_demonstrations, SOME_DEMONSTRATIONS),
    "demonstrations for the shelf": (lambda data: accepted("demonstrations", data), SOME_DEMONSTRATIONS),
    "weights for the shelf": (lambda data: accepted("weights", data), b"{}"),
    "track for the shelf": (lambda data: accepted("tracks", data), a_line()),
    "track": (lambda data: tracks.parse(data, "the file"), b"0 0 0\n1,2,3\n4 5 6 # the end\n"),
    "track as it is": (lambda data: tracks.parse(data, "the file", as_it_is=True), track_file(LINE)),
    "track for a map": (lambda data: thinned("oval", data, 100), track_file(LINE)),
    "records": (read_records, some_records()),
    "journal": (in_a_file(read_journal), bytes(range(60))),
    "manifest": (in_a_file(lambda path: read_manifest(path, "test", 1)), a_manifest()),
    "settings": (in_a_file(lambda path: load(path, environment={})), example().encode()),
    "invite": (as_text(Invite.parse), INVITE.encode()),
    "pin": (as_text(check_pin), b"sha256:" + b"ab" * 32),
}
"""What reads each kind of file, and a sound one."""


TRACKS = [kind for kind in READERS if "track" in kind]


@st.composite
def changed(draw: st.DrawFn, sound: bytes) -> bytes:
    """A sound file with some bytes changed, cut, repeated or put in; sometimes any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["flip", "byte", "cut", "put in", "repeat", "remove"])):
            case "flip" if data:
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "byte" if data:
                data[place] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, *b'"{[]}\n\\-9.e']))
            case "cut":
                del data[place:]
            case "put in":
                data[place:place] = draw(st.binary(min_size=1, max_size=20))
            case "repeat":
                data[place:place] = data[place : place + draw(st.integers(1, 50))]
            case _:
                del data[place : place + draw(st.integers(1, 50))]
    return bytes(data)


FOUND: list[tuple[str, bytes]] = [
    # numpy's reader of headers gave up with errors of Python's tokenizer, and believed shapes
    *((kind, b"\x93NUMPY\x01\x00v\x00{\x93NUMPY\x01\x00v\x00{'descr': '<f8', " + b" " * 200) for kind in TRACKS),
    *((kind, b"\x93NUMPY\x01\x00\x00\x01v\x00{'descr': '<f8', 'shape': (850, 3), }" + b" " * 300) for kind in TRACKS),
    ("track for a map", track_file(LINE)[:-8] + b"\xff\xff\xff\xff\xff\xff\xef\x7f"),  # no single precision holds it
    *((kind, a_line().replace(b"(50, 3)", b"(9999999999, 3)")) for kind in TRACKS),
]
"""Kinds and bytes that once made a reader fail otherwise than it should."""


def read_or_refused(kind: str, data: bytes) -> None:
    """Reads, or raises an error of ours that has a sentence."""
    reader, _ = READERS[kind]
    sentence = "read"
    try:
        reader(data)
    except TmrldError as error:
        sentence = str(error)
    assert sentence


@pytest.mark.parametrize("kind", READERS)
def test_a_sound_file_is_read(kind: str) -> None:
    reader, sound = READERS[kind]
    if kind != "weights for the shelf":
        assert reader(sound) is not None


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_any_file_is_read_or_refused(kind: str, draw: st.DataObject) -> None:
    read_or_refused(kind, draw.draw(changed(READERS[kind][1])))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_any_file_is_read_or_refused_for_long(kind: str, draw: st.DataObject) -> None:
    read_or_refused(kind, draw.draw(changed(READERS[kind][1])))


@pytest.mark.parametrize(("kind", "data"), FOUND, ids=[f"{kind} {number}" for number, (kind, _) in enumerate(FOUND)])
def test_what_was_found_once_is_read_or_refused(kind: str, data: bytes) -> None:
    read_or_refused(kind, data)


@settings(max_examples=300)
@given(st.sampled_from(every_message()).flatmap(lambda message: changed(encode(message))))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    code = 1009
    try:
        open_message(data)
    except ProtocolError as error:
        code = error.code
    assert code in (1003, 1007, 1009)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(SPEC.to_plain())), st.sampled_from(sorted(SPEC.to_plain()["parts"][0])), PLAIN)
def test_any_description_of_spaces_is_read_or_refused(name: str, of_part: str, value: Any) -> None:
    plain = SPEC.to_plain()
    for changed_plain in ({**plain, name: value}, {**plain, "parts": [{**plain["parts"][0], of_part: value}]}):
        try:
            spec = EnvSpec.from_plain(changed_plain)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
        json.dumps(spec.to_plain())


def test_a_search_begins_somewhere() -> None:
    assert msgpack.unpackb(READERS["chunk"][1])[0] == "chunk"
