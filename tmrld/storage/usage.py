"""What the files of a data folder take on the disk, by kind and by run."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tmrld.storage.files import explaining
from tmrld.storage.layout import Layout

UNFINISHED_S = 3600.0
"""A half-written file that is older than this was left by a process that was killed."""


@dataclass(frozen=True)
class RunUsage:
    """What one run's files take at the relay."""

    run: str
    log_bytes: int
    weights_bytes: int
    checkpoints_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.log_bytes + self.weights_bytes + self.checkpoints_bytes


@dataclass(frozen=True)
class Usage:
    """What a data folder takes.

    ``leftovers_bytes`` are files that nothing reads any more (`leftovers`); ``spool_bytes`` are a worker's unacknowledged chunks and
    ``cache_bytes`` what a trainer keeps of its runs, where they share the folder; ``files_bytes`` are copies of the shelf's files.
    """

    runs: tuple[RunUsage, ...]
    database_bytes: int
    shelf_bytes: int
    leftovers_bytes: int
    logs_bytes: int
    spool_bytes: int
    cache_bytes: int
    files_bytes: int
    free_bytes: int

    @property
    def relay_bytes(self) -> int:
        """What counts for the quota of all runs together."""
        return sum(run.total_bytes for run in self.runs) + self.database_bytes + self.shelf_bytes + self.leftovers_bytes


def measured(layout: Layout) -> Usage:
    """Look at every file of the folder; those that come and go meanwhile may be missed.  Raises StorageError."""
    with explaining("look what takes room in", layout.root):
        lost = leftovers(layout)
        folders = sorted(path for path in layout.relay_runs.glob("*") if path.is_dir())
        runs = tuple(
            RunUsage(path.name, *(size_of(files_below(path / part) - lost) for part in ("log", "weights", "checkpoints")))
            for path in folders
        )
        database = {path for path in layout.relay.glob("*") if path.is_file()}
        return Usage(
            runs,
            database_bytes=size_of(database - lost),
            shelf_bytes=size_of(files_below(layout.shelf)),
            leftovers_bytes=size_of(lost),
            logs_bytes=size_of(files_below(layout.logs)),
            spool_bytes=size_of(files_below(layout.spool)),
            cache_bytes=size_of(files_below(layout.trainer_runs)),
            files_bytes=sum(
                size_of(files_below(folder)) for folder in (layout.own_files, layout.worker_files, layout.trainer_files)
            ),
            free_bytes=shutil.disk_usage(layout.root).free,
        )


def leftovers(layout: Layout, run: str = "") -> set[Path]:
    """Files of the relay, or of one run, that nothing reads any more.

    What a killed process left half written, what was set aside as damaged, and databases as they were before an upgrade.
    """
    before = time.time() - UNFINISHED_S
    folder = layout.relay_run(run) if run else layout.relay
    found = files_below(folder)
    old = {path for path in found if path.name.endswith(".new") and _changed(path) < before}
    return old | {
        path for path in found if path.suffix == ".damaged" or path.name.startswith(f"{layout.relay_db.name}.schema-")
    }


def files_below(folder: Path) -> set[Path]:
    """All files in a folder and those below it, but those that are gone meanwhile; none where there is no folder."""

    def pass_over(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise error

    found = (Path(top, name) for top, _, names in os.walk(folder, onerror=pass_over) for name in names)
    return {path for path in found if path.is_file()}


def size_of(files: Iterable[Path]) -> int:
    """What they take together; a file that is gone meanwhile takes nothing."""
    total = 0
    for path in files:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
