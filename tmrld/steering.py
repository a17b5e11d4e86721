"""Runs as people make, change and end them: what the control API asks for beyond looking.

A configuration is changed by a merge patch against the revision that its author saw.  What that does to a run under way is said for
each field (`tmrld.applies`); a change that only a new run can have is refused once the run has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tmrld.configuration import Change, InvalidConfig, changes, checked, patched, references
from tmrld.errors import Conflict, NotFound
from tmrld.presets import PRESETS, Preset, preset
from tmrld.storage.runs import Revision, Run, RunStore
from tmrld.storage.shelf import PUT_BY, Shelf
from tmrld.validation import FieldProblem


class RunsRole(Protocol):
    """What this module asks of the relay role."""

    async def create_run(self, name: str, config: Mapping[str, Any], author: str, start: str = "no") -> None:
        """Make a run; ``start`` is "now", "queue" or "no"."""

    async def delete_run(self, name: str) -> None:
        """Remove a run that is not active."""

    async def change_config(self, name: str, config: Mapping[str, Any], base: int, author: str) -> Revision:
        """Store another revision, and let it take effect."""

    async def assign(self, node: str, run: str | None, take_over: bool = False) -> None:
        """Give a node to a run, or leave it to the relay; a trainer may take over from the run's."""


@dataclass(frozen=True)
class Edit:
    """A configuration that was changed, or (``revision`` is then the one before) would be."""

    revision: int
    config: dict[str, Any]
    changes: list[Change]


@dataclass(frozen=True)
class RevisionView:
    """A revision, and in what it differs from the one before it."""

    revision: int
    author: str
    time: float
    config: dict[str, Any]
    changes: list[Change]


class Steering:
    """The runs of one relay, which refer to files of its shelf.

    Raises NotFound for a run that does not exist, Conflict for what its state forbids, `InvalidConfig` for a configuration that
    cannot be used; then nothing is changed.
    """

    def __init__(self, store: RunStore, shelf: Shelf, relay: RunsRole) -> None:
        self._store = store
        self._shelf = shelf
        self._relay = relay

    def presets(self) -> list[tuple[Preset, dict[str, Any]]]:
        """The presets, each with its whole configuration."""
        return [(each, checked(each.config)) for each in PRESETS]

    async def create(self, name: str, preset_name: str | None, patch: Mapping[str, Any], start: str, author: str) -> None:
        """Make a run from a preset (None: the defaults) and a merge patch over it; ``start`` is "now", "queue" or "no"."""
        base = checked(preset(preset_name).config if preset_name is not None else {})
        await self._make(name, checked(patched(base, patch)), author, start)

    async def clone(self, run: str, name: str, patch: Mapping[str, Any], start: str, author: str) -> None:
        """Make a run with another one's configuration and a merge patch over it.  It learns from nothing."""
        base = await asyncio.to_thread(self._store.revision, run)
        await self._make(name, checked(patched(base.config, patch)), author, start)

    async def _make(self, name: str, config: Mapping[str, Any], author: str, start: str) -> None:
        await asyncio.to_thread(self._check_files, config)
        await self._relay.create_run(name, config, author, start)

    async def delete(self, run: str) -> None:
        """Remove a run that is not active, with everything that it has brought."""
        await self._relay.delete_run(run)

    async def assign(self, node: str, run: str | None, take_over: bool = False) -> None:
        """Give a node to a run, or (None) leave it to the relay.  Raises Conflict where another trainer has it and is to keep it."""
        await self._relay.assign(node, run, take_over)

    async def config(self, run: str, number: int | None = None) -> RevisionView:
        """One revision of a run's configuration, the newest by default."""
        history = await self.history(run)
        if number is None:
            return history[0]
        found = next((view for view in history if view.revision == number), None)
        if found is None:
            raise NotFound(f"the run {run} has no revision {number}: the newest is {history[0].revision}")
        return found

    async def history(self, run: str) -> list[RevisionView]:
        """All revisions, newest first."""
        revisions = await asyncio.to_thread(self._store.revisions, run)
        views = []
        before: dict[str, Any] = revisions[0].config
        for each in revisions:
            views.append(RevisionView(each.number, each.author, each.time, each.config, changes(before, each.config)))
            before = each.config
        return views[::-1]

    async def patch(self, run: str, patch: Mapping[str, Any], base: int, author: str, *, dry_run: bool = False) -> Edit:
        """Change what a merge patch says, against revision ``base``; a dry run finds everything that is wrong and stores nothing."""
        found, newest = await self._at(run, base)
        return await self._edit(found, newest, patched(newest.config, patch), author, dry_run=dry_run)

    async def rollback(self, run: str, to: int, base: int, author: str) -> Edit:
        """Give a run the configuration again that it had at revision ``to``, as a new revision."""
        found, newest = await self._at(run, base)
        wanted = await asyncio.to_thread(self._store.revision, run, to)
        return await self._edit(found, newest, wanted.config, author)

    async def _at(self, run: str, base: int) -> tuple[Run, Revision]:
        """The run, and its newest revision, which must be this one."""
        found, newest = await asyncio.to_thread(lambda: (self._store.get(run), self._store.revision(run)))
        if newest.number != base:
            raise Conflict(
                f"the configuration of {run} is at revision {newest.number}, which {newest.author} made, and not at {base} any "
                "more: load it again and repeat the change"
            )
        return found, newest

    async def _edit(self, run: Run, newest: Revision, config: Mapping[str, Any], author: str, *, dry_run: bool = False) -> Edit:
        after = checked(config)
        found = changes(newest.config, after)
        if run.spec is not None or run.state in ("running", "paused"):
            _refuse_new_run(run.name, found)
        await asyncio.to_thread(self._check_files, after, newest.config)
        if dry_run or not found:
            return Edit(newest.number, after, found)
        revision = await self._relay.change_config(run.name, after, newest.number, author)
        return Edit(revision.number, revision.config, found)

    def _check_files(self, config: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
        """Raises InvalidConfig for what this configuration refers to, and the one before did not, that is not on the shelf."""
        known = references(before or {})
        missing = []
        for each in references(config):
            if each not in known:
                try:
                    self._shelf.get(each.kind, each.name)
                except NotFound as error:
                    end = "" if str(error).endswith("?") else "."
                    message = f"{error}{end} `{PUT_BY[each.kind]} {each.name}` puts it there"
                    sentence = f"{each.path} = {each.name!r} cannot be used: {message}"
                    missing.append(FieldProblem(each.path, message, each.name, sentence))
        if missing:
            raise InvalidConfig(missing)


def _refuse_new_run(run: str, found: list[Change]) -> None:
    """Raises InvalidConfig for what would not fit what this run has learned and collected."""
    refused = [
        FieldProblem(
            change.path,
            "this needs a new run: clone this one and change it there",
            change.after,
            f"{change.path} cannot be changed now that {run} has begun, what it learned would no longer fit: "
            f"clone the run with another value",
        )
        for change in found
        if change.applies == "new-run"
    ]
    if refused:
        raise InvalidConfig(refused)
