"""A running relay daemon as people and scripts see it: what may be asked, and what may be commanded.

The control API calls one method of `Node` per operation, and so may tests and the terminal.  Questions are answered from the
store; commands go to the relay role.  Errors are `NotFound`, `Conflict` and `BadInput`, with sentences.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from tmrld import __version__
from tmrld.errors import BadInput, Conflict, NotFound
from tmrld.events import Feed
from tmrld.results import CheckpointView, Results, checkpoint_view
from tmrld.scoreboard import Scoreboard
from tmrld.steering import RunsRole, Steering
from tmrld.stock import Accept, ShelfRole, Stock
from tmrld.storage.checkpoints import CheckpointInfo
from tmrld.storage.nodes import KnownNode
from tmrld.storage.runs import Run, RunStore
from tmrld.storage.shelf import Shelf
from tmrld.storage.usage import Usage

PACE_METRIC = "updates_per_s"
"""A curve that every trainer reports with every report."""
ENGINE_VERBS = ("start", "stop", "restart")
"""What a node's engine can be told."""
VERBS = ("start", "pause", "resume", "stop", "queue")
"""What a run can be told."""


DIAGNOSIS_STATES = ("ok", "note", "wrong")
MOST_DIAGNOSES = 500

AILING = ("refused", "diverged", "problem", "failed")
"""States of a node that something is wrong with, as long as it says nothing else."""

SPARK_EPISODES = 60
"""How many returns of the newest training episodes a run shows at a glance."""


class RelayRole(RunsRole, ShelfRole, Protocol):
    """What this module asks of the relay role."""

    def connected(self) -> list[NodeView]:
        """The nodes that are linked now."""

    def transitions(self, run: str) -> int:
        """Training transitions that the run's log ever took."""

    def unstored(self, run: str) -> tuple[int, int]:
        """How many chunks of the run wait at the relay for its disk, and how many bytes."""

    def trouble(self, run: str) -> str:
        """What the run waits for because of the relay's disk; "" while it does not."""

    async def command(self, name: str, verb: str) -> None:
        """Have a connected node start, stop or restart its engine."""

    async def examine(self, name: str) -> dict[str, Any]:
        """Have a connected node look what is wrong with its machine; returns its report, with its ``time``."""

    def report(self, name: str) -> dict[str, Any] | None:
        """The newest report of a node; None where there is none."""

    async def move(self, name: str, verb: str) -> None:
        """Start, pause, resume, stop or queue a run."""

    async def go_back(self, name: str, update: int, fewer_samples: bool) -> CheckpointInfo:
        """Lead a run back to one of its checkpoints, in a new lineage."""

    def log_of_node(self, node: str, limit: int) -> list[LogLineView] | None:
        """The newest log lines of a node, or of the relay itself; None where there never were any."""

    def log_of_run(self, run: str, limit: int) -> list[LogLineView]:
        """The newest log lines of all nodes from when they worked for a run."""

    def watching(self, run: str) -> AbstractContextManager[None]:
        """Workers of the run send pictures as long as this is open."""

    async def storage(self) -> StorageView:
        """What the files take on the disk."""

    async def clean_storage(self, run: str, *, dry_run: bool) -> list[FreedView]:
        """Let everything go that is neither pinned nor needed to resume."""


@dataclass(frozen=True)
class StorageView:
    """What the files of a relay take; ``quota_bytes`` is for all runs together, ``log_quota_bytes`` for the sample log of each."""

    usage: Usage
    quota_bytes: int
    log_quota_bytes: int


@dataclass(frozen=True)
class FreedView:
    """What has gone from the disk, or would: of a run ("" for nobody's), its kind, in words, and its size."""

    run: str
    kind: str
    what: str
    size_bytes: int


@dataclass(frozen=True)
class NodeView:
    """A node that is known.  ``run`` is what it works for ("" for nothing); ``values`` are numbers it reports of itself.

    ``state`` is "away" while it is not ``connected``; ``last_seen`` is then when it was, in seconds since 1970.  ``assigned`` is
    the run that a person has chosen for it.
    """

    name: str
    role: str
    version: str
    remote: str
    run: str
    state: str
    detail: str
    latency_s: float | None
    machine: dict[str, Any]
    values: dict[str, Any]
    connected: bool = True
    last_seen: float = 0.0
    assigned: str | None = None


@dataclass(frozen=True)
class DiagnosisView:
    """What one look found (`tmrld.doctor.diagnosis`): ``state`` is "ok", "note" or "wrong"; ``mend`` says what to do."""

    area: str
    check: str
    state: str
    text: str
    mend: str
    code: str


@dataclass(frozen=True)
class ExaminationView:
    """What was found when a node's machine was looked at; ``picture`` is a JPEG of what it sees of the game, b"" for none."""

    time: float
    diagnoses: tuple[DiagnosisView, ...]
    picture: bytes

    @property
    def state(self) -> str:
        """The worst that was found."""
        return max((each.state for each in self.diagnoses), key=DIAGNOSIS_STATES.index, default="ok")


