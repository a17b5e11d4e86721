"""What nodes need of the shelf for a run: which files these are, whether they are there, and handing them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tmrld.configuration import references
from tmrld.errors import NotFound, StorageError
from tmrld.protocol.messages import FetchFile, FileMessage
from tmrld.relay.hub import Member
from tmrld.storage.runs import Run, RunStore
from tmrld.storage.shelf import Shelf

Files = list[list[Any]]
"""As an `Assign` has them: ``[kind, name, sha256, size_bytes]``."""


class Supplies:
    """Looks on the shelf for all runs of a relay.  ``problem`` is told of a run what keeps it from going on."""

    def __init__(self, shelf: Shelf, store: RunStore, problem: Callable[[str, str], None]) -> None:
        self._shelf = shelf
        self._store = store
        self._problem = problem
        self._lacking: dict[str, str] = {}

    def needed(self, run: Run) -> dict[str, Files]:
        """What a worker and what a trainer needs for this run.

        Raises NotFound for a file that is not there; one to start from is needed no more when there is a checkpoint.
        """
        config = self._store.revision(run.name).config
        files: dict[str, Files] = {"worker": [], "trainer": []}
        for role, found in files.items():
            for each in references(config, role):
                try:
                    item = self._shelf.get(each.kind, each.name)
                except NotFound:
                    if each.path == "training.start_from" and self._store.checkpoints.newest(run.name) is not None:
                        continue
                    raise
                entry = [item.kind, item.name, item.sha256, item.size_bytes]
                if entry not in found:
                    found.append(entry)
        return files

    def ready(self, runs: Sequence[Run]) -> dict[str, dict[str, Files]]:
        """The same for those of these runs, by name, for which all is there; what another lacks is told once."""
        found: dict[str, dict[str, Files]] = {}
        lacking: dict[str, str] = {}
        for run in runs:
            try:
                found[run.name] = self.needed(run)
            except (NotFound, StorageError) as error:
                lacking[run.name] = f"the run waits: {error}"
        before, self._lacking = self._lacking, lacking
        for name, detail in lacking.items():
            if before.get(name) != detail:
                self._problem(name, detail)
        return found

    @property
    def awaited(self) -> bool:
        """Whether a run waited for a file when it was last looked."""
        return bool(self._lacking)

    async def hand_out(self, member: Member, wanted: FetchFile) -> bool:
        """Send a node a file that it needs, and nobody others; False if there is another one of that name by now."""
        kind, name = wanted.kind, wanted.name
        if not member.needs(kind, name, wanted.sha256):
            return True  # it was told to do something else meanwhile
        try:
            item, data = await asyncio.to_thread(self._shelf.load, kind, name)
        except (NotFound, StorageError) as error:
            self._problem(member.seat.run, f"{member.name} cannot begin: {error}")
            member.go_without(kind, name)
            return True
        if item.sha256 != wanted.sha256:
            return False
        member.put(FileMessage(kind, name, item.sha256, data))
        return True
