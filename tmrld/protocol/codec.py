"""Bytes ↔ messages, and chunks of experience ↔ `ChunkMessage`.

A message is one msgpack value ``[kind, header, payload]`` (see `messages`).  Everything that comes in is checked here, at the
border, against the dataclass of its kind: no code behind it ever meets a field that is missing, unknown, of another type, or too
large.  Sizes are checked before memory is taken: the header is parsed with limits, and the payload's length is compared with
what came and with the limit of its kind before it is copied, once, out of the message.

Whose fault it is shows in the type: what a peer sent raises `ProtocolError` with a WebSocket close code, what this program tries
to send raises `BadInput`.  The sentence begins with kind and field, as in ``chunk.steps is 'ten', expected an integer of at
least 0``, because a close carries no more than its first 123 bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, cast

import msgpack
import numpy as np
import zstandard

from tmrld.errors import BadInput, ProtocolError
from tmrld.payloads import ACTOR_KINDS, MIXED, PURPOSES, Array, Chunk, EpisodeSummary
from tmrld.protocol.checks import INVALID, MAX_ELEMENTS, TOO_BIG, Form, Misfit, unlike
from tmrld.protocol.messages import MAX_HEADER_BYTES, MIB, PROTOCOL, TABLE, ChunkMessage, Message, Plain, Row, Stored

UNSUPPORTED = 1003
"""Close code for a kind of message that this protocol does not have."""

KINDS: Mapping[type[Any], str] = {row.type: row.kind for row in TABLE}
"""What each type of message is called on the wire."""

_ROWS = {row.kind: row for row in TABLE}
_FORMS = {row.kind: Form(row.type, leave_out=frozenset({"payload"})) for row in TABLE}
_OPENINGS = {row.kind: b"\x93" + msgpack.packb(row.kind) for row in TABLE}
_WITH_PAYLOAD = frozenset(row.kind for row in TABLE if any(field.name == "payload" for field in fields(row.type)))
_CHUNK = KINDS[ChunkMessage]
_PASSED_ON = frozenset({_CHUNK, KINDS[Stored]})
"""Their payloads are views of the message that they came in, which is kept anyway: copies cost a twentieth of the throughput."""
_MOST_BEFORE_PAYLOAD = max(map(len, _OPENINGS.values())) + MAX_HEADER_BYTES


def encode(message: Message) -> bytes:
    """The message as it travels.

    Raises `BadInput` if the other side would refuse it: a field of the wrong type, a header or payload over its limit.
    """
    kind = KINDS.get(type(message))
    if kind is None:
        raise BadInput(f"{type(message).__name__} is not a message: it is not in the table of {PROTOCOL}")
    fields_ = dict(vars(message))
    payload = fields_.pop("payload", b"")
    try:
        _FORMS[kind].check(fields_)
        header = msgpack.packb(fields_)
    except Misfit as misfit:
        raise BadInput(str(misfit.under(kind))) from None
    except UnicodeEncodeError as error:
        raise BadInput(f"{kind} holds text that is not Unicode: {error}") from None
    if len(header) > MAX_HEADER_BYTES:
        raise BadInput(_over(f"the header of {kind}", len(header), MAX_HEADER_BYTES))
    if len(payload) > _ROWS[kind].max_payload_bytes:
        raise BadInput(_over(f"the payload of {kind}", len(payload), _ROWS[kind].max_payload_bytes))
    return b"".join((_OPENINGS[kind], header, _bytes_prefix(len(payload)), payload))


def decode(data: bytes | memoryview) -> Message:
    """The message that these bytes hold, checked in full.  Raises `ProtocolError`."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=_MOST_BEFORE_PAYLOAD,
        max_array_len=MAX_ELEMENTS,
        max_map_len=MAX_ELEMENTS,
        object_pairs_hook=_map_without_doubles,
        ext_hook=_refuse_extension,
    )
    unpacker.feed(data[:_MOST_BEFORE_PAYLOAD])
    try:
        count = unpacker.read_array_header()
        kind = unpacker.unpack()
        begin = unpacker.tell()
        header = unpacker.unpack()
        end = unpacker.tell()
    except msgpack.OutOfData:
        if len(data) > _MOST_BEFORE_PAYLOAD:
            raise ProtocolError(f"a header of more than {MAX_HEADER_BYTES} bytes came", TOO_BIG) from None
        raise ProtocolError(f"a message of {len(data)} bytes is cut short", INVALID) from None
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a message is not sound msgpack: {error or type(error).__name__}", INVALID) from None
    if count != 3 or type(kind) is not str:
        raise ProtocolError("a message is not [kind, header, payload]", INVALID)
    row = _ROWS.get(kind)
    if row is None:
        raise ProtocolError(f"{kind[:40]!r} is no kind of message in {PROTOCOL}", UNSUPPORTED)
    if end - begin > MAX_HEADER_BYTES:
        raise ProtocolError(_over(f"the header of {kind}", end - begin, MAX_HEADER_BYTES), TOO_BIG)
    try:
        _FORMS[kind].check(header)
        if kind == _CHUNK:
            _check_words(header["purpose"], header["ended"], header["compression"])
    except Misfit as misfit:
        raise ProtocolError(str(misfit.under(kind)), misfit.code) from None
    payload = _payload(row, data, end)
    if kind in _WITH_PAYLOAD:
        header["payload"] = payload if kind in _PASSED_ON else bytes(payload)
    return cast(Message, row.type(**header))


