import contextlib
import dataclasses
from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.protocol.examples import a_chunk, a_summary, every_message
from tmrld.errors import BadInput, ProtocolError
from tmrld.protocol.codec import (
    DTYPES,
    KINDS,
    StoredBody,
    decode,
    encode,
    open_chunk,
    open_stored,
    open_summary,
    seal_chunk,
    seal_stored,
    seal_summary,
)
from tmrld.protocol.messages import (
    MAX_HEADER_BYTES,
    TABLE,
    Ack,
    ChunkMessage,
    Command,
    Message,
    Metrics,
    Status,
    Stored,
    TrackLine,
)

EVERY_MESSAGE = every_message()
UNHURRIED = settings(deadline=None)
a_message = pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: KINDS[type(message)])


def spelled(kind: Any, header: Any, payload: Any = b"") -> bytes:
    """What a peer with its own ideas could send."""
    data = msgpack.packb([kind, header, payload])
    assert isinstance(data, bytes)
    return data


def header_of(message: Message, **changes: object) -> dict[str, Any]:
    header = {**vars(message), **changes}
    header.pop("payload", None)
    return header


# Messages


def test_there_is_an_example_of_every_kind() -> None:
    assert [type(message) for message in EVERY_MESSAGE] == [row.type for row in TABLE]


@a_message
def test_every_kind_survives_the_journey(message: Message) -> None:
    assert decode(encode(message)) == message


@a_message
def test_what_travels_is_one_msgpack_value(message: Message) -> None:
    kind, header, payload = msgpack.unpackb(encode(message))
    assert kind == KINDS[type(message)]
    assert header == header_of(message)
    assert payload == getattr(message, "payload", b"")


@a_message
def test_a_view_is_read_like_bytes(message: Message) -> None:
    assert decode(memoryview(encode(message))) == message


@a_message
def test_every_field_is_missed_by_name(message: Message) -> None:
    kind = KINDS[type(message)]
    for name in header_of(message):
        header = header_of(message)
        del header[name]
        with pytest.raises(ProtocolError, match=rf"^{kind}\.{name} is missing$"):
            decode(spelled(kind, header, getattr(message, "payload", b"")))


@a_message
def test_every_field_is_held_to_its_type(message: Message) -> None:
    kind = KINDS[type(message)]
    for name in header_of(message):
        with pytest.raises(ProtocolError, match=rf"^{kind}\.{name} is .*expected") as raised:
            decode(spelled(kind, header_of(message, **{name: msgpack.Timestamp(1, 1)}), getattr(message, "payload", b"")))
        assert raised.value.code == 1007


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"hello.colour is no field of it"):
        decode(spelled("hello", header_of(EVERY_MESSAGE[0], colour="red")))


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"'pickle' is no kind of message in tmrld.v1") as raised:
        decode(spelled("pickle", {}))
    assert raised.value.code == 1003


def test_a_flag_is_no_number() -> None:
    with pytest.raises(ProtocolError, match=r"assign.revision is True, expected an integer"):
        decode(spelled("assign", header_of(EVERY_MESSAGE[2], revision=True)))


def test_counts_do_not_go_below_zero() -> None:
    message = seal_chunk(a_chunk())
    with pytest.raises(ProtocolError, match=r"chunk.number is -1, expected an integer of at least 0"):
        decode(spelled("chunk", header_of(message, number=-1), message.payload))


def test_an_integer_has_to_fit_64_bits_with_sign() -> None:
    with pytest.raises(ProtocolError, match=r"command.id is 9223372036854775808, expected an integer"):
        decode(spelled("command", {"id": 2**63, "name": "stop", "arguments": {}}))
    with pytest.raises(ProtocolError, match=r"command.arguments.n is 9223372036854775808, expected an integer of 64 bits"):
        decode(spelled("command", {"id": 1, "name": "stop", "arguments": {"n": 2**63}}))


def test_a_list_of_numbers_holds_nothing_else() -> None:
    with pytest.raises(ProtocolError, match=r"ack.numbers.1 is 'two', expected an integer of 64 bits"):
        decode(spelled("ack", {"incarnation": "1f", "numbers": [1, "two"]}))