@dataclass(frozen=True)
class RunView:
    """A run at a glance.

    ``transitions`` counts what the sample log ever took; ``update`` is the newest one reported.  ``spark`` are the returns of its
    newest training episodes, oldest first; ``trainer`` and ``workers`` are connected and work for it.  ``problem`` is what the
    relay, or one of these, says of what is wrong with it now.  ``unstored_chunks`` have arrived at the relay and wait for its disk.
    """

    name: str
    state: str
    created: float
    revision: int
    config: dict[str, Any]
    lineage: int
    update: int
    transitions: int
    episodes: int
    best_lap_s: float | None
    weights_version: int
    queued_position: int | None = None
    trainer: str | None = None
    workers: tuple[str, ...] = ()
    updates_per_s: float = 0.0
    last_return: float | None = None
    spark: tuple[float, ...] = ()
    problem: str | None = None
    unstored_chunks: int = 0
    unstored_bytes: int = 0


@dataclass(frozen=True)
class LogLineView:
    """A log line of a node or its engine; ``time`` is the relay's at receipt, in seconds since 1970."""

    time: float
    level: str
    source: str
    text: str


class Node:
    """One relay daemon.  Methods that read the disk are coroutines and do so in threads.

    ``accept`` checks what is to go on the shelf.
    """

    def __init__(
        self,
        name: str,
        roles: Sequence[str],
        feed: Feed,
        store: RunStore,
        shelf: Shelf,
        relay: RelayRole,
        accept: Accept,
    ) -> None:
        self.name = name
        self.roles = tuple(roles)
        self.feed = feed
        self.results = Results(store)
        self.scoreboard = Scoreboard(store, feed)
        self.steering = Steering(store, shelf, relay)
        self.stock = Stock(shelf, store, feed, relay, accept)
        self._store = store
        self._relay = relay
        self._began = time.monotonic()

    def health(self) -> dict[str, Any]:
        """That it is alive, for how long, and as what."""
        return {"status": "ok", "version": __version__, "uptime_s": time.monotonic() - self._began, "roles": list(self.roles)}

    async def nodes(self) -> list[NodeView]:
        """The workers and trainers that are known, those that are connected first."""
        known = await asyncio.to_thread(self._store.nodes.all)
        assigned = await asyncio.to_thread(self._store.assignments.all)
        connected = self._relay.connected()
        names = {view.name for view in connected}
        return connected + [_away(each, assigned.get(each.name)) for each in known if each.name not in names]

    async def assign_node(self, name: str, run: str | None, take_over: bool = False) -> NodeView:
        """Give a node to a run, or (None) leave it to the relay again.

        Raises NotFound, and Conflict for a trainer of a run that another one trains, unless it is to ``take_over``.
        """
        await self.known(name)
        await self.steering.assign(name, run, take_over)
        return await self.known(name)

    async def command_node(self, name: str, verb: str) -> NodeView:
        """Have a node start, stop or restart its engine; returns when that is done.

        Raises NotFound, Conflict for one that is away or cannot, LinkLost for one that does not answer.
        """
        if verb not in ENGINE_VERBS:
            raise BadInput(f"an engine cannot be told to {verb!r}: the words are {', '.join(ENGINE_VERBS)}")
        await self.known(name)
        await self._relay.command(name, verb)
        return await self.known(name)

    async def examine_node(self, name: str) -> ExaminationView:
        """Have a node look what is wrong with its machine; returns when that is done.  Raises as `command_node`."""
        await self.known(name)
        return _examination(name, await self._relay.examine(name))

    async def examination(self, name: str) -> ExaminationView:
        """What the newest examination of a node found.  Raises NotFound where there was none."""
        await self.known(name)
        report = self._relay.report(name)
        if report is None:
            raise NotFound(f"{name} was not examined since this relay began: `tmrld node doctor {name}` does it")
        return _examination(name, report)

    async def known(self, name: str) -> NodeView:
        views = await self.nodes()
        found = next((view for view in views if view.name == name), None)
        if found is None:
            near = get_close_matches(name, [view.name for view in views], n=1)
            raise NotFound(f"there is no node {name[:80]!r}" + (f": did you mean {near[0]!r}?" if near else ""))
        return found

    async def runs(self) -> list[RunView]:
        """All runs, oldest first."""
        return await asyncio.to_thread(lambda: [self._view(run) for run in self._store.all()])

    async def run(self, name: str) -> RunView:
        """One run.  Raises NotFound."""
        return await asyncio.to_thread(lambda: self._view(self._store.get(name)))

    async def move_run(self, name: str, verb: str) -> RunView:
        """Tell a run to start, pause, resume or stop, or to "queue" until a trainer has nothing to do.

        Raises NotFound, and Conflict when its state forbids it.
        """
        if verb not in VERBS:
            raise BadInput(f"a run cannot be told to {verb!r}: the words are {', '.join(VERBS)}")
        await self._relay.move(name, verb)
        return await self.run(name)

    async def resume_checkpoint(self, run: str, update: int, fewer_samples: bool) -> CheckpointView:
        """Lead a run back to one of its checkpoints: it is returned as the newest, of a new lineage, and trainers go on from it.

        What came after it is hidden, not deleted.  Raises NotFound, and Conflict where it is damaged, too few of its samples are
        left, or (without ``fewer_samples``) not all.
        """
        return checkpoint_view(await self._relay.go_back(run, update, fewer_samples))

    async def storage(self) -> StorageView:
        """What the files of this relay take on the disk.  Raises StorageError."""
        return await self._relay.storage()

    async def clean_storage(self, run: str | None, dry_run: bool) -> list[FreedView]:
        """Let everything go that is neither pinned nor needed to resume, of one run or of all; tells what, in order.

        With ``dry_run`` nothing goes.  Raises NotFound and StorageError.
        """
        return await self._relay.clean_storage(run or "", dry_run=dry_run)

    async def log(self, name: str, limit: int) -> list[LogLineView]:
        """The newest log lines of a node, oldest first; "relay" is this daemon itself.  Raises NotFound."""
        lines = self._relay.log_of_node(name, limit)
        if lines is None:
            await self.known(name)
        return lines or []

    async def run_log(self, run: str, limit: int) -> list[LogLineView]:
        """The newest log lines of the nodes that work for a run, oldest first.  Raises NotFound."""
        await asyncio.to_thread(self._store.get, run)
        return self._relay.log_of_run(run, limit)

    async def watching(self, run: str) -> AbstractContextManager[None]:
        """The run's workers send pictures of what they see, as events, as long as this context is open.  Raises NotFound."""
        await asyncio.to_thread(self._store.get, run)
        return self._relay.watching(run)

    def _view(self, run: Run) -> RunView:
        store = self._store
        newest = store.weights.newest(run.name)
        totals = store.episodes.totals(run.name)
        update, transitions, pace = self._reached(run.name)
        spark = store.episodes.returns(run.name, SPARK_EPISODES)
        members = [view for view in self._relay.connected() if view.run == run.name]
        unstored_chunks, unstored_bytes = self._relay.unstored(run.name)
        return RunView(
            name=run.name,
            state=run.state,
            created=run.created,
            revision=run.revision,
            config=store.revision(run.name).config,
            lineage=run.lineage,
            update=update,
            transitions=max(transitions, self._relay.transitions(run.name)),
            episodes=totals.episodes,
            best_lap_s=totals.best_lap_s,
            weights_version=newest.version if newest else 0,
            queued_position=run.queue_position,
            trainer=next((view.name for view in members if view.role == "trainer"), None),
            workers=tuple(view.name for view in members if view.role == "worker"),
            updates_per_s=pace if run.state == "running" else 0.0,
            last_return=spark[-1] if spark else None,
            spark=tuple(spark),
            problem=self._relay.trouble(run.name) or _problem(members),
            unstored_chunks=unstored_chunks,
            unstored_bytes=unstored_bytes,
        )

    def _reached(self, run: str) -> tuple[int, int, float]:
        """The newest update and transitions that the trainer reported, and its pace then."""
        curve = self._store.metrics.read(run, [PACE_METRIC], max_points=4)[PACE_METRIC]
        if not len(curve.updates):
            return 0, 0, 0.0
        return int(curve.updates[-1]), int(curve.transitions[-1]), float(curve.values[-1])