def _payload(row: Row, data: bytes | memoryview, start: int) -> memoryview:
    """The third element, which must be bytes that reach to the end; refused by its declared length before it is copied."""
    prefix = bytes(data[start : start + 5])
    layout = _BYTES_LAYOUTS.get(prefix[0]) if prefix else None
    if layout is None or len(prefix) <= layout.size:
        raise ProtocolError(f"the third element of {row.kind} is not bytes", INVALID)
    (length,) = layout.unpack_from(prefix, 1)
    if length > row.max_payload_bytes:
        raise ProtocolError(_over(f"the payload of {row.kind}", length, row.max_payload_bytes), TOO_BIG)
    start += 1 + layout.size
    if len(data) - start != length:
        raise ProtocolError(f"the payload of {row.kind} says {length} bytes, but {len(data) - start} came", INVALID)
    return memoryview(data)[start:]


_BYTES_LAYOUTS = {0xC4: struct.Struct(">B"), 0xC5: struct.Struct(">H"), 0xC6: struct.Struct(">I")}
"""First byte of msgpack's three forms of bytes → how their length follows."""


def _bytes_prefix(length: int) -> bytes:
    for first, layout in _BYTES_LAYOUTS.items():
        if length < 1 << (8 * layout.size):
            return bytes((first,)) + layout.pack(length)
    raise AssertionError("no kind of message allows a payload of 4 GiB")


def _map_without_doubles(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a map has the same key twice")
    return values


def _refuse_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code} is not used")


def _over(what: str, size: int, limit: int) -> str:
    return f"{what} has {size} bytes, at most {limit} are allowed"


# Chunks

DTYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
}
"""The only types of elements that travel, always little-endian."""
_BY_CODE = {code: (name, dtype) for name, dtype in DTYPES.items() for code in (dtype.str, dtype.newbyteorder("S").str)}
"""By the type codes of both byte orders, which numpy tells sooner than a name: what the type is called, and as what it travels."""
MAX_COLUMNS = 256
MAX_NAME = 64
MAX_RANK = 6
MAX_RAW_BYTES = 256 * MIB
"""Of all arrays of a chunk together, after decompression."""
MAX_TRAJECTORY_POINTS = 256
ENDINGS = ("", "terminated", "truncated")
COMPRESSIONS = ("", "zstd")

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_SUMMARY = Form(EpisodeSummary, leave_out=frozenset({"trajectory"}))
_SAME_IN_BOTH = tuple(field.name for field in fields(Chunk) if field.name not in {"columns", "state", "summary"})


