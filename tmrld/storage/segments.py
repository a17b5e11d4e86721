"""The files of a log: segments, each named by the offset of its first byte.

A logical offset is a byte position over all segments: byte ``p`` of segment ``b`` has offset ``b + p``.  Offsets belong to the
segment with the largest base that is not above them.  Segments may have room between them.

Reading is thread-safe; everything that writes is for one thread at a time.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tmrld.errors import Damaged, StorageError
from tmrld.storage.files import explained, explaining, make_folder, sync_folder

_NAME = re.compile(r"[0-9]{20}\.segment")
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
_log = logging.getLogger(__name__)

Undo = dict[int, int | None]
"""The size that each segment had before a write; None where there was none."""


class Segments:
    """The segments in one folder.  A new one begins when the newest would grow past ``segment_bytes``."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self._folder = make_folder(folder)
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._open_base = -1
        self._broken = ""
        with explaining("list the segments in", folder):
            sizes = {int(path.stem): path.stat().st_size for path in folder.iterdir() if _NAME.fullmatch(path.name)}
        self._sizes = sizes
        self._bases: tuple[int, ...] = tuple(sorted(sizes))  # replaced, never changed: readers need no lock

    @property
    def bases(self) -> tuple[int, ...]:
        """The offsets at which segments begin, in order."""
        return self._bases

    @property
    def total_bytes(self) -> int:
        """What all segments take on the disk."""
        return sum(list(self._sizes.values()))  # a writer may add to it meanwhile

    def path(self, base: int) -> Path:
        """The file of the segment that begins at ``base``."""
        return self._folder / f"{base:020d}.segment"

    def end_of(self, base: int) -> int:
        """The offset after the last byte of this segment."""
        return base + self._sizes[base]

    def base_of(self, offset: int) -> int | None:
        """The segment to which this offset belongs."""
        at = bisect_right(self._bases, offset)
        return self._bases[at - 1] if at else None

    def after(self, base: int) -> int | None:
        """The base of the segment after this one."""
        at = bisect_right(self._bases, base)
        return self._bases[at] if at < len(self._bases) else None

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on, within its segment; fewer where it ends.

        Raises FileNotFoundError when there is no such segment (any more), Damaged when the disk fails, StorageError when the
        file cannot be opened.
        """
        base = self.base_of(offset)
        if base is None:
            raise FileNotFoundError(f"no segment holds offset {offset}")
        path = self.path(base)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset - base)
                data = file.read(size)
                while len(data) < size and (more := file.read(size - len(data))):
                    data += more
                return data
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.EIO:
                raise Damaged("the disk cannot read it") from error
            raise explained(error, "read", path) from error

    def write(self, pieces: Iterable[tuple[int, bytes]], *, durable: bool) -> Undo:
        """Write pieces, each at its offset: all of them, or none, raising StorageError (DiskFull when there is no room).

        With ``durable`` they survive power loss when this returns.  Hand the answer to `undo` to take it back.
        """
        if self._broken:
            raise StorageError(self._broken)
        before: Undo = {}
        try:
            for base, start, data in self._grouped(pieces, before):
                self._write_at(base, start - base, data)
                if durable:
                    self._sync_open()
            if durable and None in before.values():
                sync_folder(self._folder)
        except OSError as error:
            self.undo(before)
            raise explained(error, "write the log in", self._folder) from error
        except BaseException:
            self.undo(before)
            raise
        return before

    def undo(self, before: Undo) -> None:
        """Cut every segment back to the size it had.  Where even that fails, nothing more is written until the log is reopened."""
        for base, size in before.items():
            try:
                if size is None:
                    self.remove([base])
                else:
                    self.truncate(base, size)
            except StorageError as error:
                self._broken = f"The log in {self._folder} can no longer be written: {error} Then restart tmrld."
                _log.error("%s", self._broken)

    def truncate(self, base: int, size: int) -> None:
        """Cut a segment to this size, durably."""
        with explaining("cut", self.path(base)):
            self._open(base)
            os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)
        self._sizes[base] = size

    def begin(self, base: int) -> None:
        """Make an empty segment, so that offsets below ``base`` are never given again."""
        with explaining("make", self.path(base)):
            self._open(base)
            sync_folder(self._folder)
        self._add(base)

    def sync(self, bases: Iterable[int]) -> None:
        """Make what was written into these segments survive power loss."""
        for base in bases:
            if base in self._sizes:
                with explaining("sync", self.path(base)):
                    self._open(base)
                    self._sync_open()
        with explaining("sync", self._folder):
            sync_folder(self._folder)

    def remove(self, bases: Sequence[int]) -> int:
        """Unlink segments; tells how many bytes that frees.  A file that Windows holds back is left for the next opening."""
        freed = 0
        for base in bases:
            if base == self._open_base:
                self._close_open()
            freed += self._sizes[base]
            self._forget(base)
            with explaining("remove", self.path(base)), suppress(PermissionError):
                self.path(base).unlink(missing_ok=True)
        return freed

    def close(self) -> None:
        """May be called twice."""
        self._close_open()

    def _grouped(self, pieces: Iterable[tuple[int, bytes]], before: Undo) -> Iterable[tuple[int, int, bytes]]:
        """Adjacent pieces of one segment as one write; sizes are counted up, and remembered in ``before``, as it goes."""
        group: list[bytes] = []
        base = start = end = -1
        for offset, data in pieces:
            home = self._home(offset, len(data))
            if group and (home != base or offset != end):
                yield base, start, b"".join(group)
                group = []
            if not group:
                base, start = home, offset
            group.append(data)
            end = offset + len(data)
            if home not in before:
                before[home] = self._sizes.get(home)
                self._add(home)
            self._sizes[home] = max(self._sizes[home], end - home)
        if group:
            yield base, start, b"".join(group)

    def _home(self, offset: int, size: int) -> int:
        """The segment into which a piece goes: the one it lies in or continues, if there is room, otherwise a new one."""
        base = self.base_of(offset)
        following = self.after(-1 if base is None else base)
        if following is not None and offset + size > following:
            raise Damaged(
                f"A record of {size} bytes at offset {offset} would run into the segment at {following}: "
                "this is a copy of another log. Remove the folder of the copy."
            )
        if base is None or offset > self.end_of(base):
            return offset
        if offset == self.end_of(base) > base and offset + size - base > self._segment_bytes:
            return offset
        return base

    def _add(self, base: int) -> None:
        if base not in self._sizes:
            self._sizes[base] = 0
            bases = list(self._bases)
            insort(bases, base)
            self._bases = tuple(bases)

    def _forget(self, base: int) -> None:
        self._sizes.pop(base, None)
        self._bases = tuple(known for known in self._bases if known != base)

    def _open(self, base: int) -> None:
        if base != self._open_base:
            self._close_open()
            self._descriptor = os.open(self.path(base), _FLAGS, 0o600)
            self._open_base = base

    def _close_open(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor, self._open_base = self._descriptor, -1, -1
            os.close(descriptor)

    def _write_at(self, base: int, position: int, data: bytes) -> None:
        self._open(base)
        os.lseek(self._descriptor, position, os.SEEK_SET)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _sync_open(self) -> None:
        if hasattr(os, "fdatasync"):
            os.fdatasync(self._descriptor)
        else:
            os.fsync(self._descriptor)
