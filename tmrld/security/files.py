"""Files that only their owner can read: keys, tokens."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path

from tmrld.errors import DiskFull, StorageError

_WINDOWS_NO_ROOM = {39, 112}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL


def explained(error: OSError, path: Path, trouble: str) -> StorageError:
    """The error of ours for one that came of using this path: ``trouble`` says what cannot be, unless the disk is just full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or getattr(error, "winerror", None) in _WINDOWS_NO_ROOM:
        return DiskFull(f"Cannot write {path}: the disk is full. Free some space.")
    return StorageError(f"{trouble}: {error}")


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all.  Raises OSError."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """Rename.  On Windows a virus scanner may hold a new file for a moment, and the renaming has to wait for it."""
    for _ in range(20):
        with contextlib.suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(0.05)
    source.replace(target)
