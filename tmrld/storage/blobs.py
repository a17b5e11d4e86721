"""Large files that a table in ``relay.db`` knows by name, size and checksum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tmrld.errors import Damaged, StorageError
from tmrld.storage.files import explaining, make_folder, read_file, remove_file, sha256, write_atomic

MAX_BYTES = 2**62
"""Stands for no bound."""


def write_blob(path: Path, data: bytes) -> None:
    """Write a file, durably, in a folder that is made where it is missing."""
    make_folder(path.parent)
    write_atomic(path, data)


@contextmanager
def new_blob(path: Path, data: bytes) -> Iterator[None]:
    """Write a file; when it cannot be entered into its table inside, it goes again, unless it was there before.

    With it go the folders that it leaves empty: those of a run that was deleted meanwhile, whose name they would block.
    """
    is_new = not path.exists()
    write_blob(path, data)
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(StorageError):
                remove_file(path)
            with suppress(OSError):
                path.parent.rmdir()
                path.parent.parent.rmdir()
        raise


def read_blob(path: Path, checksum: str) -> bytes:
    """The file.  Raises Damaged when it is missing or does not have this SHA-256."""
    if not path.exists():
        raise Damaged(f"{path} is missing. Use an older one.")
    data = read_file(path)
    if sha256(data) != checksum:
        raise Damaged(f"{path} does not match its checksum. Use an older one.")
    return data


def keep_only(folder: Path, names: Iterable[str]) -> None:
    """Remove all other files: those that are no longer wanted, and what a crash left half done."""
    kept = set(names)
    if folder.exists():
        with explaining("tidy", folder):
            surplus = [path for path in folder.iterdir() if path.name not in kept]
        for path in surplus:
            remove_file(path)