def _problem(members: Sequence[NodeView]) -> str | None:
    """What is wrong with a run now, in the words of a node that works for it, its trainer's first; None if nothing is."""
    ailing = sorted((view for view in members if view.state in AILING), key=lambda view: view.role != "trainer")
    return next((f"{view.role} {view.name}: {view.detail or view.state}" for view in ailing), None)


def _examination(name: str, report: dict[str, Any]) -> ExaminationView:
    """The report as it came from the node.  Raises Conflict for what is none."""
    try:
        diagnoses = tuple(
            DiagnosisView(*(_text(each[key]) for key in ("area", "check", "state", "text", "mend", "code")))
            for each in report["diagnoses"][:MOST_DIAGNOSES]
        )
        picture = report["picture"]
    except (KeyError, TypeError):
        picture, diagnoses = None, ()
    if not isinstance(picture, bytes) or any(each.state not in DIAGNOSIS_STATES for each in diagnoses):
        raise Conflict(f"{name} answered with what is no report: upgrade tmrld there, or here")
    return ExaminationView(report["time"], diagnoses, picture)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _away(node: KnownNode, assigned: str | None) -> NodeView:
    return NodeView(
        node.name, node.role, "", "", "", "away", "", None, {}, {}, connected=False, last_seen=node.last_seen, assigned=assigned
    )
