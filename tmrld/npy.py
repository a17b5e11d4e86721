"""Reading NumPy's ``.npy`` from elsewhere: arrays of numbers alone, and no more memory than the file has bytes.

NumPy's own reader makes an array as large as the file says before it looks for it, and fails on some headers with errors of a
parser.
"""

from __future__ import annotations

import ast
import math
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
MOST_HEADER_BYTES = 4096
MOST_AXES = 6

_LENGTHS = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}
"""How the length of the header is spelled in each version of the format."""
_NUMBERS = re.compile(r"[<>|=]?[fiu][1248]")


def read_npy(data: bytes) -> NDArray[Any]:
    """The array, read-only.  Raises ValueError, with what is wrong."""
    length = _LENGTHS.get(data[6]) if data.startswith(MAGIC) and len(data) > 8 else None
    if length is None or len(data) < 8 + length.size:
        raise ValueError("it is no .npy file of a version that is known")
    (header_bytes,) = length.unpack_from(data, 8)
    start = 8 + length.size
    if header_bytes > MOST_HEADER_BYTES or start + header_bytes > len(data):
        raise ValueError(f"its header is said to have {header_bytes} bytes")
    dtype, in_columns, shape = _header(data[start : start + header_bytes])
    start += header_bytes
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"an array of {shape} with {dtype.itemsize} bytes each is not what its {len(data) - start} bytes hold")
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if in_columns else "C")


def _header(text: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Type, order and shape."""
    try:
        header = ast.literal_eval(text.decode("latin1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("its header cannot be read") from error
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header does not describe an array")
    descr, in_columns, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(descr, str) or not _NUMBERS.fullmatch(descr) or descr.endswith("f1"):
        raise ValueError(f"it holds {str(descr)[:40]!r}, not numbers")
    if not isinstance(in_columns, bool) or not isinstance(shape, tuple) or len(shape) > MOST_AXES:
        raise ValueError("its header does not describe an array")
    if any(type(axis) is not int or not 0 <= axis <= 2**40 for axis in shape):
        raise ValueError(f"its shape is {str(shape)[:80]}")
    return np.dtype(descr), in_columns, shape