class _Place(NamedTuple):
    """Where an array lies in the payload, after decompression."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    size_bytes: int


def seal_chunk(chunk: Chunk, compress: bool = False) -> ChunkMessage:
    """The chunk as a message; ``compress`` tries zstd on the arrays and keeps the result if it is smaller.

    Raises `BadInput` for an array that cannot travel, and unless each column has ``lead + steps`` rows.
    """
    columns, column_data = _flatten(chunk.columns)
    state, state_data = _flatten(chunk.state)
    payload = b"".join(column_data + state_data)
    raw_bytes, compression = len(payload), ""
    try:
        _check_words(chunk.purpose, chunk.ended, compression)
        _places(columns, state, chunk.lead + chunk.steps, raw_bytes)
    except Misfit as misfit:
        raise BadInput(str(misfit.under("chunk"))) from None
    if compress:
        packed = zstandard.ZstdCompressor(level=1).compress(payload)
        if len(packed) < raw_bytes:
            payload, compression = packed, "zstd"
    return ChunkMessage(
        **{name: getattr(chunk, name) for name in _SAME_IN_BOTH},
        columns=columns,
        state=state,
        summary=None if chunk.summary is None else seal_summary(chunk.summary),
        compression=compression,
        raw_bytes=raw_bytes,
        payload=payload,
    )


def open_chunk(message: ChunkMessage) -> Chunk:
    """The chunk with its arrays, read-only, which are views of the payload where its layout allows.  Raises `ProtocolError`.

    Every size is worked out and compared before anything is decompressed.  Whether these are the columns of the run's spaces
    is for the caller to check, who has them.
    """
    try:
        _check_words(message.purpose, message.ended, message.compression)
        columns, state = _places(message.columns, message.state, message.lead + message.steps, message.raw_bytes)
        raw = _decompressed(message)
        return Chunk(
            **{name: getattr(message, name) for name in _SAME_IN_BOTH},
            columns={place.name: _array(raw, place) for place in columns},
            state={place.name: _array(raw, place) for place in state},
            summary=None if message.summary is None else open_summary(message.summary),
        )
    except Misfit as misfit:
        raise ProtocolError(str(misfit.under("chunk")), misfit.code) from None


class StoredBody(NamedTuple):
    """A record of the sample log as a trainer is sent it: it takes the offsets from ``offset`` up to ``next_offset`` there."""

    offset: int
    next_offset: int
    body: bytes | memoryview


def seal_stored(run: str, records: Sequence[StoredBody]) -> Stored:
    """Records as one message; there has to be one at least."""
    layout = [[record.offset, record.next_offset, len(record.body)] for record in records]
    return Stored(run, records[-1].next_offset, layout, b"".join(record.body for record in records))


def open_stored(message: Stored) -> list[StoredBody]:
    """The inverse of `seal_stored`.  Raises `ProtocolError`."""
    records: list[StoredBody] = []
    begin, reached = 0, 0
    for index, layout in enumerate(message.records):
        match layout:
            case [int(offset), int(next_offset), int(size)] if reached <= offset < next_offset and size >= 0:
                records.append(StoredBody(offset, next_offset, message.payload[begin : begin + size]))
                begin, reached = begin + size, next_offset
            case _:
                raise ProtocolError(f"stored.records.{index} is no record behind the one before it", INVALID)
    if not records or begin != len(message.payload) or reached != message.next_offset:
        raise ProtocolError("stored.records does not fit what came with it", INVALID)
    return records


def seal_summary(summary: EpisodeSummary) -> Plain:
    """As it travels in a chunk's header.  Raises `BadInput` unless the trajectory has the shape (at most 256, 4)."""
    points = np.asarray(summary.trajectory, DTYPES["float32"], order="C")
    if points.ndim != 2 or points.shape[1] != 4 or len(points) > MAX_TRAJECTORY_POINTS:
        raise BadInput(f"a trajectory has the shape {points.shape}, expected (n, 4) with n at most {MAX_TRAJECTORY_POINTS}")
    return {**vars(summary), "trajectory": points.tobytes()}


def open_summary(plain: Plain) -> EpisodeSummary:
    """The inverse of `seal_summary`; the trajectory is a read-only view.  Raises `ProtocolError`.

    A number that float32 cannot hold counts as not known: means are taken of these, which one infinite reward would spoil.
    """
    values = dict(plain)
    data = values.pop("trajectory", None)
    try:
        _SUMMARY.check(values)
        if values["actor"] not in (*ACTOR_KINDS, MIXED):
            raise unlike(f"one of {', '.join(ACTOR_KINDS)}, {MIXED}", values["actor"]).under("actor")
        if not isinstance(data, bytes) or len(data) % 16 or len(data) > 16 * MAX_TRAJECTORY_POINTS:
            raise unlike(f"at most {MAX_TRAJECTORY_POINTS} points of 16 bytes", data).under("trajectory")
    except Misfit as misfit:
        raise ProtocolError(str(misfit.under("summary")), misfit.code) from None
    for name, unknown in (("episode_return", math.nan), ("progress", math.nan), ("lap_time_s", None)):
        if values[name] is not None and not abs(values[name]) <= _LARGEST_FLOAT32:
            values[name] = unknown
    return EpisodeSummary(**values, trajectory=np.frombuffer(data, DTYPES["float32"]).reshape(-1, 4))


def _check_words(purpose: str, ended: str, compression: str) -> None:
    for name, value, known in (
        ("purpose", purpose, PURPOSES),
        ("ended", ended, ENDINGS),
        ("compression", compression, COMPRESSIONS),
    ):
        if value not in known:
            raise unlike(f"one of {known}", value).under(name)


