"""numpy arrays in pickles, as TMRL's ``reward.pkl`` is one: built anew from their numbers, by stand-ins for what numpy names there.

Only arrays of numbers are known: whole ones, and ones with a fraction, of 1 to 8 bytes.  No array of objects, none of records.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.errors import BadInput
from tmrld.tmrl.unpickler import Admitted, loaded, no_call, plain_size, shown

MAX_FILE_BYTES = 64 * 2**20
"""A line of 100 km in 64 bits has 24 MB."""
MAX_AXES = 8
AXES = 3
"""Of a point: x, y, z."""

_NUMBERS = re.compile(r"[fiu][1248]")


def read(data: bytes, what: str) -> NDArray[np.float64]:
    """The array in a pickle: an array of numbers, or a list of points, each an array or a list of three numbers.

    ``what`` names it in errors.  Raises BadInput for everything else, and never runs anything that the pickle names.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadInput(f"{what} has {len(data):,} bytes, a recorded line has at most {MAX_FILE_BYTES:,}: it is something else")
    value = loaded(data, what, _NAMES)
    try:
        return np.asarray(_unwrapped(value), np.float64)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{what} holds no array of numbers, {error}: use the reward.pkl that TMRL has recorded") from error


class _Type:
    """The type of an array's numbers; its state tells the order of their bytes."""

    __slots__ = ("_name", "_order")

    def __init__(self, name: Any, *_options: Any) -> None:
        if not isinstance(name, str) or not _NUMBERS.fullmatch(name) or name == "f1":
            raise BadInput(f"it has an array of {shown(name)}, not one of numbers")
        self._name = name
        self._order = "="

    def __setstate__(self, state: Any) -> None:
        """(version, order of the bytes, …): the rest is for arrays of records."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise BadInput("it tells no order of the bytes of an array's numbers")
        self._order = "=" if state[1] == "|" else state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy has it."""
        return np.dtype(f"{self._order}{self._name}")


class _Array:
    """An array, empty until its state comes."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: NDArray[Any] | None = None

    @property
    def array(self) -> NDArray[Any]:
        """The array itself.  Raises TypeError while it is empty."""
        if self._values is None:
            raise TypeError("but an array without its numbers")
        return self._values

    def __setstate__(self, state: Any) -> None:
        """(version, shape, type, whether the first axis runs fastest, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise BadInput("it has an array whose state is none")
        _, shape, kind, first_axis_fastest, data = state
        self._values = _array(data, kind, shape, "F" if first_axis_fastest is True else "C")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    """Raises BadInput unless these are bytes for that many numbers."""
    if not isinstance(kind, _Type) or not isinstance(shape, tuple) or len(shape) > MAX_AXES or order not in ("C", "F"):
        raise BadInput("it has an array without a type, a shape or an order")
    sizes = [plain_size(each, MAX_FILE_BYTES) for each in shape]
    wanted = math.prod(sizes) * kind.dtype.itemsize
    if not isinstance(data, bytes | bytearray) or len(data) != wanted:
        raise BadInput("it has an array with more or fewer bytes than its shape wants")
    values: NDArray[Any] = np.frombuffer(data, kind.dtype).reshape(sizes, order=order)
    return values


def _from_bytes(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """As pickles of protocol 5 have arrays."""
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", data))
    return array


def _unwrapped(value: Any) -> Any:
    """The array itself, or the points of a list."""
    if isinstance(value, _Array):
        return value.array
    if not isinstance(value, list | tuple):
        raise TypeError(f"but a value of the type {type(value).__name__}")
    return [_point(each) for each in value]


def _point(value: Any) -> Any:
    numbers = value.array.tolist() if isinstance(value, _Array) and value.array.shape == (AXES,) else value
    if not isinstance(numbers, list | tuple) or len(numbers) != AXES or not all(type(each) in (int, float) for each in numbers):
        raise TypeError("but a list with something in it that is no point of three numbers")
    return numbers


_NAMES = {
    ("numpy", "ndarray"): Admitted(no_call),
    ("numpy", "dtype"): Admitted(_Type),
    # numpy 1 has them in numpy.core, numpy 2 in numpy._core.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Admitted(lambda *_: _Array()) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Admitted(_from_bytes) for core in ("core", "_core")},
}
