"""Demonstrations: whole episodes that somebody has driven well, as one file to learn from.

A file is one zstd frame, with a checksum, around msgpack values: first a map that says what was driven and how many chunks follow,
then each chunk, as bytes, as it would travel (`codec`).  Chunks are read one by one: a file that is larger than memory would be
refused when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import zstandard

from tmrld.errors import BadInput, ProtocolError
from tmrld.payloads import Chunk, EnvSpec
from tmrld.protocol.codec import decode, encode, open_chunk, seal_chunk
from tmrld.protocol.messages import MAX_HEADER_BYTES, MIB, ChunkMessage, Plain

FORMAT = 1
MAX_RAW_BYTES = 2048 * MIB
"""Of all chunks together, after decompression."""
_MAX_CHUNK_BYTES = 64 * MIB + MAX_HEADER_BYTES + 64
_MAX_ELEMENTS = 10_000
"""Of a list or a map in the header: each takes memory before its elements come."""
_FRAME = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1


@dataclass(frozen=True)
class Demonstrations:
    """What was driven: the spaces, the track, and a name.  ``chunks`` reads the file anew each time that it is asked for."""

    spec: EnvSpec
    track: str
    name: str
    data: bytes

    @property
    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, episode after episode.  Raises BadInput for one that is damaged or does not fit the spaces."""
        values = _values(self.data)
        count = _checked_header(next(values, None))["chunks"]
        return _whole(self.spec, _opened(values), count)


def pack(name: str, track: str, spec: EnvSpec, chunks: Sequence[Chunk]) -> bytes:
    """Whole episodes as one file; they count as training.  Raises BadInput for an episode that is not whole."""
    chunks = list(_whole(spec, chunks, len(chunks)))
    bodies = (encode(seal_chunk(chunk)) for chunk in chunks)
    return b"".join(packed(name, track, spec.to_plain(), len(chunks), bodies))


def packed(name: str, track: str, spec: Plain, count: int, bodies: Iterable[bytes]) -> Iterator[bytes]:
    """The same file piece by piece, of ``count`` chunks as they travel, episode after episode; whether they are is not checked."""
    header = {"format": FORMAT, "name": name, "track": track, "spec": spec, "chunks": count}
    frame = zstandard.ZstdCompressor(level=9, write_checksum=True).compressobj()
    yield frame.compress(msgpack.packb(header))
    for body in bodies:
        yield frame.compress(msgpack.packb(body))
    yield frame.flush()


def unpack(data: bytes) -> Demonstrations:
    """The inverse of `pack`; only its beginning is read.  Raises BadInput for what is no such file."""
    if not data.startswith(_FRAME):
        raise BadInput("this is not a file of demonstrations: use one that `tmrld env run --save` has made")
    header = _checked_header(next(_values(data), None))
    try:
        spec = EnvSpec.from_plain(header["spec"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the demonstrations do not say what was driven ({error!r}): record them again") from error
    return Demonstrations(spec, header["track"], header["name"], data)


def _checked_header(header: Any) -> dict[str, Any]:
    kinds = {"format": int, "name": str, "track": str, "spec": dict, "chunks": int}
    if not isinstance(header, dict) or any(not isinstance(header.get(key), kind) for key, kind in kinds.items()):
        raise BadInput("the demonstrations do not say what they are: the file is damaged, or of another program")
    if header["format"] != FORMAT:
        raise BadInput(
            f"these demonstrations are of format {header['format']}, and this tmrld reads format {FORMAT}: upgrade it, "
            "or record them again"
        )
    return header


def _values(data: bytes) -> Iterator[Any]:
    """The msgpack values inside.  Raises BadInput for what is damaged or would take too much memory."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=2 * _MAX_CHUNK_BYTES,
        max_bin_len=_MAX_CHUNK_BYTES,
        max_array_len=_MAX_ELEMENTS,
        max_map_len=_MAX_ELEMENTS,
    )
    read = 0
    try:
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(data) as stream:
            while piece := stream.read(MIB):
                read += len(piece)
                if read > MAX_RAW_BYTES:
                    raise BadInput(f"the demonstrations hold more than {MAX_RAW_BYTES // MIB} MiB: record fewer episodes")
                unpacker.feed(piece)
                yield from unpacker
    except (zstandard.ZstdError, msgpack.UnpackException, ValueError) as error:
        raise BadInput(f"the demonstrations are damaged ({error or type(error).__name__}): copy the file again") from error


def _opened(values: Iterable[Any]) -> Iterator[Chunk]:
    """The chunks, which together are no larger than all may be: each may have been packed for itself."""
    size = 0
    for value in values:
        message = _chunk_message(value)
        size += message.raw_bytes
        if size > MAX_RAW_BYTES:
            raise BadInput(f"the demonstrations hold more than {MAX_RAW_BYTES // MIB} MiB: record fewer episodes")
        try:
            yield open_chunk(message)
        except ProtocolError as error:
            raise BadInput(f"a chunk of the demonstrations is damaged: {error}") from error


def _chunk_message(value: Any) -> ChunkMessage:
    if not isinstance(value, bytes):
        raise BadInput("the demonstrations hold something that is no chunk: the file is damaged, or of another program")
    try:
        message = decode(value)
        if not isinstance(message, ChunkMessage):
            raise BadInput(f"the demonstrations hold a {type(message).__name__} where a chunk should be")
        return message
    except ProtocolError as error:
        raise BadInput(f"a chunk of the demonstrations is damaged: {error}") from error


def _whole(spec: EnvSpec, chunks: Iterable[Chunk], count: int) -> Iterator[Chunk]:
    """These chunks, checked: ``count`` of them, in order, of episodes from start to end, in the columns of these spaces."""
    episode, step, seen = "", 0, 0
    for chunk in chunks:
        if (chunk.episode, chunk.first_step) != (episode or chunk.episode, step):
            raise BadInput(f"episode {episode or chunk.episode} of the demonstrations is not whole after step {step}")
        if chunk.purpose != "train":
            raise BadInput(f"episode {chunk.episode} of the demonstrations was driven for {chunk.purpose}, not to learn from")
        if bool(chunk.ended) != (chunk.summary is not None):
            raise BadInput(f"episode {chunk.episode} of the demonstrations ends without saying how")
        _check_columns(spec, chunk)
        episode, step, seen = ("", 0, seen + 1) if chunk.ended else (chunk.episode, step + chunk.steps, seen + 1)
        yield chunk
    if episode or seen != count:
        raise BadInput(f"the demonstrations are cut short: {seen} of {count} chunks are there. Copy the file again")


def _check_columns(spec: EnvSpec, chunk: Chunk) -> None:
    wanted: dict[str, tuple[tuple[int, ...], str]] = {
        **{part.name: (part.shape, part.dtype) for part in spec.parts},
        "action": ((spec.action_size,), "float32"),
        "reward": ((), "float32"),
        "terminated": ((), "uint8"),
        "truncated": ((), "uint8"),
        "actor": ((), "uint8"),
    }
    for name, (shape, dtype) in wanted.items():
        column = chunk.columns.get(name)
        found = "nothing" if column is None else f"{column.dtype.name} {column.shape[1:]}"
        if column is None or (column.shape[1:], column.dtype.name) != (shape, dtype):
            raise BadInput(f"the demonstrations hold {found} as {name}, and {spec.id} has {dtype} {shape}: record them again")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise BadInput(f"the demonstrations hold numbers that are not finite as {name}: record them again")
