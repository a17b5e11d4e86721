"""The relay's disk budget: what its files take, and what goes, in which order, when that is too much.

What goes first:

1. leftovers: what killed processes left half written, what was set aside as damaged, databases as they were before an upgrade
2. samples: segments of the log that neither a trainer nor a kept checkpoint needs
3. weights: versions beside the newest, the best and the pinned
4. checkpoints: those beside the newest, the best and the pinned
5. samples again: those that only these checkpoints needed

Runs that are not at work come before those that are, and among them the one that was made first.  What is pinned, and what a resume
needs (the newest checkpoint, and the log from its window on), never goes: when it alone is too much, collection stops, with a
problem that says so, and goes on when there is room.  A run's own quotas (`RelayOptions`) are kept the same way, run by run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from tmrld.errors import NotFound, StorageError
from tmrld.relay.options import RelayOptions
from tmrld.storage.blobs import MAX_BYTES
from tmrld.storage.files import explaining, remove_file
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore
from tmrld.storage.usage import Usage, leftovers, measured, size_of

log = logging.getLogger(__name__)

MEASURED_EVERY_S = 30.0
"""How often the files that do not grow with each chunk are looked at."""
AT_WORK = ("running", "paused")


@dataclass(frozen=True)
class Freed:
    """What has gone, or would: of a run ("" for what is nobody's), of a ``kind``, in words, and its size."""

    run: str
    kind: str
    what: str
    size_bytes: int


class _Hub(Protocol):
    """What this module asks of a run's hub."""

    @property
    def log_bytes(self) -> int:
        """What the log takes."""

    async def free_samples(self, wanted_bytes: int, *, trimmed: bool = False, dry_run: bool = False) -> int:
        """Free that much of the log, or as much as can be; tells how much."""


class Housekeeper:
    """Keeps the quota of all runs together, and cleans when somebody asks for it.  Belongs to the relay's event loop.

    ``hubs`` are the runs that are open; ``open_hub`` opens one.
    """

    def __init__(
        self,
        layout: Layout,
        store: RunStore,
        options: RelayOptions,
        hubs: Mapping[str, _Hub],
        open_hub: Callable[[str], Awaitable[_Hub]],
    ) -> None:
        self._layout = layout
        self._store = store
        self._options = options
        self._hubs = hubs
        self._open_hub = open_hub
        self._busy = asyncio.Lock()
        self._rest_bytes = 0
        """What everything takes but the logs of the open runs, as it was last seen."""
        self._told: dict[str, str] = {}
        """Why nothing of a run could be freed, as it was last told."""

    async def run(self) -> None:
        """Look at the files now and then, until cancelled."""
        while True:
            try:
                await self.measure()
            except StorageError as error:
                log.warning("what the files take cannot be seen: %s", error)
            await asyncio.sleep(MEASURED_EVERY_S)

    async def measure(self) -> Usage:
        """What the files take now, the database without its free pages, which it fills again.  Raises StorageError."""
        usage = await asyncio.to_thread(measured, self._layout)
        free_bytes = await asyncio.to_thread(self._store.free_bytes)
        usage = replace(usage, database_bytes=max(0, usage.database_bytes - free_bytes))
        self._rest_bytes = usage.relay_bytes - sum(hub.log_bytes for hub in self._hubs.values())
        return usage

    @property
    def total_bytes(self) -> int:
        """What counts for the quota of all runs together, near enough."""
        return self._rest_bytes + sum(hub.log_bytes for hub in self._hubs.values())

    async def lack_of_room(self, more_bytes: int, *, beside_log: bool = False) -> str:
        """Make sure that so much can be stored; if that cannot be, why.

        What is no part of a log (``beside_log``) counts from now on, until the files are looked at.
        """
        reason = await self._make_room(more_bytes)
        if beside_log and not reason:
            self._rest_bytes += more_bytes
        return reason

    async def _make_room(self, more_bytes: int) -> str:
        quota = self._options.total_bytes
        if self.total_bytes + more_bytes <= quota:
            return ""
        async with self._busy:
            await self.measure()
            if (excess := self.total_bytes + more_bytes - quota) > 0:
                for freed in await self._free(excess):
                    log.info("%s of %s: %s", freed.kind, freed.run or "the relay", freed.what)
                await self.measure()
        if self.total_bytes + more_bytes <= quota:
            return ""
        return (
            f"all runs together take {self.total_bytes:,} bytes, may take {quota:,} (relay.total_bytes), and nothing more can go "
            "that is neither pinned nor needed to resume: delete a run, unpin something, or raise the quota"
        )

    async def clean(self, run: str = "", *, dry_run: bool = False) -> list[Freed]:
        """Let everything go that is neither pinned nor needed to resume, of one run or of all; tells what.

        Raises NotFound and StorageError.
        """
        if run:
            self._store.get(run)
        async with self._busy:
            freed = await self._free(MAX_BYTES, run, dry_run=dry_run)
            await self.measure()
            return freed

    async def _free(self, wanted_bytes: int, only: str = "", *, dry_run: bool = False) -> list[Freed]:
        """Go down the order until enough is free."""
        done: list[Freed] = []
        with self._passing_over("", only):
            done += await asyncio.to_thread(self._leftovers, only, dry_run)
        runs = [only] if only else self._in_order()
        log_steps = (False,) if not dry_run else ()
        for trimmed in (*log_steps, True):
            if trimmed:
                for kind in ("weights", "checkpoints"):
                    for run in runs:
                        if _total(done) < wanted_bytes:
                            with self._passing_over(run, only):
                                done += await asyncio.to_thread(self._trim, run, kind, dry_run)
            for run in runs:
                if (missing := wanted_bytes - _total(done)) > 0:
                    with self._passing_over(run, only):
                        hub = self._hubs.get(run) or await self._open_hub(run)
                        if size := await hub.free_samples(missing, trimmed=trimmed, dry_run=dry_run):
                            done.append(Freed(run, "samples", "the oldest that no checkpoint needs", size))
        return done

    @contextmanager
    def _passing_over(self, run: str, only: str) -> Iterator[None]:
        """A run that was deleted meanwhile, or whose files cannot be used, keeps nobody from freeing what others take.

        Whoever asked for this one ``only`` gets the error.
        """
        try:
            yield
        except (NotFound, StorageError) as error:
            if only:
                raise
            if isinstance(error, StorageError) and self._told.get(run) != str(error):
                self._told[run] = str(error)
                log.warning("nothing of %s can be freed: %s", f"the run {run}" if run else "what was left over", error)

    def _in_order(self) -> list[str]:
        """All runs, those that can do best without first."""
        return [run.name for run in sorted(self._store.all(), key=lambda run: run.state in AT_WORK)]

    def _leftovers(self, run: str, dry_run: bool) -> list[Freed]:
        with explaining("look for what was left over in", self._layout.relay):
            lost = sorted(leftovers(self._layout, run))
            freed = [Freed(run, "leftovers", str(path.relative_to(self._layout.root)), size_of([path])) for path in lost]
        if not dry_run:
            for path in lost:
                remove_file(path)
        return freed

    def _trim(self, run: str, kind: str, dry_run: bool) -> list[Freed]:
        if kind == "weights":
            versions = self._store.weights.trim(run, dry_run=dry_run)
            return [Freed(run, kind, f"version {info.version}", info.size) for info in versions]
        checkpoints = self._store.checkpoints.trim(run, dry_run=dry_run)
        return [Freed(run, kind, f"the one at update {info.update}", info.size) for info in checkpoints]


def _total(freed: list[Freed]) -> int:
    return sum(each.size_bytes for each in freed)
