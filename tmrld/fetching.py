"""What a node needs of its relay's shelf: which files its assignment names, which of them are here, and where.

They lie in a folder of the node's, by checksum: another file of the same name is another file.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmrld.errors import BadInput, ProtocolError
from tmrld.protocol.messages import FetchFile, FileMessage
from tmrld.storage.files import make_folder, read_file, sha256, write_atomic
from tmrld.storage.layout import checked_name
from tmrld.storage.shelf import ENDINGS

INVALID = 1007
"""Close code for what a message may not hold (RFC 6455, section 7.4.1)."""

_CHECKSUM = re.compile("[0-9a-f]{64}")


class FetchedFiles:
    """The files in ``folder``.  All methods read or write the disk and may be called in a thread; they raise StorageError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def missing(self, files: Sequence[Any]) -> FetchFile | None:
        """What to ask for next so that all the ``files`` of an `Assign` are here, whole; None when they are."""
        for kind, name, checksum in _checked(files):
            path = self._path(kind, name, checksum)
            if not path.exists() or sha256(read_file(path)) != checksum:
                return FetchFile(kind, name, checksum)
        return None

    def keep(self, message: FileMessage) -> None:
        """Store a file that has come.  Raises ProtocolError for one that is not what it says."""
        ((kind, name, checksum),) = _checked([[message.kind, message.name, message.sha256, len(message.payload)]])
        if sha256(message.payload) != checksum:
            raise ProtocolError(f"the file {kind}/{name} came damaged: it does not match its checksum", INVALID)
        path = self._path(kind, name, checksum)
        make_folder(path.parent)
        write_atomic(path, message.payload)

    def paths(self, files: Sequence[Any]) -> dict[str, str]:
        """Where these files lie, by "kind/name"."""
        return {f"{kind}/{name}": str(self._path(kind, name, checksum)) for kind, name, checksum in _checked(files)}

    def keep_only(self, files: Sequence[Any]) -> None:
        """Remove all other files; what cannot be removed stays until the next time."""
        wanted = {self._path(*each).parent for each in _checked(files)}
        for folder in self._folder.glob("*/*"):
            if folder not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, kind: str, name: str, checksum: str) -> Path:
        """Its last part is the name that people know it by."""
        return self._folder / kind / checksum[:32] / f"{name}{ENDINGS[kind]}"


def _checked(files: Sequence[Any]) -> list[tuple[str, str, str]]:
    """Kind, name and checksum of each, safe to make a path of.  Raises ProtocolError."""
    found = []
    for each in files:
        if not (isinstance(each, list | tuple) and len(each) == 4 and all(isinstance(part, str) for part in each[:3])):
            raise ProtocolError(f"assign.files holds {str(each)[:40]!r}, expected [kind, name, sha256, size_bytes]", INVALID)
        kind, name, checksum = each[:3]
        try:
            checked_name(name, "a file")
        except BadInput as error:
            raise ProtocolError(f"assign.files: {error}", INVALID) from error
        if kind not in ENDINGS or not _CHECKSUM.fullmatch(checksum):
            raise ProtocolError(f"assign.files holds {kind[:20]!r} {checksum[:20]!r}, which is no kind and checksum", INVALID)
        found.append((kind, name, checksum))
    return found
