"""All that was seen in one examination, as one file that can be sent to somebody else and judged again.

The file is zstd of one msgpack map: ``format``, ``version`` and the `Report`; an array is ``{"__array__": [dtype, shape, bytes]}``,
and pictures are ``{"__pictures__": [PNG, …]}``, or JPEG where that would be large.  No secret is in it: see `without_secrets`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zstandard
from pydantic import ValidationError

from tmrld.doctor.diagnosis import Diagnosis
from tmrld.doctor.game import GameEvidence, judge_game
from tmrld.doctor.machine import MachineEvidence, judge_machine
from tmrld.doctor.network import NetworkEvidence, judge_network
from tmrld.doctor.patient import Evidence, Patient
from tmrld.errors import BadInput
from tmrld.storage.files import read_file, write_atomic

FORMAT = "tmrld doctor"
VERSION = 1
MOST_BYTES = 512 * 2**20
"""Of a file, unpacked: more than any examination comes to."""
LOSSLESS_BYTES = 24 * 2**20
"""Pictures that take more as PNG are kept as JPEG."""
JPEG_QUALITY = 90
MOST_PIXELS = 2**25
HIDDEN = "…"
"""What stands where a secret stood."""


class Report(Evidence):
    """One examination.  ``made`` is when, in seconds since 1970; ``game`` is None where the game is not asked for."""

    made: float
    patient: Patient
    machine: MachineEvidence
    network: NetworkEvidence
    game: GameEvidence | None = None


def judge(report: Report) -> list[Diagnosis]:
    """All diagnoses, area by area."""
    daemon = report.machine.disk.holder
    return [
        *judge_machine(report.patient, report.machine),
        *judge_network(report.network, daemon),
        *(judge_game(report.game) if report.game is not None else ()),
    ]


def without_secrets(report: Report, secrets: Iterable[str]) -> Report:
    """The same report with neither these secrets in any of its texts, nor where the user's files lie.

    Raises BadInput where a secret is a word that a report cannot do without.
    """
    hidden = {secret: HIDDEN for secret in secrets if secret}
    hidden[f"{Path.home()}{os.sep}"] = f"~{os.sep}"
    try:
        return Report.model_validate(_replaced(report.model_dump(), hidden))
    except ValidationError as error:
        raise BadInput(
            "this report cannot be kept: a password or token in your settings is a common word, which reports use for something "
            "else; choose another one"
        ) from error


def _replaced(value: Any, hidden: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for secret, instead in hidden.items():
            value = value.replace(secret, instead)
        return value
    if isinstance(value, dict):
        return {_replaced(key, hidden): _replaced(each, hidden) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, hidden) for each in value]
    return value


# Files


def save(path: Path, report: Report) -> int:
    """Write a report; returns how many bytes it takes.  Raises StorageError."""
    plain = {"format": FORMAT, "version": VERSION, "report": report.model_dump()}
    data = zstandard.ZstdCompressor(level=6, write_checksum=True).compress(msgpack.packb(plain, default=_pack_array))
    write_atomic(path, data)
    return len(data)


def load(path: Path) -> Report:
    """Read a report.  Raises StorageError for a file that cannot be read, BadInput for one that is damaged or something else."""
    data = read_file(path)
    try:
        _check_size(data)
        plain = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(data), object_hook=_unpack_array, ext_hook=_refuse)
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise BadInput(f"{path} is no report of the doctor's: `tmrld doctor --record FILE` writes one")
        version = plain.get("version")
        if version != VERSION:
            raise BadInput(
                f"{path} is a report of version {version!r}, and this tmrld reads version {VERSION}: use the tmrld that wrote it"
            )
        return Report.model_validate(plain.get("report"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path} is damaged, or from another version of tmrld: {where}: {first['msg']}") from None
    except (ValueError, TypeError, OSError, zstandard.ZstdError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise BadInput(
            f"{path} is no report of the doctor's, or damaged ({reason}): `tmrld doctor --record FILE` writes one"
        ) from None


def _check_size(data: bytes) -> None:
    """A zstd frame says what it holds, and that is what is allotted.  Raises ValueError for more than a report may hold."""
    size = zstandard.frame_content_size(data)
    if not 0 <= size <= MOST_BYTES:
        raise ValueError(f"it says that it holds {size} bytes")


def _refuse(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code} is not used")


def _pack_array(value: Any) -> dict[str, Any]:
    """msgpack asks this for what it does not know."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} cannot be kept in a report")
    if value.dtype == np.uint8 and value.ndim == 4 and value.shape[3] == 3 and value.size:
        return {"__pictures__": _pictures(value)}
    little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    return {"__array__": [value.dtype.name, list(value.shape), little.tobytes()]}


def _pictures(frames: Any) -> list[bytes]:
    kept = list(_encoded(frames, "PNG", {"compress_level": 6}))
    if sum(map(len, kept)) > LOSSLESS_BYTES:
        kept = list(_encoded(frames, "JPEG", {"quality": JPEG_QUALITY, "subsampling": 0}))
    return kept


def _encoded(frames: Any, kind: str, how: Mapping[str, Any]) -> Iterator[bytes]:
    from PIL import Image

    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, kind, **how)
        yield file.getvalue()


_DTYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")


def _unpack_array(plain: dict[Any, Any]) -> Any:
    """The inverse of `_pack_array`; raises ValueError for what it never made."""
    if "__array__" in plain:
        name, shape, data = plain["__array__"]
        if name not in _DTYPES or not all(isinstance(length, int) and length >= 0 for length in shape):
            raise ValueError("an array in it has a type or shape that none has")
        dtype = np.dtype(name).newbyteorder("<")
        if prod(shape) * dtype.itemsize != len(data):
            raise ValueError("an array in it is cut short")
        return np.frombuffer(data, dtype).reshape(shape).astype(np.dtype(name))
    if "__pictures__" in plain:
        return np.stack([_decoded(data) for data in plain["__pictures__"]])
    return plain


def _decoded(data: bytes) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as picture:
        if picture.width * picture.height > MOST_PIXELS or picture.mode != "RGB":
            raise ValueError("a picture in it is no screenshot")
        return np.asarray(picture)
