"""Where everything lies in a data folder, and who may use it.

::

    lock, holder.json          taken by the one daemon that uses the folder; who that is
    folder.json                the version of this layout, and of every format in it that has none of its own
    control.token              lets the command line on the relay's machine use its control API
    logs/                      the daemon's log files
    relay/                     relay.key.pem, relay.cert.pem, tokens.db, relay.db
          runs/<run>/            log/ (the sample log), weights/, checkpoints/
          deleted/               folders of runs that are being deleted
    trainer/runs/<run>/        cache/ (a copy of the sample log), checkpoints/, journal, revisions/, made, profiles/
    trainer/files/             files of the relay's shelf that its run needs
    worker/spool/              chunks that are not yet acknowledged, and in made, when the runs were made that these are of
    worker/files/              as the trainer's
    files/                     copies of what commands take from the shelf, by the names that people know
    shelf/                     tracks, weights and demonstrations by name (`shelf.Shelf`)

A folder of an older layout is brought up to date when it is opened (`upgrades`), one of a newer layout is refused.  Databases have
schemas of their own (`database`), and lie beside ``X.seal`` while nobody uses them, and beside ``X.schema-N`` after an upgrade: as
they were before it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import filelock

from tmrld.errors import BadInput, FolderInUse, StorageError
from tmrld.storage.files import explaining, make_folder, read_manifest, read_versioned_manifest, write_manifest
from tmrld.storage.upgrades import UPGRADES

LAYOUT_VERSION = 2
_KIND = "tmrld data folder"
_HOLDER_KIND = "tmrld data folder holder"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_NETWORK_TYPES = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "afpfs", "webdav", "davfs", "fuse.sshfs", "ncpfs"}


def checked_run_name(name: str) -> str:
    """The name itself, if a run may be called so; otherwise BadInput."""
    return checked_name(name, "a run")


def checked_name(name: str, what: str) -> str:
    """The name itself, if ``what`` ("a run", "a track") may be called so; otherwise BadInput.

    Lower case only, so that two never share a folder on a disk that ignores case; nothing that Windows reserves.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise BadInput(
            f"{name[:80]!r} cannot be the name of {what}: use 1 to 64 of a-z, 0-9, '.', '_' and '-', "
            "begin with a letter or digit, and do not end with '.'."
        )
    if name.split(".", 1)[0] in _RESERVED:
        raise BadInput(
            f"{name!r} cannot be the name of {what}: Windows reserves {name.split('.', 1)[0]!r}. Choose another name."
        )
    return name


