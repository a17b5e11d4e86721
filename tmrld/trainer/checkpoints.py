"""What a checkpoint holds, where it lies, and how a run resumes from it.

A checkpoint is the state of `TrainingLoop.state`: networks, optimizers, temperature, counters, random states, and two offsets
into the sample log; never the replay memory.  Resuming refills the memory from the log (from ``window`` up to ``offset``) and then
replays the journal: a list of (update, offset), one entry for each time that new data entered the memory, and one for each time
that something was published; and of (update, revision), one for each time that other options took effect.  So data enters and
options change between the same updates as before, and the state after the last entry is, on a CPU, bit for bit what it was when
the trainer died.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import struct
import zlib
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from tmrld.errors import Damaged, StorageError
from tmrld.payloads import Array
from tmrld.storage import files

log = logging.getLogger(__name__)

FORMAT = 1
"""Of what a checkpoint holds besides arrays.  Raised when a trainer that does not know of a change could not resume."""
KEEP_LOCAL = 3
"""Checkpoints kept on the trainer's own disk: the newest, and two to fall back to when it is damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.  ``arrays`` and ``plain`` are what `TrainingLoop.restore` takes."""

    run: str
    update: int
    lineage: int
    revision: int
    offset: int
    window: int
    arrays: dict[str, Array]
    plain: dict[str, Any]