def _flatten(arrays: Mapping[str, Array]) -> tuple[list[Any], list[memoryview]]:
    """``[name, dtype, shape]`` of each array, and its elements in row order, little-endian."""
    entries: list[Any] = []
    elements: list[memoryview] = []
    for name, values in arrays.items():
        known = _BY_CODE.get(values.dtype.str)
        if known is None:
            raise BadInput(f"column {name!r} has the dtype {values.dtype}, expected one of {', '.join(DTYPES)}")
        called, dtype = known
        entries.append([name, called, list(values.shape)])
        elements.append(np.asarray(values, dtype, order="C").data)
    return entries, elements


def _places(columns: list[Any], state: list[Any], rows: int, raw_bytes: int) -> tuple[list[_Place], list[_Place]]:
    """Where each array lies; raises `Misfit` unless together they fill ``raw_bytes`` and the columns have ``rows`` rows."""
    if raw_bytes > MAX_RAW_BYTES:
        raise unlike(f"at most {MAX_RAW_BYTES}", raw_bytes, TOO_BIG).under("raw_bytes")
    of_columns = _places_from(0, "columns", columns)
    for place in of_columns:
        if place.shape[:1] != (rows,):
            raise Misfit(f"has the shape {place.shape}, expected {rows} rows (lead + steps)").under("columns", place.name)
    columns_end = _end(of_columns, 0)
    of_state = _places_from(columns_end, "state", state)
    if _end(of_state, columns_end) != raw_bytes:
        raise unlike(f"the {_end(of_state, columns_end)} of all arrays together", raw_bytes).under("raw_bytes")
    return of_columns, of_state


def _places_from(start: int, group: str, entries: list[Any]) -> list[_Place]:
    if len(entries) > MAX_COLUMNS:
        raise Misfit(f"lists {len(entries)} arrays, at most {MAX_COLUMNS} are allowed", TOO_BIG).under(group)
    places: list[_Place] = []
    for index, entry in enumerate(entries):
        try:
            place = _place(entry, _end(places, start))
        except Misfit as misfit:
            raise misfit.under(group, str(index)) from None
        places.append(place)
    if len({place.name for place in places}) != len(places):
        raise Misfit("has the same name twice").under(group)
    return places


def _place(entry: Any, start: int) -> _Place:
    if not isinstance(entry, list) or len(entry) != 3:
        raise unlike("[name, dtype, shape]", entry)
    name, dtype, shape = entry
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise unlike(f"1 to {MAX_NAME} printable characters", name).under("name")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise unlike(f"one of {', '.join(DTYPES)}", dtype).under("dtype")
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise unlike(f"a list of at most {MAX_RANK} lengths", shape).under("shape")
    for length in shape:
        if not isinstance(length, int) or isinstance(length, bool) or not 0 < length <= MAX_RAW_BYTES:
            raise unlike("lengths from 1 up", shape).under("shape")
    return _Place(name, DTYPES[dtype], tuple(shape), start, math.prod(shape) * DTYPES[dtype].itemsize)


def _end(places: Sequence[_Place], start: int) -> int:
    return places[-1].start + places[-1].size_bytes if places else start


def _decompressed(message: ChunkMessage) -> bytes | memoryview:
    """The payload as the arrays lie in it: exactly ``raw_bytes`` bytes."""
    if message.compression == "":
        if len(message.payload) != message.raw_bytes:
            raise unlike(f"the {len(message.payload)} of the payload", message.raw_bytes).under("raw_bytes")
        return message.payload
    try:
        # A zstd frame says its own size, and zstandard allots that: it has to be the one already found to be right.
        said = zstandard.frame_content_size(message.payload)
        if said != message.raw_bytes:
            raise unlike(f"the {said} of the zstd frame", message.raw_bytes).under("raw_bytes")
        return zstandard.ZstdDecompressor().decompress(message.payload, message.raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Misfit(f"is no sound zstd frame: {error}").under("payload") from None


def _array(raw: bytes | memoryview, place: _Place) -> Array:
    """A view of its part of ``raw``; a copy where the elements would lie across word boundaries."""
    count = math.prod(place.shape)
    if place.dtype == np.bool_ and count and np.frombuffer(raw, np.uint8, count, place.start).max() > 1:
        raise Misfit("holds a bool that is neither 0 nor 1").under(place.name)
    values = np.frombuffer(raw, place.dtype, count, place.start).reshape(place.shape)
    if values.flags.aligned:
        return values
    copy = values.copy()
    copy.flags.writeable = False
    return copy
