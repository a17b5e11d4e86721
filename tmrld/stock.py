"""The files that runs refer to by name, as people see them, put them on the relay's shelf and take them away.

Everything is read and written in threads.  ``kind`` is one of `tmrld.storage.shelf.KINDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from tmrld.configuration import references
from tmrld.errors import Conflict, NotFound
from tmrld.events import Feed
from tmrld.storage.episodes import Choice
from tmrld.storage.runs import RunStore
from tmrld.storage.shelf import Item, Shelf, check_name, check_size
from tmrld.storage.tracks import Track, thinned

Accept = Callable[[str, bytes], tuple[bytes, dict[str, Any]]]
"""What makes a file that has come one for the shelf, and tells its facts (`tmrld.shelving.accepted`); raises BadInput."""

WORKING = ("running", "paused", "queued")
"""States of runs that cannot do without their files."""


@dataclass(frozen=True)
class MakingView:
    """Demonstrations that are made of a run: ``state`` is "making", "made" or "failed", with ``detail`` saying why.

    ``done`` is the share of the work that is done, from 0 to 1; ``episodes`` are those in the file, in the end; ``missing`` were
    chosen, and are not whole in the sample log any more.
    """

    run: str
    name: str
    state: str
    done: float = 0.0
    episodes: int = 0
    missing: int = 0
    detail: str = ""


class ShelfRole(Protocol):
    """What this module asks of the relay role."""

    def shelf_changed(self) -> None:
        """Let the runs that refer to a file notice."""

    async def make_demonstrations(
        self, run: str, name: str, choice: Choice, put: Callable[[bytes], Awaitable[object]]
    ) -> MakingView:
        """Begin to make a file of training episodes of a run, which ``put`` puts on the shelf in the end."""

    def making(self, run: str) -> MakingView | None:
        """What the newest demonstrations of a run have come to since this relay began; None where there are none."""


@dataclass(frozen=True)
class ItemView:
    """A file on the shelf; ``made`` is when it was put there, ``runs`` are those that refer to it, oldest first."""

    kind: str
    name: str
    file: str
    sha256: str
    size_bytes: int
    made: float
    bundled: bool
    about: dict[str, Any]
    runs: list[str]


class Stock:
    """The shelf of one relay.  Raises NotFound for a name that is not there."""

    def __init__(self, shelf: Shelf, store: RunStore, feed: Feed, relay: ShelfRole, accept: Accept) -> None:
        self._shelf = shelf
        self._store = store
        self._feed = feed
        self._relay = relay
        self._accept = accept

    async def items(self, kind: str) -> list[ItemView]:
        """All of a kind, by name."""

        def look() -> list[ItemView]:
            users = self._users()
            return [_view(item, users) for item in self._shelf.items(kind)]

        return await asyncio.to_thread(look)

    async def item(self, kind: str, name: str) -> ItemView:
        """One file."""
        return await asyncio.to_thread(lambda: _view(self._shelf.get(kind, name), self._users()))

    async def file(self, kind: str, name: str) -> tuple[Item, bytes]:
        """What it is, and its content.  Raises Damaged."""
        return await asyncio.to_thread(self._shelf.load, kind, name)

    async def line(self, name: str, max_points: int) -> Track:
        """A track's line, evenly thinned."""
        _, data = await self.file("tracks", name)
        return await asyncio.to_thread(thinned, name, data, max_points)

    async def put(
        self, kind: str, name: str, data: bytes, facts: Mapping[str, Any] | None = None, *, replace: bool = False
    ) -> ItemView:
        """Put a file on the shelf; ``facts`` are told besides those that it tells itself.  Runs that drive with it begin anew.

        Raises BadInput for a name, size or content that cannot be, Conflict for a name that is taken unless ``replace``.
        """
        check_name(kind, name)
        check_size(kind, len(data))

        def work() -> Item:
            accepted, about = self._accept(kind, data)
            return self._shelf.put(kind, name, accepted, {**(facts or {}), **about}, replace=replace)

        item = await asyncio.to_thread(work)
        self._changed(kind, name)
        return await self.item(kind, item.name)

    async def make_demonstrations(self, run: str, name: str, choice: Choice, *, replace: bool = False) -> MakingView:
        """Begin to make demonstrations of training episodes that a run has driven; `making` says what comes of it.

        Raises NotFound for a run that does not exist, BadInput for a name that cannot be, and Conflict for one that is taken unless
        ``replace``, for a run that has driven no such episode, and while others are made of it.
        """
        kind = "demonstrations"
        check_name(kind, name)
        if not replace and any(item.name == name for item in await asyncio.to_thread(self._shelf.items, kind)):
            raise Conflict(f"there are {kind} called {name!r} already: choose another name, or replace them (--force)")
        return await self._relay.make_demonstrations(
            run, name, choice, lambda data: self.put(kind, name, data, {"run": run}, replace=replace)
        )

    async def making(self, run: str) -> MakingView:
        """The newest demonstrations that were made of a run, or are.  Raises NotFound."""
        await asyncio.to_thread(self._store.get, run)
        found = self._relay.making(run)
        if found is None:
            raise NotFound(f"no demonstrations were made of the run {run} since this relay began")
        return found

    async def delete(self, kind: str, name: str) -> None:
        """Take a file away.  Raises Conflict while a run that is not stopped refers to it, or when tmrld brings it."""

        def work() -> None:
            users = self._users(WORKING).get((kind, name), [])
            if users:
                raise Conflict(f"{name!r} is needed by the run {users[0]}: stop it, or have it use something else")
            self._shelf.delete(kind, name)

        await asyncio.to_thread(work)
        self._changed(kind, name)

    def _changed(self, kind: str, name: str) -> None:
        self._relay.shelf_changed()
        self._feed.publish("shelf", {"kind": kind, "name": name})

    def _users(self, states: tuple[str, ...] = ()) -> dict[tuple[str, str], list[str]]:
        """The runs in these states (any) that refer to each file."""
        users: dict[tuple[str, str], list[str]] = {}
        for run in self._store.all():
            if not states or run.state in states:
                with suppress(NotFound):  # the run was deleted just now
                    for each in references(self._store.revision(run.name).config):
                        names = users.setdefault((each.kind, each.name), [])
                        if run.name not in names:
                            names.append(run.name)
        return users


def _view(item: Item, users: Mapping[tuple[str, str], list[str]]) -> ItemView:
    about = {key: value for key, value in item.about.items() if key != "bundled"}
    runs = users.get((item.kind, item.name), [])
    return ItemView(
        kind=item.kind,
        name=item.name,
        file=item.file_name,
        sha256=item.sha256,
        size_bytes=item.size_bytes,
        made=item.made,
        bundled=item.bundled,
        about=about,
        runs=runs,
    )
