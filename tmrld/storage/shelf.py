"""The shelf: tracks, weights and demonstrations that runs refer to by name.

::

    shelf/lock                             held, for a moment, by whoever changes something
          <kind>/<name>/item.json          what it is: checksum, size, facts
                        <checksum>.<ending>  the file itself, as it came

A file is known when its ``item.json`` names it, and that is replaced as a whole: the command line and a daemon may use one shelf at
the same time.  The policies that tmrld brings stand on every shelf, and stay there.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError, safe_open

from tmrld.errors import BadInput, Conflict, Damaged, NotFound, StorageError
from tmrld.storage.blobs import keep_only
from tmrld.storage.files import explaining, make_folder, read_file, read_manifest, sha256, write_atomic, write_manifest
from tmrld.storage.layout import checked_name

log = logging.getLogger(__name__)

MIB = 2**20
KINDS = ("tracks", "weights", "demonstrations")
ENDINGS = {"tracks": ".npy", "weights": ".safetensors", "demonstrations": ".demonstrations"}
"""Of the files of each kind."""
MAX_BYTES = {"tracks": 32 * MIB, "weights": 256 * MIB, "demonstrations": 256 * MIB}
"""No file is larger."""
BUNDLED = Path(__file__).parent.parent / "policies"
"""Where the weights lie that tmrld brings."""
LOCK_S = 30.0

_ITEM_KIND = "tmrld shelf item"
PUT_BY = {
    "tracks": "tmrld track upload",
    "weights": "tmrld weights upload",
    "demonstrations": "tmrld demonstration upload",
}
"""The command that copies a file of each kind from this machine's shelf to a relay's."""
_ONE = {"tracks": "track", "weights": "weights", "demonstrations": "demonstration"}
_LISTED_BY = {"tracks": "tmrld track list", "weights": "tmrld weights list", "demonstrations": "tmrld demonstration list"}


@dataclass(frozen=True)
class Item:
    """A file on the shelf.  ``made`` is when it was put there, in seconds since 1970; ``about`` has the facts of its kind."""

    kind: str
    name: str
    sha256: str
    size_bytes: int
    made: float
    about: dict[str, Any]

    @property
    def bundled(self) -> bool:
        """Whether tmrld brings it."""
        return bool(self.about.get("bundled"))

    @property
    def file_name(self) -> str:
        """What a copy of it is called."""
        return f"{self.name}{ENDINGS[self.kind]}"


class Shelf:
    """The files in ``folder``, by kind (one of `KINDS`) and name.  Safe to use from several threads and processes at once."""

    def __init__(self, folder: Path, bundled: Path = BUNDLED) -> None:
        self._folder = folder
        self._bundled = bundled

    def put(self, kind: str, name: str, data: bytes, about: Mapping[str, Any] | None = None, *, replace: bool = False) -> Item:
        """Put a file on the shelf, or the same file again.

        Raises BadInput for a name or size that cannot be, Conflict for a name that is taken unless ``replace``, DiskFull.
        """
        check_name(kind, name)
        check_size(kind, len(data))
        with self._changing():
            known = next((item for item in self.items(kind) if item.name == name), None)
            if known is not None and known.bundled:
                raise Conflict(f"{name!r} is the name of weights that tmrld brings: choose another name")
            checksum = sha256(data)
            if known is not None and known.sha256 == checksum and self._is_whole(known) and not replace:
                return known
            if known is not None and known.sha256 != checksum and not replace:
                raise Conflict(f"there are {kind} called {name!r} already: choose another name, or replace them (--force)")
            facts = {key: value for key, value in (about or {}).items() if key != "bundled"}
            item = Item(kind, name, checksum, len(data), time.time(), facts)
            folder = make_folder(self._folder / kind / name)
            path = self._path(item)
            write_atomic(path, data)
            content = {"sha256": item.sha256, "size_bytes": item.size_bytes, "made": item.made, "about": item.about}
            write_manifest(folder / "item.json", _ITEM_KIND, 1, content)
            with suppress(StorageError):  # on Windows somebody may be reading the file before; it goes next time
                keep_only(folder, ("item.json", path.name))
            return item

    def get(self, kind: str, name: str) -> Item:
        """What there is under a name.  Raises NotFound, with the nearest name, or Damaged."""
        if name.startswith("bundled-") and kind == "weights":
            for item in self._brought():
                if item.name == name:
                    return item
        try:
            folder = self._folder / kind / checked_name(name, _ONE[kind])
        except BadInput:
            raise self._not_found(kind, name) from None
        if not (folder / "item.json").exists():
            raise self._not_found(kind, name)
        content = read_manifest(folder / "item.json", _ITEM_KIND, 1)
        try:
            return Item(
                kind,
                name,
                str(content["sha256"]),
                int(content["size_bytes"]),
                float(content["made"]),
                dict(content["about"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{folder / 'item.json'} is damaged ({error!r}): delete it, and upload the file again") from error

    def load(self, kind: str, name: str) -> tuple[Item, bytes]:
        """What there is under a name, and its file.  Raises NotFound, and Damaged when the checksum differs."""
        item = self.get(kind, name)
        while True:
            try:
                return item, self._read(item)
            except StorageError:
                before, item = item, self.get(kind, name)
                if item.sha256 == before.sha256:  # nobody has replaced it in between
                    raise

    def read(self, kind: str, name: str) -> bytes:
        """The file of a name, as `load` has it."""
        return self.load(kind, name)[1]

    def items(self, kind: str) -> list[Item]:
        """All of a kind, by name; what is damaged is left out, and told in the log."""
        folder = self._folder / kind
        names = []
        if folder.exists():
            with explaining("list", folder):
                names = sorted(path.parent.name for path in folder.glob("*/item.json"))
        found = self._brought() if kind == "weights" else []
        for name in names:
            try:
                found.append(self.get(kind, name))
            except NotFound:
                pass  # deleted meanwhile
            except StorageError as error:
                log.error("the %s %s cannot be used: %s", _ONE[kind], name, error)
        return sorted(found, key=lambda item: item.name)

    def delete(self, kind: str, name: str) -> None:
        """Remove a file; also one that is damaged.  Raises NotFound, and Conflict for what tmrld brings."""
        with self._changing():
            try:
                bundled = self.get(kind, name).bundled
            except Damaged:
                bundled = False
            if bundled:
                raise Conflict(f"{name!r} is brought by tmrld, and cannot be deleted")
            folder = self._folder / kind / name
            with explaining("remove", folder):
                (folder / "item.json").unlink(missing_ok=True)
                shutil.rmtree(folder)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One at a time, whatever process it is in.  Raises StorageError where somebody else takes too long."""
        lock = filelock.FileLock(make_folder(self._folder) / "lock", timeout=LOCK_S, mode=0o600)
        with explaining("write in the shelf", self._folder):
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise StorageError(
                    f"the shelf {self._folder} has been in use by another tmrld for {LOCK_S:g} s: end that one, and try again"
                ) from error
        try:
            yield
        finally:
            lock.release()

    def _path(self, item: Item) -> Path:
        if item.bundled:
            return self._bundled / item.file_name
        return self._folder / item.kind / item.name / f"{item.sha256[:16]}{ENDINGS[item.kind]}"

    def _read(self, item: Item) -> bytes:
        data = read_file(self._path(item))
        if sha256(data) != item.sha256:
            raise Damaged(
                f"the {_ONE[item.kind]} {item.name!r} on the shelf does not match its checksum: delete it, and upload the file again"
            )
        return data

    def _is_whole(self, item: Item) -> bool:
        try:
            self._read(item)
        except StorageError:
            return False
        return True

    def _brought(self) -> list[Item]:
        """The weights that tmrld brings."""
        return [_bundled_item(path) for path in sorted(self._bundled.glob(f"bundled-*{ENDINGS['weights']}"))]

    def _not_found(self, kind: str, name: str) -> NotFound:
        near = get_close_matches(name, [item.name for item in self.items(kind)], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"`{_LISTED_BY[kind]}` shows what there is"
        return NotFound(f"there {'is' if _ONE[kind] != kind else 'are'} no {_ONE[kind]} {name[:80]!r} on the shelf: {hint}")


def check_name(kind: str, name: str) -> None:
    """Raises BadInput unless a file of this kind may be called so."""
    what = "weights" if kind == "weights" else f"a {_ONE[kind]}"
    checked_name(name, what)
    ending = Path(name).suffix
    if ending in (*ENDINGS.values(), ".txt", ".csv"):
        raise BadInput(f"{name!r} cannot be the name of {what}: it ends like a file's. Leave {ending!r} out.")


def check_size(kind: str, size_bytes: int) -> None:
    """Raises BadInput for a file that is too large."""
    if size_bytes > MAX_BYTES[kind]:
        what = "weights" if kind == "weights" else f"a {_ONE[kind]}"
        raise BadInput(
            f"the file has {size_bytes / MIB:,.1f} MiB, and {what} may have {MAX_BYTES[kind] // MIB} MiB: use a smaller one"
        )


def _bundled_item(path: Path) -> Item:
    data = read_file(path)
    try:
        with safe_open(path, framework="numpy") as tensors:
            manifest = json.loads(tensors.metadata()["tmrld"])
        about = {
            "environment": manifest["spec"]["id"],
            **{name: manifest[name] for name in ("update", "run", "version")},
            "bundled": True,
        }
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path} is damaged ({error}): install tmrld again") from error
    return Item("weights", path.name.removesuffix(ENDINGS["weights"]), sha256(data), len(data), path.stat().st_mtime, about)
