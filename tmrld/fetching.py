"""What a node needs of its relay's shelf: which files its assignment names, which of them are here, and where.

They lie in a folder of the node's, by checksum: another file of the same name is another file.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from tmrld.errors import BadInput, ProtocolError, StorageError
from tmrld.protocol.messages import FetchFile, FileMessage, Message, Status
from tmrld.storage.files import make_folder, read_file, sha256, write_atomic
from tmrld.storage.layout import checked_name
from tmrld.storage.shelf import ENDINGS

log = logging.getLogger(__name__)

RETRY_DISK_S = 5.0
"""How long to wait until a file for which there was no room is asked for again."""
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


class Fetching:
    """Gets the files of an assignment from the relay, one after another, before an engine starts.

    ``tell`` sends a message to the relay, or drops it while there is no link; ``begin`` is called when a file has come, and is to
    ask `are_here` again.  ``what`` is what waits meanwhile, for people: "training", "driving".
    """

    def __init__(
        self, folder: Path, tell: Callable[[Message], Awaitable[None]], begin: Callable[[], Awaitable[None]], what: str
    ) -> None:
        self._files = FetchedFiles(folder)
        self._tell = tell
        self._begin = begin
        self._what = what
        self._run = ""
        self._asked: FetchFile | None = None
        """What is on its way."""

    @property
    def waits(self) -> bool:
        """Whether a file is on its way."""
        return self._asked is not None

    def forget(self) -> None:
        """What was asked for is not answered any more: the link is another one, or the assignment."""
        self._asked = None

    def paths(self, files: Sequence[Any]) -> dict[str, str]:
        """Where the ``files`` of an `Assign` lie, by "kind/name"."""
        return self._files.paths(files)

    async def are_here(self, run: str, files: Sequence[Any], wanted: Callable[[], bool]) -> bool:
        """Whether all the ``files`` of an `Assign` are here; if not, the next one is asked for.

        It takes a while, after which ``wanted`` says whether they are still: False if not.
        """
        self._run = run
        try:
            missing = await asyncio.to_thread(self._files.missing, files)
        except StorageError as error:
            await self._try_later(error)
            return False
        if missing is None and wanted():
            await asyncio.to_thread(self._files.keep_only, files)
            return wanted()
        if missing is not None and missing != self._asked and wanted():
            self._asked = missing
            await self._tell(Status(run, "starting", f"fetches {missing.name!r} of the {missing.kind} on the relay's shelf"))
            await self._tell(missing)
        return False

    async def keep(self, message: FileMessage) -> None:
        """Keep a file that was asked for, and go on; without content it says that the relay does not have it now."""
        self._asked = None
        if not message.sha256:
            return
        try:
            await asyncio.to_thread(self._files.keep, message)
        except StorageError as error:
            await self._try_later(error)
        else:
            await self._begin()

    async def _try_later(self, error: StorageError) -> None:
        """There is no room, or the disk refuses: say so, and ask again in a while."""
        log.error("%s", error)
        await self._tell(Status(self._run, "problem", f"{self._what} waits for room for a file: {error}"))
        asyncio.get_running_loop().call_later(RETRY_DISK_S, self._try_again)

    def _try_again(self) -> None:
        task = asyncio.ensure_future(self._begin())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


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