def pack(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as one checksummed file: safetensors, with the plain values as JSON beside the arrays."""
    facts = {
        "format": FORMAT,
        "run": checkpoint.run,
        "update": checkpoint.update,
        "lineage": checkpoint.lineage,
        "revision": checkpoint.revision,
        "offset": checkpoint.offset,
        "window": checkpoint.window,
        "plain": checkpoint.plain,
    }
    return files.pack_arrays(checkpoint.arrays, {"checkpoint": json.dumps(facts)})


def unpack(data: bytes, what: str) -> Checkpoint:
    """The inverse of `pack`.  ``what`` names the file in the message of Damaged, or of StorageError for that of a newer tmrld."""
    arrays, metadata = files.unpack_arrays(data, what)
    try:
        facts = json.loads(metadata["checkpoint"])
        version = int(facts.get("format", 1)) if isinstance(facts, dict) else 1
        if version > FORMAT:
            raise StorageError(
                f"{what} was written by a newer tmrld (format {version}; this one knows formats up to {FORMAT}). Upgrade tmrld here."
            )
        return Checkpoint(
            run=str(facts["run"]),
            update=int(facts["update"]),
            lineage=int(facts["lineage"]),
            revision=int(facts["revision"]),
            offset=int(facts["offset"]),
            window=int(facts["window"]),
            arrays=arrays,
            plain=dict(facts["plain"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{what} is not a checkpoint of tmrld: {error!r} is missing or wrong") from error


class CheckpointFolder:
    """The checkpoints of one run on this machine, named by update; written atomically, the newest few kept.

    The best and those that somebody pinned are the relay's to keep (`tmrld.storage.checkpoints`), which has copies of all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files.make_folder(folder)
        self._windows: dict[int, int] = {}

    def updates(self) -> list[int]:
        """The updates of which a checkpoint is there, newest first."""
        return sorted((int(path.stem) for path in self._folder.glob("*.checkpoint") if path.stem.isdigit()), reverse=True)

    def save(self, update: int, window: int, data: bytes) -> None:
        """Write one, which survives power loss when this returns; then remove those beyond the newest KEEP_LOCAL, and what a killed
        process left half written.
        """
        files.write_atomic(self._path(update), data)
        self._windows[update] = window
        for half in self._folder.glob(".*.checkpoint.*.new"):
            files.remove_file(half)
        for old in self.updates()[KEEP_LOCAL:]:
            files.remove_file(self._path(old))
            self._windows.pop(old, None)

    def remove_beyond(self, update: int) -> None:
        """Remove those of later updates: the run went on without them, from this one."""
        for later in self.updates():
            if later > update:
                files.remove_file(self._path(later))
                self._windows.pop(later, None)

    def oldest_window(self) -> int:
        """Where the log must still begin for every checkpoint kept to be resumed from.

        0 while one lies here that this process has neither written nor read: nothing may be pruned yet.
        """
        return min((self._windows.get(update, 0) for update in self.updates()), default=0)

    def newest(self) -> Checkpoint | None:
        """The newest that can be read; a damaged one is named in the log and set aside for the one before it."""
        for update in self.updates():
            path = self._path(update)
            try:
                checkpoint = unpack(files.read_file(path), str(path))
            except Damaged as error:
                log.error("%s  Falling back to the checkpoint before it.", error)
                with files.explaining("put aside", path):
                    files.replace_file(path, path.with_suffix(".damaged"))
            else:
                self._windows[update] = checkpoint.window
                return checkpoint
        return None

    def _path(self, update: int) -> Path:
        return self._folder / f"{update:012d}.checkpoint"


@dataclass(frozen=True)
class JournalEntry:
    """Before update number ``update`` + 1 was made, everything up to ``offset`` of the sample log was in the memory.

    With a ``revision`` it says instead that the options of this revision were in use (`tmrld.trainer.revisions`).
    """

    update: int
    offset: int = 0
    revision: int = 0


class Journal:
    """The schedule of ingestion, appended to a file as it happens.  A torn or damaged tail ends it.

    All methods raise StorageError, DiskFull among them, when the file cannot be used.
    """

    _ENTRY = struct.Struct("<QQI")
    _CHECKED = slice(0, 16)
    _REVISION = 1 << 63
    """Marks an update whose entry holds a revision in place of an offset."""

    def __init__(self, path: Path) -> None:
        self._path = path
        files.make_folder(path.parent)
        self._entries = self._read()
        self._file = self._open(len(self._entries))

    def append(self, entry: JournalEntry) -> None:
        """Write an entry before it is acted on, so that a killed process leaves no ingestion unrecorded."""
        data = self._packed(entry)
        with files.explaining("write", self._path):
            end = self._file.seek(0, os.SEEK_END)
            try:
                written = self._file.write(data)
                if written != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(end)  # half an entry would hide all that come after it
                raise

    def after(self, update: int, offset: int, revision: int = 0) -> list[JournalEntry]:
        """What was recorded, when the file was opened, beyond a checkpoint; offsets, updates and revisions never fall."""
        entries: list[JournalEntry] = []
        for entry in self._entries:
            if entry.revision:
                if entry.update >= update and entry.revision > revision:
                    entries.append(entry)
                    update, revision = entry.update, entry.revision
            elif entry.update >= update and entry.offset >= offset:
                entries.append(entry)
                update, offset = entry.update, entry.offset
        return entries

    def forget_before(self, update: int) -> None:
        """Drop what no resume can need, because no checkpoint before this update is kept: the file does not grow for ever."""
        everything = self._read()
        needed = [entry for entry in everything if entry.update >= update]
        if len(needed) == len(everything):
            return
        self._file.close()
        try:
            files.write_atomic(self._path, b"".join(map(self._packed, needed)))
        finally:
            self._file = self._open(len(self._read()))

    def clear(self) -> None:
        """Forget everything: the run resumes from a checkpoint that this journal does not lead on from."""
        self._entries = []
        with files.explaining("write", self._path):
            self._file.truncate(0)
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; nothing can be appended after."""
        self._file.close()

    def _open(self, entries: int) -> FileIO:
        """The file for appending after so many entries; what follows them is cut off."""
        with files.explaining("open", self._path):
            files.make_private(self._path)
            file = FileIO(self._path, "r+")
            file.truncate(entries * self._ENTRY.size)
            return file

    def _packed(self, entry: JournalEntry) -> bytes:
        values = (entry.update | self._REVISION, entry.revision) if entry.revision else (entry.update, entry.offset)
        whole = self._ENTRY.pack(*values, 0)
        return self._ENTRY.pack(*values, zlib.crc32(whole[self._CHECKED]))

    def _read(self) -> list[JournalEntry]:
        entries: list[JournalEntry] = []
        data = files.read_file(self._path) if self._path.exists() else b""
        for start in range(0, len(data) - self._ENTRY.size + 1, self._ENTRY.size):
            whole = data[start : start + self._ENTRY.size]
            update, offset, checksum = self._ENTRY.unpack(whole)
            if zlib.crc32(whole[self._CHECKED]) != checksum:
                log.warning("%s is damaged after %d entries: what follows is trained anew", self._path, len(entries))
                break
            if update & self._REVISION:
                entries.append(JournalEntry(update & ~self._REVISION, revision=offset))
            else:
                entries.append(JournalEntry(update, offset))
        else:
            if len(data) % self._ENTRY.size:
                log.warning(
                    "%s is cut short, and so lost what follows %d entries: that is trained anew", self._path, len(entries)
                )
        return entries