def nested(depth: int) -> Any:
    return [] if depth == 1 else [nested(depth - 1)]


def test_sixteen_levels_are_deep_enough() -> None:
    assert decode(encode(Command(1, "x", {"a": nested(15)}))) == Command(1, "x", {"a": nested(15)})
    with pytest.raises(ProtocolError, match=r"command\.arguments\.a\.0.* is nested deeper than 16 levels"):
        decode(spelled("command", {"id": 1, "name": "x", "arguments": {"a": nested(16)}}))
    with pytest.raises(BadInput, match="deeper than 16 levels"):
        encode(Command(1, "x", {"a": nested(16)}))


def test_a_list_that_claims_more_than_it_has_is_not_allotted() -> None:
    claim = b"\x93\xa3ack\x82\xabincarnation\xa21f\xa7numbers\xdd\xff\xff\xff\xff"
    with pytest.raises(ProtocolError, match="not sound msgpack"):
        decode(claim)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode(b"\x93\xa3ack" + b"\x91" * 100_000)


def test_a_header_has_a_limit() -> None:
    text = "x" * MAX_HEADER_BYTES
    with pytest.raises(BadInput, match=r"the header of status has \d+ bytes, at most 262144 are allowed"):
        encode(Status("oval", "driving", text))
    with pytest.raises(ProtocolError, match="header") as raised:
        decode(spelled("status", {"run": "oval", "state": "driving", "detail": text, "values": {}}))
    assert raised.value.code == 1009


def test_a_list_has_a_limit() -> None:
    with pytest.raises(BadInput, match=r"ack.numbers has 9000 elements, at most 8192 are allowed"):
        encode(Ack("1f", list(range(9000))))


def test_the_name_of_a_track_has_a_limit() -> None:
    assert decode(encode(TrackLine("oval", "t" * 256, None, b""))) == TrackLine("oval", "t" * 256, None, b"")
    with pytest.raises(BadInput, match=r"track.track is 't+… \(str\), expected text of at most 256 characters"):
        encode(TrackLine("oval", "t" * 257, None, b""))
    with pytest.raises(ProtocolError, match=r"track.track is 7, expected text"):
        decode(spelled("track", {"run": "oval", "track": 7, "width_m": None}))


def test_a_payload_has_the_limit_of_its_kind() -> None:
    with pytest.raises(ProtocolError, match="the payload of hello has 1 bytes, at most 0 are allowed") as raised:
        decode(spelled("hello", header_of(EVERY_MESSAGE[0]), b"x"))
    assert raised.value.code == 1009
    chunk = seal_chunk(a_chunk())
    with pytest.raises(BadInput, match="the payload of chunk has 67108865 bytes"):
        encode(dataclasses.replace(chunk, payload=bytes(64 * 1024 * 1024 + 1)))


def test_a_payload_is_judged_by_its_claim_before_it_is_there() -> None:
    data = encode(seal_chunk(a_chunk()))
    claim = data[: -len(seal_chunk(a_chunk()).payload) - 3] + b"\xc6\xff\xff\xff\xff"
    with pytest.raises(ProtocolError, match="the payload of chunk has 4294967295 bytes"):
        decode(claim)


def test_nothing_may_follow_or_be_missing_at_the_end() -> None:
    data = encode(EVERY_MESSAGE[9])
    for damaged in (data + b"x", data[:-1]):
        with pytest.raises(ProtocolError, match=r"the payload of weights says 11 bytes, but 1[02] came"):
            decode(damaged)


def test_a_key_may_not_come_twice() -> None:
    with pytest.raises(ProtocolError, match="the same key twice"):
        decode(b"\x93\xa3ack\x82\xa7numbers\x90\xa7numbers\x90\xc4\x00")


def test_only_text_is_a_key() -> None:
    with pytest.raises(ProtocolError, match=r"status.values is 1, expected text as a key|not sound msgpack"):
        decode(spelled("status", header_of(EVERY_MESSAGE[20], values={1: 2})))
    with pytest.raises(ProtocolError, match="expected text as a key"):
        decode(spelled("status", header_of(EVERY_MESSAGE[20], values={b"a": 2})))


