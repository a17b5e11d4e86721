"""Files that are whole or not there: atomic writes, manifests, named arrays, and what goes wrong on a disk.

Everything here either succeeds or raises a `StorageError` (`DiskFull` when there is no room, `Damaged` when a stored file does
not match its checksum), never a bare OSError.  All functions may be called from any thread.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from tmrld.errors import Damaged, DiskFull, StorageError
from tmrld.payloads import Array

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_WINDOWS_NO_ROOM = {39, 112}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
_REPLACE_ATTEMPTS = 6
_ON_WINDOWS = os.name == "nt"
_ARRAYS_CHECKSUM = "tmrld.sha256"


def explained(error: OSError, doing: str, path: Path) -> StorageError:
    """The error of ours that says what an OSError means: ``doing`` reads like "write the checkpoint"."""
    if error.errno in _NO_ROOM or getattr(error, "winerror", None) in _WINDOWS_NO_ROOM:
        return DiskFull(f"Cannot {doing} {path}: the disk is full. Free some space, or choose another data folder.")
    if isinstance(error, PermissionError):
        return StorageError(
            f"Cannot {doing} {path}: permission denied. Let the user that runs tmrld own this folder, or choose another one."
        )
    if isinstance(error, FileNotFoundError):
        return StorageError(f"Cannot {doing} {path}: it does not exist.")
    return StorageError(f"Cannot {doing} {path}: {error.strerror or error}. Check the disk.")


@contextmanager
def explaining(doing: str, path: Path) -> Iterator[None]:
    """Turns each OSError raised inside into a `StorageError` or `DiskFull` with a whole sentence."""
    try:
        yield
    except OSError as error:
        raise explained(error, doing, path) from error


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, durably and for its owner alone (0700); one that is there already stays as it is."""
    with explaining("make the folder", path):
        for folder in reversed((path, *path.parents)):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(folder.parent)
        if not path.is_dir():
            raise StorageError(f"{path} is a file, where a folder is needed. Move it away.")
    return path


def make_private(path: Path) -> None:
    """Make sure that a file is there, for its owner alone (0600) where the system knows such things.  Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if not _ON_WINDOWS:
        path.chmod(0o600)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive power loss.  Windows keeps them by itself and cannot open folders."""
    if _ON_WINDOWS:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: after a crash or power loss there is the old file or the new one, whole.

    Returns when the data survive power loss.  The folder must exist; the file is readable by its owner alone.
    """
    with explaining("write", path):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            replace_file(Path(temporary), path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def replace_file(source: Path, target: Path, pause: Callable[[float], None] = time.sleep) -> None:
    """``os.replace``, tried again for half a second where Windows refuses because a virus scanner or reader has the file open."""
    for attempt in range(1, _REPLACE_ATTEMPTS):
        try:
            source.replace(target)
        except PermissionError:
            if not _ON_WINDOWS:
                raise
            pause(0.01 * 2**attempt)
        else:
            return
    source.replace(target)


def read_file(path: Path) -> bytes:
    """The whole file.  Raises StorageError when it cannot be read."""
    with explaining("read", path):
        return path.read_bytes()


def remove_file(path: Path) -> None:
    """Unlink a file; one that is gone already is fine."""
    with explaining("remove", path):
        path.unlink(missing_ok=True)


def sha256(data: bytes) -> str:
    """The hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """That of a file of any size, which is read piece by piece.  Raises StorageError."""
    with explaining("read", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(path: Path, kind: str, version: int, content: Mapping[str, Any]) -> None:
    """Write JSON that knows what it is: ``kind`` and ``version`` of its format, and a checksum of all that.  Atomic."""
    manifest = {"kind": kind, "version": version, "sha256": _manifest_checksum(kind, version, content), "content": content}
    write_atomic(path, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())


def read_manifest(path: Path, kind: str, version: int) -> dict[str, Any]:
    """The content of a manifest.

    Raises Damaged when it is no manifest of this kind or fails its checksum, and StorageError when it cannot be read or its
    version is newer than ``version``, the newest this program knows; older ones are the caller's to understand.
    """
    return read_versioned_manifest(path, kind, version)[1]


def read_versioned_manifest(path: Path, kind: str, version: int) -> tuple[int, dict[str, Any]]:
    """The same, and the version of its format that it was written in."""
    try:
        manifest = json.loads(read_file(path))
        found, number = manifest["kind"], int(manifest["version"])
        content, checksum = manifest["content"], manifest["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{path} is damaged: it is not a manifest of kind {kind!r}. Restore it from a backup.") from error
    if not isinstance(content, dict) or checksum not in _possible_checksums(found, number, content):
        raise Damaged(f"{path} does not match its checksum. Restore it from a backup.")
    if found != kind:
        raise Damaged(f"{path} is of kind {found!r}, expected {kind!r}. Restore it from a backup.")
    if number > version:
        raise StorageError(
            f"{path} was written by a newer tmrld (format {number}; this one knows formats up to {version}). Upgrade tmrld."
        )
    return number, content


def _possible_checksums(kind: str, version: int, content: Mapping[str, Any]) -> set[str]:
    """That of today, and that of the first manifests, all of version 1, which covered the content alone."""
    first = {sha256(_canonical(content).encode())} if version == 1 else set()
    return {_manifest_checksum(kind, version, content), *first}


def _manifest_checksum(kind: str, version: int, content: Mapping[str, Any]) -> str:
    return sha256(_canonical({"kind": kind, "version": version, "content": content}).encode())


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def pack_arrays(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """Named arrays as one safetensors file, with a checksum of everything in it.  Inverse: `unpack_arrays`."""
    little = {name: _little_endian(array) for name, array in arrays.items()}
    kept = dict(metadata or {})
    return save_safetensors(little, {**kept, _ARRAYS_CHECKSUM: _arrays_checksum(little, kept)})


def unpack_arrays(data: bytes, source: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and metadata of `pack_arrays`; ``source`` names the file in errors.  Raises Damaged on any mismatch."""
    try:
        arrays = load_safetensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{source} is damaged: {error}. Use an older one.") from error
    if metadata.pop(_ARRAYS_CHECKSUM, "") != _arrays_checksum(arrays, metadata):
        raise Damaged(f"{source} does not match its checksum. Use an older one.")
    return arrays, metadata


def save_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """`pack_arrays` into a file, atomically."""
    write_atomic(path, pack_arrays(arrays, metadata))


def load_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and metadata that `save_arrays` wrote.  Raises Damaged on any mismatch."""
    return unpack_arrays(read_file(path), str(path))


def _little_endian(array: Array) -> Array:
    return np.require(array, dtype=array.dtype.newbyteorder("<"), requirements="C")


def _arrays_checksum(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(_canonical(metadata).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_canonical({"name": name, "dtype": array.dtype.str, "shape": list(array.shape)}).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
