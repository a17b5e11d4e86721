"""Arrays from elsewhere."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tmrld.npy import read_npy


def npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(
    arrays.arrays(
        arrays.integer_dtypes() | arrays.unsigned_integer_dtypes() | arrays.floating_dtypes(sizes=(16, 32, 64)),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_what_numpy_has_saved_is_read(array: NDArray[np.generic]) -> None:
    for each in (array, np.asfortranarray(array)):
        read = read_npy(npy(each))
        assert (read.dtype, read.shape, read.tobytes()) == (each.dtype, each.shape, each.tobytes())


def test_no_array_is_made_that_is_larger_than_the_file() -> None:
    for shape in (b"(999999999999, 3)", b"(2, 3)", b"(1, -3)", b"(True, 3)", b"(1.0, 3)", b"[1, 3]", b"(1,)*9"):
        data = npy(np.ones((1, 3))).replace(b"(1, 3)", shape)
        with pytest.raises(ValueError, match=r"header|shape|bytes hold"):
            read_npy(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00v\x00",
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\x93NUMPY\x01\x00\x02\x00{\n",
        b"\x93NUMPY\x01\x00v\x00{\x93NUMPY" + b" " * 200,
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        npy(np.ones(3)).replace(b"'<f8'", b"'|O8'"),
        npy(np.ones(3)).replace(b"'<f8'", b"'<M8'"),
        npy(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])),
        npy(np.ones(3))[:-1],
        npy(np.ones(3)) + b"\x00",
    ],
)
def test_what_is_no_array_of_numbers_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_npy(data)
