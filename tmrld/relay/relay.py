"""The relay's shell: takes in links, hands each message to the hub of its run, and lets people steer the runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from tmrld.errors import Conflict, NotFound, ProtocolError, Refused
from tmrld.events import Feed
from tmrld.node import NodeView
from tmrld.peers.channel import GOING_AWAY, POLICY
from tmrld.peers.link import Link, Received
from tmrld.protocol.messages import (
    Ack,
    Assign,
    CheckpointMessage,
    ChunkMessage,
    Consume,
    Consumed,
    Describe,
    FetchCheckpoint,
    Grant,
    LogLines,
    Metrics,
    Result,
    Resume,
    Status,
    WeightsMessage,
)
from tmrld.relay.hub import Hub, Member
from tmrld.relay.options import RelayOptions
from tmrld.relay.roster import Roster
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore

log = logging.getLogger(__name__)

REPLACED = 4001
"""Close code for a link whose node has come back on a newer one."""

ACTIVE = ("running", "paused")
MOVES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "start": ("running", ("queued", "stopped", "failed", "finished", "paused")),
    "pause": ("paused", ("running",)),
    "resume": ("running", ("paused",)),
    "stop": ("stopped", ("running", "paused", "queued")),
}
"""What may be asked of a run: the state that it leads to, and the states in which it may be asked."""


class Relay:
    """All runs of one relay, and all nodes that dialled in.  Belongs to one event loop; `serve` runs once per link."""

    def __init__(
        self,
        layout: Layout,
        store: RunStore,
        options: RelayOptions,
        feed: Feed,
        check_config: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        self._layout = layout
        self._store = store
        self._options = options
        self._feed = feed
        self._check_config = check_config
        self._hubs: dict[str, Hub] = {}
        self._opening = asyncio.Lock()
        self._roster: Roster[Member] = Roster()
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Open every active run, call ``ready``, and commit what arrives until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for run in self._store.all():
                    if run.state in ACTIVE:
                        await self._open(run.name)
                ready()
                await asyncio.Event().wait()
        finally:
            self._tasks = None
            for hub in self._hubs.values():
                hub.log.close()

    async def close_links(self) -> None:
        """Tell every node that the relay goes away; they come back by themselves."""
        await asyncio.gather(*(member.link.close(GOING_AWAY, "the relay stops") for member in self._roster.members()))

    # Links

    async def serve(self, link: Link) -> None:
        """Everything about one node, until its link ends.  Raises `LinkError` or `ProtocolError` as the link does."""
        member = Member(link)
        previous = self._roster.admit(member.name, member.role, member)
        if previous is not None:
            log.info("%s %s has come back on a new link", member.role, member.name)
            self._part(previous)
            previous.drop(
                REPLACED, "another link has taken over this node's name; if it is not yours, give each node its own name"
            )
        self._store.nodes.seen(member.name, member.role, time.time())
        self._feed.publish("node", {"name": member.name, "role": member.role, "state": "connected"})
        self._deal()
        try:
            async with asyncio.TaskGroup() as tasks:
                posting = tasks.create_task(member.post())
                while (received := await link.receive()) is not None:
                    await self._take(member, received)
                posting.cancel()
        except* Refused as refused:
            await link.close(POLICY, str(refused.exceptions[0]))
            raise
        finally:
            self._part(member)
            if self._roster.leave(member):
                self._feed.publish("node", {"name": member.name, "role": member.role, "state": "gone"})
                self._deal()

    async def _take(self, member: Member, received: Received) -> None:
        """Hand a message to the hub of its run."""
        message = received.message
        match message:
            case LogLines():
                self._feed.publish("log", {"node": member.name, "source": message.source, "lines": message.lines})
                return
            case Result():
                return
            case Status():
                self._note(member, message)
                return
            case _:
                pass
        hub = self._hubs.get(member.seat.run)
        if hub is None or getattr(message, "run", None) != hub.run:
            if isinstance(message, ChunkMessage):
                await self._accept_late(member, message, received.data)
            elif isinstance(message, CheckpointMessage):
                await self._keep_late(message)
            return
        match message:
            case ChunkMessage():
                await hub.accept(member, message, received.data)
            case Describe():
                hub.describe(member, message)
            case Grant():
                hub.grant(message)
            case Resume():
                await hub.resume(member, message)
            case Consume():
                hub.consume(member, message)
            case Consumed():
                hub.consumed(member, message.offset)
            case WeightsMessage():
                await hub.publish(message)
            case CheckpointMessage():
                await hub.keep_checkpoint(message)
            case FetchCheckpoint():
                await hub.fetch_checkpoint(member, message.update)
            case Metrics():
                await hub.record(message)
            case _:
                raise ProtocolError(f"a {member.role} may not send {type(message).__name__}")

    async def _accept_late(self, member: Member, chunk: ChunkMessage, data: bytes) -> None:
        """A chunk of a run that its worker no longer works for: stored all the same, if the run still exists."""
        try:
            self._store.get(chunk.run)
        except NotFound:
            log.warning("%s sends a chunk of the run %r, which does not exist: it is let go", member.name, chunk.run)
            member.put(Ack(chunk.incarnation, [chunk.number]))
            return
        hub = self._hubs.get(chunk.run) or await self._open(chunk.run)
        await hub.accept(member, chunk, data)

    async def _keep_late(self, checkpoint: CheckpointMessage) -> None:
        """The last checkpoint of a run whose trainer was told to stop: kept, unless somebody else trains it already."""
        hub = self._hubs.get(checkpoint.run)
        if hub is not None and all(member.role != "trainer" for member in hub.members):
            await hub.keep_checkpoint(checkpoint)

    def _note(self, member: Member, message: Status) -> None:
        """Remember and show what a node says of itself."""
        member.status = {"state": message.state, "detail": message.detail, "values": message.values}
        topic = "problem" if message.state in ("problem", "failed") else "node"
        data = {"name": member.name, "role": member.role, **member.status}
        self._feed.publish(topic, data, message.run)
        if member.role == "trainer" and message.state == "finished" and message.run == member.seat.run:
            self._set_state(message.run, "finished")

    def _part(self, member: Member) -> None:
        for hub in self._hubs.values():
            hub.leave(member)

    # Who works for what

    def _deal(self) -> None:
        """Seat every node, and tell those whose seat or run has changed."""
        active = [run for run in self._store.all() if run.state in ACTIVE]
        by_name = {run.name: run for run in active}
        for member, seat in self._roster.seats([run.name for run in active]):
            if member.seat.run != seat.run:
                self._part(member)
            member.seat = seat
            run = by_name.get(seat.run)
            if run is None:
                member.assign(Assign("", {}, 0, "stopped"))
                continue
            hub = self._hubs[run.name]
            revision = self._store.revision(run.name)
            newest = hub.newest_checkpoint() if member.role == "trainer" else (-1, -1)
            member.assign(Assign(run.name, revision.config, revision.number, run.state, seat.evaluates, *newest))
            hub.join(member)

    async def _open(self, run: str) -> Hub:
        """The hub of a run, opened once."""
        async with self._opening:
            if run not in self._hubs:
                assert self._tasks is not None
                hub = await asyncio.to_thread(Hub.open, run, self._layout, self._store, self._options, self._feed)
                self._hubs[run] = hub
                self._tasks.create_task(hub.commit(), name=f"commit {run}")
            return self._hubs[run]

    # What people ask for

    def connected(self) -> list[NodeView]:
        """The nodes that are connected now."""
        return [
            NodeView(
                name=member.name,
                role=member.role,
                version=member.link.peer.version,
                remote=member.link.peer.remote,
                run=member.seat.run,
                state=str(member.status.get("state", "connected")),
                detail=str(member.status.get("detail", "")),
                latency_s=member.link.latency_s,
                machine=dict(member.link.peer.machine),
                values=dict(member.status.get("values", {})),
            )
            for member in self._roster.members()
        ]

    def transitions(self, run: str) -> int:
        """Training transitions that the run's log ever took; 0 for a run that is not open."""
        hub = self._hubs.get(run)
        return hub.log.transitions("train") if hub else 0

    async def create_run(self, name: str, config: Mapping[str, Any], author: str) -> None:
        """Make a run in state "queued".  Raises BadInput for a bad name or configuration, Conflict for a name that is taken."""
        checked = self._check_config(config)
        await asyncio.to_thread(self._store.create, name, checked, author, time.time())
        self._feed.publish("run", {"state": "queued"}, name)

    async def move(self, name: str, verb: str) -> None:
        """Start, pause, resume or stop a run.  Raises NotFound, and Conflict when its state forbids it."""
        state, allowed = MOVES[verb]
        current = self._store.get(name).state
        if current not in allowed:
            raise Conflict(f"the run {name} is {current}: only one that is {' or '.join(allowed)} can be asked to {verb}")
        if state in ACTIVE:
            await self._open(name)
        self._set_state(name, state)

    def _set_state(self, name: str, state: str) -> None:
        """Note what a run is doing from now on, and tell everybody."""
        self._store.set_state(name, state)
        self._feed.publish("run", {"state": state}, name)
        self._deal()