def test_text_has_to_be_unicode() -> None:
    with pytest.raises(ProtocolError, match="not sound msgpack"):
        decode(encode(Command(1, "stop")).replace(b"stop", b"st\xffp"))
    with pytest.raises(BadInput, match="not Unicode"):
        encode(Command(1, "st\ud800p"))


def test_numbers_of_other_libraries_are_stopped_before_they_leave() -> None:
    with pytest.raises(BadInput, match=r"metrics\.values\.loss is .*0\.5.*, expected None, bool"):
        encode(Metrics("oval", 0, 1, 1, {"loss": np.float32(0.5)}))


def test_what_is_no_message_is_not_sent() -> None:
    with pytest.raises(BadInput, match="str is not a message"):
        encode("hello")  # type: ignore[arg-type]


@UNHURRIED
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode(data)


@UNHURRIED
@given(st.sampled_from([encode(message) for message in EVERY_MESSAGE]), st.data())
def test_a_damaged_message_is_a_message_or_a_protocol_error(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        position = draw.draw(st.integers(0, min(len(damaged), 600) - 1))
        damaged[position] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        message = decode(bytes(damaged))
        if isinstance(message, ChunkMessage):
            open_chunk(message)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@UNHURRIED
@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
def test_any_plain_value_survives_the_journey(values: dict[str, Any]) -> None:
    message = Command(1, "x", values)
    assert decode(encode(message)) == message


@pytest.mark.parametrize("field", ["values", "machine", "spec", "config", "lines", "beams"])
def test_what_people_are_shown_holds_no_bytes(field: str) -> None:
    message = next(each for each in EVERY_MESSAGE if field in header_of(each))
    plain = [{"a": b"x"}] if isinstance(header_of(message)[field], list) else {"a": b"x"}
    with pytest.raises(ProtocolError, match=rf"{field}.*a is b'x', expected None, bool, int, float, str, a list or a map"):
        decode(spelled(KINDS[type(message)], header_of(message, **{field: plain}), getattr(message, "payload", b"")))


def test_numbers_that_are_summed_up_or_stored_have_a_limit() -> None:
    message = seal_chunk(a_chunk())
    with pytest.raises(
        ProtocolError, match=r"chunk.steps is 2147483648, expected an integer of at least 0 and at most 2147483647"
    ):
        decode(spelled("chunk", header_of(message, steps=2**31), message.payload))
    with pytest.raises(ProtocolError, match=r"track.width_m is 9223372036854775808, expected an integer of 64 bits"):
        decode(spelled("track", {"run": "oval", "track": "oval", "width_m": 2**63}, b""))
    with pytest.raises(ProtocolError, match=r"summary.lap_time_s is 9223372036854775808"):
        open_summary({**seal_summary(a_summary()), "lap_time_s": 2**63})


@UNHURRIED
@given(st.sampled_from(EVERY_MESSAGE), st.data(), PLAIN)
def test_any_value_in_any_field_is_a_message_or_a_protocol_error(message: Message, draw: st.DataObject, value: Any) -> None:
    header = header_of(message)
    header[draw.draw(st.sampled_from(sorted(header)))] = value
    with contextlib.suppress(ProtocolError):
        decoded = decode(spelled(KINDS[type(message)], header, getattr(message, "payload", b"")))
        if isinstance(decoded, ChunkMessage):
            open_chunk(decoded)


# Chunks


@pytest.mark.parametrize("compress", [False, True])
def test_a_chunk_survives_the_journey(compress: bool) -> None:
    chunk = a_chunk(ended="truncated", summary=a_summary(), state={"gru": np.ones((1, 8), np.float32)})
    message = seal_chunk(chunk, compress)
    assert message.compression == ("zstd" if compress else "")
    decoded = decode(encode(message))
    assert isinstance(decoded, ChunkMessage)
    opened = open_chunk(decoded)
    assert_same_arrays(opened.columns, chunk.columns)
    assert_same_arrays(opened.state, chunk.state)
    assert opened.summary is not None
    assert np.array_equal(opened.summary.trajectory, a_summary().trajectory)
    assert opened.summary.lap_time_s == 31.25
    assert (opened.number, opened.ended, opened.seed) == (3, "truncated", None)


def assert_same_arrays(seen: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(seen) == list(expected)
    for name, values in expected.items():
        assert seen[name].dtype == values.dtype
        assert np.array_equal(seen[name], values, equal_nan=values.dtype.kind == "f")
        assert not seen[name].flags.writeable


ANY_COLUMN = arrays.arrays(
    st.sampled_from(list(DTYPES)), st.lists(st.integers(1, 3), max_size=5).map(lambda shape: (7, *shape))
)


@UNHURRIED
@given(
    st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=8), ANY_COLUMN, max_size=4),
    st.booleans(),
)
def test_columns_of_any_type_and_shape_survive_the_journey(columns: dict[str, Any], compress: bool) -> None:
    assert_same_arrays(open_chunk(seal_chunk(a_chunk(columns=columns), compress)).columns, columns)