@dataclass(frozen=True)
class Layout:
    """Every path of the data folder at ``root``.  Makes nothing: whoever fills a folder makes it (`files.make_folder`)."""

    root: Path

    @property
    def lock(self) -> Path:
        """Locked by the daemon that uses this folder."""
        return self.root / "lock"

    @property
    def holder(self) -> Path:
        """Which process has the lock."""
        return self.root / "holder.json"

    @property
    def version(self) -> Path:
        """The version of the layout."""
        return self.root / "folder.json"

    @property
    def logs(self) -> Path:
        """Folder of the daemon's log files."""
        return self.root / "logs"

    @property
    def control_token(self) -> Path:
        """A token of the relay's control API for whoever may read this folder: the command line on this machine."""
        return self.root / "control.token"

    @property
    def relay(self) -> Path:
        """Folder of the relay."""
        return self.root / "relay"

    @property
    def relay_key(self) -> Path:
        """The relay's private key."""
        return self.relay / "relay.key.pem"

    @property
    def relay_certificate(self) -> Path:
        """The relay's certificate."""
        return self.relay / "relay.cert.pem"

    @property
    def tokens_db(self) -> Path:
        """Hashes of tokens and invites."""
        return self.relay / "tokens.db"

    @property
    def relay_db(self) -> Path:
        """Runs and all that is known of them (`runs.RunStore`)."""
        return self.relay / "relay.db"

    @property
    def relay_runs(self) -> Path:
        """Folder of the folders of all runs."""
        return self.relay / "runs"

    @property
    def relay_deleted(self) -> Path:
        """Folder of the folders of runs that are being deleted."""
        return self.relay / "deleted"

    def relay_run(self, run: str) -> Path:
        """Folder of all that the relay keeps in files for one run."""
        return self.relay_runs / checked_run_name(run)

    def run_log(self, run: str) -> Path:
        """Folder of the run's sample log."""
        return self.relay_run(run) / "log"

    def run_weights(self, run: str) -> Path:
        """Folder of the run's weights."""
        return self.relay_run(run) / "weights"

    def run_checkpoints(self, run: str) -> Path:
        """Folder of the relay's copies of the run's checkpoints."""
        return self.relay_run(run) / "checkpoints"

    @property
    def trainer_runs(self) -> Path:
        """Folder of the folders of all runs that a trainer works for, or has."""
        return self.root / "trainer" / "runs"

    def trainer_run(self, run: str) -> Path:
        """Folder of all that a trainer keeps for one run."""
        return self.trainer_runs / checked_run_name(run)

    def trainer_cache(self, run: str) -> Path:
        """Folder of the trainer's copy of the sample log."""
        return self.trainer_run(run) / "cache"

    def trainer_checkpoints(self, run: str) -> Path:
        """Folder of the trainer's own checkpoints."""
        return self.trainer_run(run) / "checkpoints"

    def trainer_journal(self, run: str) -> Path:
        """Which data entered the replay memory before which update."""
        return self.trainer_run(run) / "journal"

    def trainer_profiles(self, run: str) -> Path:
        """Folder of the traces of updates that were asked for."""
        return self.trainer_run(run) / "profiles"

    def trainer_revisions(self, run: str) -> Path:
        """Folder of the options that the journal's revisions train with."""
        return self.trainer_run(run) / "revisions"

    def trainer_made(self, run: str) -> Path:
        """When the run was made that the rest of the folder belongs to."""
        return self.trainer_run(run) / "made"

    @property
    def trainer_files(self) -> Path:
        """Folder of what a trainer has fetched of its relay's shelf."""
        return self.root / "trainer" / "files"

    @property
    def spool(self) -> Path:
        """Folder of a worker's chunks that are not yet acknowledged."""
        return self.root / "worker" / "spool"

    @property
    def worker_made(self) -> Path:
        """When the runs were made whose chunks are in the spool."""
        return self.spool / "made"

    @property
    def worker_files(self) -> Path:
        """Folder of what a worker has fetched of its relay's shelf."""
        return self.root / "worker" / "files"

    @property
    def own_files(self) -> Path:
        """Folder of what commands of this machine take from its shelf; a worker tidies its own."""
        return self.root / "files"

    @property
    def shelf(self) -> Path:
        """Folder of the tracks, weights and demonstrations that runs refer to by name."""
        return self.root / "shelf"


class DataFolder:
    """A data folder that is ours until `close`; also a context manager.  Closing twice is fine."""

    def __init__(self, layout: Layout, lock: filelock.BaseFileLock) -> None:
        self.layout = layout
        self._lock = lock

    def tell_control(self, url: str) -> None:
        """Leave word where the control API is, for this machine's command line.  Raises StorageError."""
        write_manifest(self.layout.holder, _HOLDER_KIND, 1, {"pid": os.getpid(), "control": url})

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.release()

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_data_folder(path: Path) -> DataFolder:
    """Make the folder where it is missing, and take it for this process.

    Raises FolderInUse when another process has it, StorageError when it lies on a network drive (neither locks nor SQLite can
    be trusted there), cannot be written, or was made by a newer tmrld.
    """
    root = path.expanduser().absolute()
    kind = network_type(root)
    if kind is not None:
        raise StorageError(
            f"The data folder {root} lies on a network drive ({kind}), where locks and databases are not safe. "
            "Choose a folder on a disk of this machine."
        )
    layout = Layout(make_folder(root))
    lock = filelock.FileLock(layout.lock, timeout=0, mode=0o600, thread_local=False)
    with explaining("write in the data folder", root):
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise FolderInUse(
                f"The data folder {root} is in use by another tmrld{_holder(layout)}. "
                "Stop that one, or choose another data folder."
            ) from error
    try:
        _bring_up_to_date(layout)
        write_manifest(layout.holder, _HOLDER_KIND, 1, {"pid": os.getpid()})
    except BaseException:
        lock.release()
        raise
    return DataFolder(layout, lock)


