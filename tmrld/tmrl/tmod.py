"""TMRL's ``.tmod`` files: what ``torch.save`` writes of a policy's tensors, read without torch.

Such a file is a zip archive, never compressed: ``NAME/data.pkl`` says which tensors there are, and ``NAME/data/0``, ``NAME/data/1`` …
hold their numbers, little-endian.  The pickle may name tensors, their storages and the dictionary around them, and nothing else.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from typing import Any

import numpy as np

from tmrld.errors import BadInput
from tmrld.payloads import Array
from tmrld.tmrl.unpickler import Admitted, loaded, plain_size, shown

MAX_FILE_BYTES = 256 * 2**20
"""TMRL's largest policy has 21 million numbers, which are 84 MB."""
MAX_PICKLE_BYTES = 4 * 2**20
MAX_TENSORS = 10_000
MAX_AXES = 8

TYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}


def read(data: bytes, what: str) -> dict[str, Array]:
    """The tensors by name, as arrays of their own.

    ``what`` names the file in errors.  Raises BadInput for everything that ``torch.save`` does not write of a policy; never runs
    anything that the file names, and takes no more memory than a few times its size.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadInput(f"{what} has {len(data):,} bytes, a policy of TMRL has at most {MAX_FILE_BYTES:,}: it is something else")
    archive = _Archive(data, what)
    names = {**_NAMES, ("torch._utils", "_rebuild_tensor_v2"): Admitted(_Tensors())}
    value = loaded(archive.part("data.pkl", MAX_PICKLE_BYTES), what, names, lambda pid: _storage(archive, pid))
    if not isinstance(value, _Dictionary | dict):
        raise BadInput(f"{what} holds no tensors by name but {_kind(value)}: use a file of TMRL's folder weights")
    tensors: dict[str, Array] = {}
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, _Numbers):
            raise BadInput(f"{what} holds {_kind(tensor)} among its tensors: use a file of TMRL's folder weights")
        tensors[name] = tensor.array
    return tensors


def _kind(value: object) -> str:
    return f"a value of the type {type(value).__name__}"


class _Archive:
    """The zip file: each part of it is read once, and none is ever unpacked to more bytes than the file has."""

    def __init__(self, data: bytes, what: str) -> None:
        self._what = what
        self._left_bytes = len(data)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, OSError, NotImplementedError) as error:
            raise BadInput(
                f"{what} is no archive as torch.save writes it ({error}): copy it again; if it is older than torch 1.6, load and "
                "save it once with TMRL"
            ) from error
        names = [each.filename for each in self._zip.infolist()]
        roots = {name.partition("/")[0] for name in names}
        if len(names) > MAX_TENSORS or len(set(names)) != len(names) or len(roots) != 1:
            raise BadInput(f"{what} is an archive, but none as torch.save writes it: use a file of TMRL's folder weights")
        (self._root,) = roots
        self._parts: dict[str, bytes] = {}
        if f"{self._root}/byteorder" in names and self.part("byteorder", 16) != b"little":
            raise BadInput(f"{what} was saved by a machine that has its bytes in another order: save it again on a usual one")

    def part(self, name: str, most_bytes: int) -> bytes:
        """The bytes of ``ROOT/name``."""
        if name in self._parts:
            return self._parts[name]
        try:
            about = self._zip.getinfo(f"{self._root}/{name}")
            if about.compress_type != zipfile.ZIP_STORED:
                raise BadInput(f"{self._what} is compressed, which torch.save never does: use the file as TMRL has written it")
            if about.file_size > min(most_bytes, self._left_bytes):
                raise BadInput(f"{self._what} says that its part {name} is larger than can be: copy the file again")
            with self._zip.open(about) as stream:
                found = stream.read(about.file_size)
        except KeyError:
            raise BadInput(f"{self._what} has no part {name!r:.60}, as torch.save writes it: copy the file again") from None
        except (
            zipfile.BadZipFile,
            struct.error,
            ValueError,
            OverflowError,
            EOFError,
            OSError,
            RuntimeError,
        ) as error:  # also NotImplementedError
            raise BadInput(f"{self._what} is damaged ({error}): copy it again") from error
        self._left_bytes -= len(found)
        self._parts[name] = found
        return found


class _Numbers:
    """A storage or a tensor, so wrapped that the pickle cannot alter it."""

    __slots__ = ("array",)

    def __init__(self, array: Array) -> None:
        self.array = array

    def __setstate__(self, _state: Any) -> None:
        """Pickle asks for this where it would change the array."""
        raise BadInput("it alters a tensor that it has made")


def _storage(archive: _Archive, pid: Any) -> _Numbers:
    """The numbers that ("storage", type, key, device, count) stands for."""
    if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], _Storage):
        raise BadInput("it refers to something that is no storage of a tensor")
    _, kind, key, _, count = pid
    if not isinstance(key, str) or not key.isdecimal():
        raise BadInput(f"it calls a storage {shown(key)}")
    dtype = np.dtype(kind.dtype)
    wanted = plain_size(count, MAX_FILE_BYTES) * dtype.itemsize
    data = archive.part(f"data/{key}", MAX_FILE_BYTES)
    if len(data) != wanted:
        raise BadInput(f"its storage {key} has {len(data):,} bytes instead of {wanted:,}")
    return _Numbers(np.frombuffer(data, dtype))


class _Tensors:
    """Makes tensors of one file, until they are larger together than any file may be: one storage serves as many as like."""

    def __init__(self) -> None:
        self._left_bytes = MAX_FILE_BYTES

    def __call__(self, of: Any, offset: Any, shape: Any, stride: Any, *_autograd: Any) -> _Numbers:
        """A tensor that is a view of a storage: a copy of its numbers, in order."""
        if not isinstance(of, _Numbers) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
            raise BadInput("it has a tensor without storage, shape or stride")
        storage = of.array.reshape(-1)
        if len(shape) != len(stride) or len(shape) > MAX_AXES:
            raise BadInput(f"it has a tensor of {len(shape)} axes with {len(stride)} strides")
        first = plain_size(offset, len(storage))
        sizes = [plain_size(each, len(storage)) for each in shape]
        steps = [plain_size(each, len(storage)) for each in stride]
        last = first + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        count = math.prod(sizes)
        if count and (last >= len(storage) or count > len(storage)):
            raise BadInput("it has a tensor that reaches beyond its storage")
        self._left_bytes -= count * storage.itemsize
        if self._left_bytes < 0:
            raise BadInput("its tensors are larger than its file can be")
        if not count:
            return _Numbers(np.empty(sizes, storage.dtype))
        view = np.lib.stride_tricks.as_strided(storage[first:], sizes, [step * storage.itemsize for step in steps])
        return _Numbers(np.array(view, view.dtype.newbyteorder("=")))


class _Storage(Admitted):
    """A type of storage; it is named, never called."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        super().__init__(_not_called)
        self.dtype = dtype


def _not_called(*_arguments: Any) -> Any:
    raise BadInput("it makes a storage of its own")


class _Dictionary:
    """Stands in for an ordered dictionary whose keys are text; its attributes, where torch notes versions, are dropped."""

    __slots__ = ("_content",)

    def __init__(self, *arguments: Any) -> None:
        if arguments:
            raise BadInput("it makes a dictionary in a way that torch.save does not")
        self._content: dict[str, Any] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str):
            raise BadInput("it has a dictionary whose keys are no text")
        self._content[key] = value

    def __setstate__(self, _state: Any) -> None:
        """Nothing of it is needed."""

    def items(self) -> list[tuple[str, Any]]:
        """In the order in which they were saved."""
        return list(self._content.items())


_NAMES: dict[tuple[str, str], Admitted] = {
    ("collections", "OrderedDict"): Admitted(_Dictionary),
    **{("torch", name): _Storage(dtype) for name, dtype in TYPES.items()},
}