def test_the_byte_order_and_layout_of_the_sender_do_not_matter() -> None:
    values = np.arange(14, dtype=">f4").reshape(2, 7).T
    opened = open_chunk(seal_chunk(a_chunk(columns={"x": values})))
    assert np.array_equal(opened.columns["x"], values)
    assert opened.columns["x"].dtype == np.float32


def test_arrays_are_views_of_the_payload() -> None:
    message = seal_chunk(a_chunk())
    assert np.shares_memory(open_chunk(message).columns["lidar"], np.frombuffer(message.payload, np.uint8))


def test_compression_that_does_not_help_is_left_out() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (7, 100), np.uint8)
    assert seal_chunk(a_chunk(columns={"noise": noise}), compress=True).compression == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 6}, r"chunk.columns.lidar has the shape \(7, 19\), expected 8 rows \(lead \+ steps\)"),
        ({"raw_bytes": 10}, r"chunk.raw_bytes is 10, expected the \d+ of all arrays together"),
        ({"raw_bytes": 2**40}, "chunk.raw_bytes is 1099511627776, expected at most 268435456"),
        ({"payload": b"short"}, r"chunk.raw_bytes is \d+, expected the 5 of the payload"),
        ({"purpose": "fun"}, r"chunk.purpose is 'fun', expected one of \('train', 'evaluation'\)"),
        ({"ended": "crashed"}, "chunk.ended is 'crashed'"),
        ({"compression": "gzip"}, "chunk.compression is 'gzip'"),
        ({"compression": "zstd"}, "chunk.payload is no sound zstd frame"),
        ({"columns": [["x", "object", [7]]]}, "chunk.columns.0.dtype is 'object', expected one of bool, int8"),
        ({"columns": [["x", ">f4", [7]]]}, "chunk.columns.0.dtype is '>f4'"),
        ({"columns": [["x", "uint8", [7] * 7]]}, "chunk.columns.0.shape is .*, expected a list of at most 6 lengths"),
        ({"columns": [["x", "uint8", [7, -1]]]}, r"chunk.columns.0.shape is \[7, -1\], expected lengths from 1 up"),
        ({"columns": [["x", "uint8", [7, 2**62, 4]]]}, "lengths from 1 up"),
        ({"columns": [["x", "uint8", [7, 2**28, 2**28]]]}, "chunk.raw_bytes"),
        ({"columns": [["", "uint8", [7]]]}, "chunk.columns.0.name is '', expected 1 to 64 printable characters"),
        ({"columns": [["x\n", "uint8", [7]]]}, "printable"),
        ({"columns": [["x", "uint8", [7]], ["x", "uint8", [7]]]}, "chunk.columns has the same name twice"),
        ({"columns": [["x"]]}, r"chunk.columns.0 is \['x'\], expected \[name, dtype, shape\]"),
        ({"columns": [["x", "uint8", [7]]] * 300}, "chunk.columns lists 300 arrays, at most 256"),
        ({"summary": {}}, r"summary\.\w+ is missing"),
    ],
)
def test_a_chunk_that_lies_about_itself_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        open_chunk(dataclasses.replace(seal_chunk(a_chunk()), **changes))