def control_of(layout: Layout) -> str:
    """Where the control API of the newest daemon of this folder was told to be; "" where nobody said so."""
    try:
        return str(read_manifest(layout.holder, _HOLDER_KIND, 1).get("control", ""))
    except StorageError:
        return ""


def _holder(layout: Layout) -> str:
    try:
        return f" (process {int(read_manifest(layout.holder, _HOLDER_KIND, 1)['pid'])})"
    except (StorageError, KeyError, TypeError, ValueError):
        return ""


def holder_of(layout: Layout) -> int | None:
    """The process that has a folder; 0 where it does not say which it is, None where nobody has it.  Raises StorageError."""
    if not layout.lock.exists():
        return None
    lock = filelock.FileLock(layout.lock, timeout=0, mode=0o600, thread_local=False)
    with explaining("look who uses", layout.root):
        try:
            with lock:
                return None
        except filelock.Timeout:
            said = re.search(r"[0-9]+", _holder(layout))
            return int(said[0]) if said else 0


def check_version(layout: Layout) -> None:
    """Raises StorageError for a folder that a newer tmrld has made, and Damaged."""
    if layout.version.exists():
        read_manifest(layout.version, _KIND, LAYOUT_VERSION)


def _bring_up_to_date(layout: Layout) -> None:
    """Each step can be repeated, and the version is written after it: what a killed process left undone, the next one does."""
    version = LAYOUT_VERSION
    if layout.version.exists():
        version, _ = read_versioned_manifest(layout.version, _KIND, LAYOUT_VERSION)
    else:
        write_manifest(layout.version, _KIND, LAYOUT_VERSION, {})
    for older in range(version, LAYOUT_VERSION):
        UPGRADES[older](layout.root)
        write_manifest(layout.version, _KIND, older + 1, {})


def network_type(path: Path) -> str | None:
    """The type of the network drive on which ``path`` lies ("nfs4", "network share", …); None for local or unknown ones."""
    if sys.platform == "win32":
        return _windows_network_type(path)
    try:
        return network_type_among(path.resolve(), mounts_of(Path("/proc/self/mounts").read_text(errors="replace")))
    except OSError:
        return None


def mounts_of(table: str) -> list[tuple[str, str]]:
    """(mount point, type) of each line of Linux's table of mounts, where a space in a path is written ``\\040``."""
    rows = (line.split() for line in table.splitlines())
    return [(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), row[1]), row[2]) for row in rows if len(row) > 2]


def network_type_among(path: Path, mounts: Iterable[tuple[str, str]]) -> str | None:
    """The same, given the mounts as (mount point, type) in the order in which they were mounted: the deepest and newest counts."""
    found, depth = "", -1
    for point, kind in mounts:
        mount = Path(point)
        if path.is_relative_to(mount) and len(mount.parts) >= depth:
            found, depth = kind.lower(), len(mount.parts)
    return found if found in _NETWORK_TYPES else None


def _windows_network_type(path: Path) -> str | None:
    if path.drive.startswith("\\\\"):
        return "network share"
    if sys.platform == "win32":
        import ctypes

        drive_remote = 4
        if ctypes.windll.kernel32.GetDriveTypeW(path.drive + "\\") == drive_remote:
            return "mapped drive"
    return None
