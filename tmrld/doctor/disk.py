"""The data folder: whether it can be written to, how much room its disk has, and who uses it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.patient import Evidence, Patient
from tmrld.errors import StorageError
from tmrld.settings import Settings
from tmrld.storage.files import explained
from tmrld.storage.layout import Layout, check_version, holder_of, network_type

GIB = 2**30
FULL_BYTES = 256 * 2**20
"""With less, the next checkpoint may not fit."""


class Disk(Evidence):
    """``error`` says why the folder cannot be written to; ``network`` is the type of network drive that it lies on ("": none).

    ``holder`` is the process that uses it (0: unknown, None: nobody); ``wanted_bytes`` is what may come to lie in it.
    """

    folder: str
    exists: bool
    error: str = ""
    version_error: str = ""
    network: str = ""
    free_bytes: int | None = None
    wanted_bytes: int = 0
    holder: int | None = None
    own: bool = False
    """Whether the holder is the daemon that has the doctor look."""


def gather_disk(settings: Settings) -> Disk:
    """Look at the data folder; makes nothing in it that stays, and not the folder itself."""
    root = settings.data.expanduser().absolute()
    exists, error, version_error, holder = False, "", "", None
    nearest = root
    try:
        exists = root.is_dir()
        if root.exists() and not exists:
            error = f"{root} is a file, where a folder is needed"
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        error = error or _write_error(nearest)
    except OSError as trouble:
        error = str(explained(trouble, "look at", root))
    layout = Layout(root)
    try:
        if exists:
            holder = holder_of(layout)
            check_version(layout)
    except StorageError as trouble:
        version_error = str(trouble)
    return Disk(
        folder=str(root),
        exists=exists,
        error=error,
        version_error="" if error else version_error,
        network=network_type(root) or "",
        free_bytes=_free_bytes(nearest),
        wanted_bytes=wanted_bytes(settings),
        holder=holder,
        own=holder is not None and holder == os.getppid(),
    )


def _write_error(folder: Path) -> str:
    """Why nothing can be written in a folder that is there; "" if it can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".tmrld-doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return str(explained(error, "write in", folder))
    return ""


def _free_bytes(folder: Path) -> int | None:
    """What this user may still write there; None where the system does not tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def wanted_bytes(settings: Settings) -> int:
    """What one run may come to take here, by the settings."""
    wanted = 0
    if "relay" in settings.roles or not settings.roles:
        wanted += settings.relay.sample_log_bytes
    if "worker" in settings.roles or not settings.roles:
        wanted += settings.worker.spool_bytes
    return wanted


def judge_disk(_patient: Patient, seen: Disk) -> Iterator[Diagnosis]:
    """The folder, then the room on its disk."""
    area = "disk"
    another = "choose another one: --data FOLDER, or the setting data"
    if seen.network:
        yield wrong(
            area,
            "data folder",
            f"the data folder {seen.folder} lies on a network drive ({seen.network}), where locks and databases are not safe",
            another,
            code="data-folder-network",
        )
    elif seen.error:
        full = "disk is full" in seen.error
        yield wrong(
            area,
            "data folder",
            seen.error.rstrip("."),
            "free some space, or " + another if full else another,
            code="disk-full" if full else "data-folder-unwritable",
        )
        if full:
            return
    elif seen.version_error:
        newer = "newer tmrld" in seen.version_error
        yield wrong(
            area,
            "data folder",
            seen.version_error.rstrip("."),
            f"pip install --upgrade tmrld, or {another}" if newer else another,
            code="data-folder-newer" if newer else "data-folder-damaged",
        )
    elif seen.holder is not None and not seen.own:
        who = f"process {seen.holder}" if seen.holder else "a process that it does not name"
        yield note(
            area,
            "data folder",
            f"a daemon of tmrld ({who}) runs and uses {seen.folder}",
            "nothing, if you started it; for another daemon beside it, choose another folder with --data",
            code="data-folder-in-use",
        )
    else:
        yield ok(area, "data folder", f"{seen.folder}" + ("" if seen.exists else ", which will be made"))
    if seen.free_bytes is None:
        return
    free = f"{seen.free_bytes / GIB:.1f} GiB are free"
    if seen.free_bytes < FULL_BYTES:
        yield wrong(
            area,
            "free space",
            f"{free} where {seen.folder} lies: collecting and checkpoints stop",
            f"free some space, or {another}",
            code="disk-full",
        )
    elif seen.free_bytes < seen.wanted_bytes:
        yield note(
            area,
            "free space",
            f"{free}, and a long run may come to take {seen.wanted_bytes / GIB:.0f} GiB",
            "free some space, or make relay.sample_log_bytes and worker.spool_bytes smaller",
            code="disk-short",
        )
    else:
        yield ok(area, "free space", free)