def test_a_decompression_bomb_is_refused_by_its_size() -> None:
    message = seal_chunk(a_chunk(), compress=True)
    bomb = zstandard.ZstdCompressor().compress(bytes(100_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(ProtocolError, match="expected the 100000000 of the zstd frame"):
        open_chunk(dataclasses.replace(message, payload=bomb))


def test_a_zstd_frame_without_its_size_is_refused() -> None:
    message = seal_chunk(a_chunk(), compress=True)
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(seal_chunk(a_chunk()).payload)
    with pytest.raises(ProtocolError, match="expected the -1 of the zstd frame"):
        open_chunk(dataclasses.replace(message, payload=packed))


def test_a_bool_is_0_or_1() -> None:
    message = seal_chunk(a_chunk(columns={"flag": np.ones(7, np.bool_)}))
    with pytest.raises(ProtocolError, match=r"chunk.flag holds a bool that is neither 0 nor 1"):
        open_chunk(dataclasses.replace(message, payload=b"\x02" * 7))


def test_objects_do_not_travel() -> None:
    with pytest.raises(BadInput, match="column 'x' has the dtype object"):
        seal_chunk(a_chunk(columns={"x": np.array([None] * 7)}))


def test_rows_are_counted_before_a_chunk_leaves() -> None:
    with pytest.raises(BadInput, match="expected 9 rows"):
        seal_chunk(a_chunk(steps=7))


def test_a_summary_is_held_to_its_types() -> None:
    plain = seal_summary(a_summary(lap_time_s=None, progress=float("nan")))
    assert open_summary(plain).lap_time_s is None
    for changes, sentence in (
        ({"actor": "ghost"}, "summary.actor is 'ghost', expected one of random, policy"),
        ({"trajectory": b"123"}, "summary.trajectory is b'123', expected at most 256 points"),
        ({"steps": 1.5}, "summary.steps is 1.5, expected an integer"),
        ({"finished": 1}, "summary.finished is 1, expected true or false"),
    ):
        with pytest.raises(ProtocolError, match=sentence):
            open_summary({**plain, **changes})


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), 1e308, -1e39])
def test_a_number_that_no_mean_can_be_taken_of_counts_as_not_known(value: float) -> None:
    summary = open_summary(seal_summary(a_summary(episode_return=value, progress=value, lap_time_s=value)))
    assert np.isnan([summary.episode_return, summary.progress]).all()
    assert summary.lap_time_s is None


@pytest.mark.parametrize("field", ["purpose", "ended", "compression"])
def test_words_that_nobody_knows_are_refused_at_the_border(field: str) -> None:
    data = msgpack.unpackb(encode(seal_chunk(a_chunk())))
    data[1][field] = "x"
    with pytest.raises(ProtocolError, match=f"chunk.{field} is 'x', expected one of"):
        decode(msgpack.packb(data))


def test_a_trajectory_has_four_numbers_per_point() -> None:
    with pytest.raises(BadInput, match=r"shape \(300, 4\)"):
        seal_summary(a_summary(trajectory=np.zeros((300, 4), np.float32)))


@pytest.mark.parametrize(
    ("records", "next_offset", "payload"),
    [
        ([], 0, b""),
        ([[0, 500, 3]], 500, b"four"),
        ([[0, 500, 5]], 500, b"four"),
        ([[0, 500, 4]], 501, b"four"),
        ([[0, 500, 4], [499, 600, 0]], 600, b"four"),
        ([[500, 500, 4]], 500, b"four"),
        ([[0, 500, -1], [500, 600, 5]], 600, b"four"),
        ([[0, 500]], 500, b""),
        ([500], 500, b""),
        ([[0, 500, "4"]], 500, b"four"),
    ],
)
def test_records_that_do_not_fit_what_came_with_them_are_refused(records: list[Any], next_offset: int, payload: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"stored\.records"):
        open_stored(Stored("oval", next_offset, records, payload))


def test_records_of_the_log_travel_together() -> None:
    records = [StoredBody(0, 500, b"one"), StoredBody(520, 900, b""), StoredBody(900, 1000, b"three")]
    assert open_stored(seal_stored("oval", records)) == records
