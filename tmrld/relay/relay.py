"""The relay's shell: takes in links, hands each message to the hub of its run, and lets people steer the runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

from tmrld.bounded import size_of
from tmrld.errors import Conflict, NotFound, ProtocolError, Refused, StorageError, TmrldError
from tmrld.events import Feed
from tmrld.node import FreedView, LogLineView, NodeView, StorageView
from tmrld.peers.channel import GOING_AWAY, POLICY, RENAMED, REPLACED
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
    FetchFile,
    Grant,
    LogLines,
    Metrics,
    Plain,
    Preview,
    Result,
    Resume,
    Status,
    TrackLine,
    WeightsMessage,
)
from tmrld.relay.excerpts import excerpt
from tmrld.relay.housekeeping import Housekeeper
from tmrld.relay.hub import Hub, Member
from tmrld.relay.log_tails import MAX_WORD, OWN, LogTails, cut
from tmrld.relay.options import RelayOptions
from tmrld.relay.previews import Previews, shown
from tmrld.relay.roster import Roster
from tmrld.relay.supplies import Supplies
from tmrld.stock import MakingView
from tmrld.storage.checkpoints import CheckpointInfo
from tmrld.storage.episodes import Choice
from tmrld.storage.layout import Layout
from tmrld.storage.runs import Revision, Run, RunStore
from tmrld.storage.shelf import Shelf

log = logging.getLogger(__name__)

EXAMINATION_S = 55.0
"""How long a node may take to look at itself: a little longer than it gives itself."""

SHELF_LOOK_S = 2.0
"""How often it is looked for a file that a run waits for."""

STATUS_BYTES = 256 * 1024
"""What the values of a node's status may take in memory: a trainer's, with all that can be wrong with it, take a tenth."""

ACTIVE = ("running", "paused")
MOVES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "start": ("running", ("queued", "stopped", "failed", "finished", "paused")),
    "pause": ("paused", ("running",)),
    "resume": ("running", ("paused",)),
    "stop": ("stopped", ("running", "paused", "queued")),
    "queue": ("queued", ("stopped", "failed", "finished")),
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
        self._supplies = Supplies(Shelf(layout.shelf), store, self._problem)
        self._hubs: dict[str, Hub] = {}
        self._opening = asyncio.Lock()
        self._doomed: set[str] = set()
        """Runs that are being deleted: nobody opens them any more, nor waits for that."""
        self._revisions: dict[str, tuple[float, Revision]] = {}
        """The newest of each active run, and when that run was made."""
        self._roster: Roster[Member] = Roster()
        self._previews = Previews(lambda: self._previews.tell(self._roster.members()))
        self._tails = LogTails()
        self._reports: dict[str, dict[str, Any]] = {}
        """The newest examination of each node."""
        self._making: dict[str, MakingView] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._promoting = False
        self._housekeeper = Housekeeper(layout, store, options, self._hubs, self._open)

    async def run(self, ready: Callable[[], None]) -> None:
        """Open every active run, call ``ready``, and commit what arrives until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for run in self._store.all():
                    if run.state in ACTIVE:
                        await self._open(run.name)
                ready()
                tasks.create_task(self._housekeeper.run(), name="housekeeping")
                await self._look_for_files()
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
            log.info(
                "%s %s has come back on a new link, from %s; the former one came from %s",
                member.role,
                member.name,
                link.peer.remote,
                previous.link.peer.remote,
            )
            previous.cut = True  # at once: that it is closed may take until the other end says so, too
            self._part(previous)
            previous.drop(
                REPLACED, "another link has taken over this node's name; if it is not yours, give each node its own name"
            )
        self._note_presence(member, self._store.nodes.seen)
        self._feed.publish("node", {"name": member.name, "role": member.role, "state": "connected"})
        self._deal()
        try:
            async with asyncio.TaskGroup() as tasks:
                posting = tasks.create_task(member.post())
                while (received := await link.receive()) is not None:
                    if not member.cut:
                        await self._take_or_drop(member, received)
                posting.cancel()
        except* Refused as refused:
            await link.close(POLICY, str(refused.exceptions[0]))
            raise
        finally:
            self._part(member)
            member.questions.give_up(f"{member.name} is away")
            self._note_presence(member, self._store.nodes.left)
            if self._roster.leave(member):
                self._feed.publish("node", {"name": member.name, "role": member.role, "state": "gone"})
                self._deal()

    async def _take_or_drop(self, member: Member, received: Received) -> None:
        """Take a message.  One that the disk refuses costs its node the link: it comes back, and says again what matters."""
        try:
            await self._take(member, received)
        except StorageError as error:
            self._problem(member.seat.run, f"what {member.name} sends cannot be kept: {error}")
            member.cut = True
            member.drop(GOING_AWAY, str(error))

    async def _take(self, member: Member, received: Received) -> None:
        """Hand a message to the hub of its run."""
        message = received.message
        match message:
            case LogLines():
                self.take_lines(member.name, message.source, message.lines, member.seat.run)
                return
            case Result():
                member.questions.answer(message)
                return
            case Status():
                self._note(member, message)
                return
            case FetchFile():
                if not await self._supplies.hand_out(member, message):
                    self._deal()  # it is told of the other one
                return
            case _:
                pass
        if isinstance(message, ChunkMessage) and self._is_of_another(member, message.worker):
            log.warning("%s sends a chunk in the name of %s: it is let go", member.name, message.worker)
            member.put(Ack(message.incarnation, [message.number]))
            return
        hub = self._hubs.get(member.seat.run)
        if hub is None or getattr(message, "run", None) != hub.run:
            if isinstance(message, ChunkMessage):
                await self._accept_late(member, message, received.data)
            elif isinstance(message, CheckpointMessage):
                await self._keep_late(member, message)
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
                await hub.persist(lambda: hub.publish(message), sender=member)
            case CheckpointMessage():
                await hub.persist(lambda: hub.keep_checkpoint(message), sender=member)
            case FetchCheckpoint():
                await hub.fetch_checkpoint(member, message.update)
            case Metrics():
                await hub.persist(lambda: hub.record(message), sender=member)
            case TrackLine():
                await hub.keep_track(message)
            case Preview():
                if self._previews.watched(hub.run):
                    self._feed.publish("preview", shown(member.name, message), hub.run)
            case _:
                raise ProtocolError(f"a {member.role} may not send {type(message).__name__}")

    def _is_of_another(self, member: Member, name: str) -> bool:
        """Whether another node is called so.  A name of nobody is one that this node had before it joined anew."""
        return name not in (member.name, *member.link.peer.former) and self._store.nodes.knows(name)

    async def _accept_late(self, member: Member, chunk: ChunkMessage, data: bytes) -> None:
        """A chunk of a run that its worker no longer works for: stored all the same, if it ever did and the run still exists."""
        if not self._store.nodes.has_served(member.name, member.role, chunk.run):
            log.warning(
                "%s sends a chunk of the run %r, which does not exist, or which it was never asked to work for: it is let go",
                member.name,
                chunk.run,
            )
            member.put(Ack(chunk.incarnation, [chunk.number]))
            return
        try:
            hub = self._hubs.get(chunk.run) or await self._open(chunk.run)
        except NotFound:
            member.put(Ack(chunk.incarnation, [chunk.number]))
        else:
            await hub.accept(member, chunk, data)

    async def _keep_late(self, member: Member, checkpoint: CheckpointMessage) -> None:
        """The last checkpoint of a run whose trainer was told to stop: kept, unless somebody else trains it already."""
        hub = self._hubs.get(checkpoint.run)
        if hub is None or any(other.role == "trainer" for other in hub.members):
            return
        if not self._store.nodes.has_served(member.name, member.role, checkpoint.run):
            log.warning("%s sends a checkpoint of the run %s, which it never trained: it is let go", member.name, hub.run)
            return
        with contextlib.suppress(NotFound):  # deleted meanwhile
            await hub.keep_checkpoint(checkpoint)

    def _note(self, member: Member, message: Status) -> None:
        """Remember and show what a node says of itself."""
        values, size_bytes = message.values, size_of(message.values)
        if size_bytes > STATUS_BYTES:
            log.warning(
                "%s says more of itself than is kept: its values, which take %d bytes, are left out", member.name, size_bytes
            )
            values = {}
        member.status = {"state": message.state[:MAX_WORD], "detail": cut(message.detail), "values": values}
        topic = "problem" if message.state in ("problem", "recovered", "failed") else "node"
        data = {"name": member.name, "role": member.role, **member.status}
        self._feed.publish(topic, data, message.run if message.run == member.seat.run else "")
        if member.role == "trainer" and message.state == "finished" and message.run == member.seat.run:
            self._set_state(message.run, "finished")

    def _note_presence(self, member: Member, note: Callable[[str, str, float], None]) -> None:
        """Remember that a node is here now, or was until now, as far as the disk allows: nothing depends on it."""
        try:
            note(member.name, member.role, time.time())
        except StorageError as error:
            log.warning("when %s was last here cannot be noted: %s", member.name, error)

    def _note_seat(self, member: Member, run: Run) -> None:
        """Remember for which run a node is asked to work: what it sends of that later counts, too."""
        if member.noted != (run.name, run.created):
            try:
                self._store.nodes.serves(member.name, member.role, run.name)
                member.noted = run.name, run.created
            except StorageError as error:
                log.warning("that %s works for the run %s cannot be noted: %s", member.name, run.name, error)

    def _part(self, member: Member) -> None:
        for hub in self._hubs.values():
            hub.leave(member)

    # Who works for what

    def _deal(self) -> None:
        """Seat every node, and tell those whose seat or run has changed; a trainer that is left over takes a queued run."""
        active = [run for run in self._store.all() if run.state in ACTIVE]
        files = self._supplies.ready(active)
        active = [run for run in active if run.name in files]
        by_name = {run.name: run for run in active}
        self._revisions = {run.name: self._newest_revision(run) for run in active}
        assigned = self._store.assignments.all()
        seats = self._roster.seats([run.name for run in active], assigned)
        trainers = {seat.run: member.name for member, seat in seats if member.role == "trainer" and seat.run}
        for member, seat in seats:
            if member.seat.run != seat.run:
                self._part(member)
                member.lost = "" if seat.run else member.seat.run
            member.seat = seat
            run = by_name.get(seat.run)
            if run is None:
                reason = _why_it_waits(member, trainers, assigned) if member.role == "trainer" else ""
                member.assign(Assign("", {}, 0, "stopped", reason=reason))
                continue
            self._note_seat(member, run)
            hub = self._hubs[run.name]
            _, revision = self._revisions[run.name]
            newest = hub.newest_checkpoint() if member.role == "trainer" else (-1, -1)
            needed = files[run.name][member.role]
            member.assign(
                Assign(run.name, revision.config, revision.number, run.state, seat.evaluates, *newest, run.created, needed)
            )
            hub.join(member)
        self._previews.tell(self._roster.members())
        self._promote(self._roster.idle_trainers(assigned))

    def _newest_revision(self, run: Run) -> tuple[float, Revision]:
        """Its configuration, read anew only when there is a newer one: every node that comes or goes has all others looked at."""
        known = self._revisions.get(run.name)
        if known is None or (known[0], known[1].number) != (run.created, run.revision):
            return run.created, self._store.revision(run.name)
        return known

    def shelf_changed(self) -> None:
        """A file was put on the shelf or taken from it."""
        self._deal()

    async def _look_for_files(self) -> None:
        """For ever: while a run waits for a file, look whether a command has put it on the shelf, which nobody tells."""
        while True:
            await asyncio.sleep(SHELF_LOOK_S)
            if self._supplies.awaited:
                try:
                    self._deal()
                except StorageError as error:
                    log.warning("whether files are on the shelf now cannot be seen: %s", error)

    def _problem(self, run: str, detail: str) -> None:
        log.error("run %s: %s", run, detail)
        self._feed.publish("problem", {"detail": detail}, run)

    def _promote(self, idle: Sequence[str | None]) -> None:
        """Start the run that has waited longest for one of these trainers; each is told by the run that it is assigned to."""
        queue = self._store.queue() if idle else []
        name = next((run.name for run in queue if run.name in idle or None in idle), None)
        if name is not None and not self._promoting and self._tasks is not None:
            self._promoting = True
            self._tasks.create_task(self._start_queued(name), name=f"start {name}")

    async def _start_queued(self, name: str) -> None:
        try:
            await self._move(name, "start")
        except (NotFound, Conflict):
            pass  # somebody was faster
        except StorageError as error:
            log.error("the run %s cannot be started: %s", name, error)
            self._set_state(name, "failed")
            self._feed.publish("problem", {"detail": f"the run cannot be started: {error}"}, name)
        finally:
            self._promoting = False
        self._deal()

    async def _open(self, run: str) -> Hub:
        """The hub of a run, opened once.  Raises NotFound for one that does not exist, or is being deleted."""
        async with self._opening:
            if run in self._doomed:
                raise NotFound(f"The run {run!r} is being deleted.")
            if run not in self._hubs:
                assert self._tasks is not None
                hub = await asyncio.to_thread(
                    Hub.open, run, self._layout, self._store, self._options, self._feed, self._housekeeper.lack_of_room
                )
                self._hubs[run] = hub
                self._tasks.create_task(hub.commit(), name=f"commit {run}")
            return self._hubs[run]

    # What people ask for

    def connected(self) -> list[NodeView]:
        """The nodes that are connected now.  Among their values is what this relay measures itself (`_measured`)."""
        assigned = self._store.assignments.all()
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
                values={**member.status.get("values", {}), **self._measured(member)},
                last_seen=time.time(),
                assigned=assigned.get(member.name),
            )
            for member in self._roster.members()
        ]

    def _measured(self, member: Member) -> dict[str, float]:
        """What waits here for a node: messages in its mailbox and, for a trainer, bytes of the log that it has not consumed."""
        values: dict[str, float] = {"mailbox_messages": len(member.mailbox)}
        hub = self._hubs.get(member.seat.run)
        if member.role == "trainer" and hub is not None:
            values["feed_lag_bytes"] = hub.feed_lag_bytes(member)
        return values

    async def command(self, name: str, verb: str) -> None:
        """Have a node start, stop or restart its engine.  Raises Conflict if it is away or cannot, LinkLost if it does not answer."""
        member = self._member(name)
        if member is None:
            raise Conflict(f"{name} is away: its engine can be told to {verb} when it is connected again")
        await member.questions.ask(name, verb)

    async def examine(self, name: str) -> dict[str, Any]:
        """Have a connected node look what is wrong with its machine; returns its report, which is kept.  Raises as `command`."""
        member = self._member(name)
        if member is None:
            raise Conflict(f"{name} is away: run `tmrld doctor` on its machine, which says why")
        result = await member.questions.ask(name, "doctor", timeout_s=EXAMINATION_S)
        self._reports[name] = {**result.value, "time": time.time()}
        self._feed.publish("node", {"name": name, "role": member.role, "examined": time.time()})
        return self._reports[name]

    def report(self, name: str) -> dict[str, Any] | None:
        """What a node's newest examination found since this relay began; None where there was none."""
        return self._reports.get(name)

    def outlook(self, name: str, role: str) -> dict[str, Any]:
        """What a node that only looks is told of itself: whether it is linked, the run it would work for, and that run's world."""
        member = self._member(name)
        active = [run.name for run in self._store.all() if run.state in ACTIVE]
        run = member.seat.run if member else self._store.assignments.all().get(name) or next(iter(active), "")
        environment: dict[str, Any] = {}
        if role == "worker" and run:
            with contextlib.suppress(NotFound):
                environment = dict(self._store.revision(run).config.get("environment", {}))
        return {"linked": member is not None, "run": run, "environment": environment}

    def cut(self, name: str, token_hash: str, reason: str) -> None:
        """Let go at once of a node that is connected with this token; ``reason`` is what it is told."""
        for member in self._roster.members():
            if member.name == name and member.link.credential in ("", token_hash):
                log.warning("%s %s is cut off: %s", member.role, name, reason)
                member.cut = True
                self._roster.leave(member)
                self._part(member)
                member.drop(POLICY, reason)
                self._feed.publish("node", {"name": name, "role": member.role, "state": "revoked"})
                self._deal()

    def named(self, name: str, token_hash: str) -> None:
        """A name belongs to the holder of this token: no other node that is connected may use it any more, if it was its own."""
        for member in self._roster.members():
            if member.link.credential != token_hash:
                member.link.give_up_name(name)

    def met(self, name: str, role: str) -> None:
        """A node has joined, and will connect."""
        self._store.nodes.seen(name, role, time.time())
        self._feed.publish("node", {"name": name, "role": role, "state": "away"})

    def forget(self, name: str) -> bool:
        """Forget a node that is not connected any more; False if there was none."""
        self._reports.pop(name, None)
        return self._store.nodes.forget(name)

    def rename(self, name: str, new: str) -> None:
        """A node is called something else from now on; one that is connected comes back at once, and is told so."""
        self._store.nodes.rename(name, new)
        self._tails.rename(name, new)
        if name in self._reports:
            self._reports[new] = self._reports.pop(name)
        member = self._member(name)
        if member is not None:
            member.cut = True
            member.drop(RENAMED, f"this node is called {new} from now on")
        self._feed.publish("node", {"name": name, "role": member.role if member else "", "state": "renamed", "new_name": new})

    def _member(self, name: str) -> Member | None:
        return next((member for member in self._roster.members() if member.name == name), None)

    def _trainer_of(self, run: str) -> Member | None:
        return next((each for each in self._roster.members() if each.role == "trainer" and each.seat.run == run), None)

    def take_lines(self, node: str, source: str, lines: Sequence[Any], run: str = "") -> None:
        """Keep log lines of a node, or of this daemon (`OWN`), and tell those who listen."""
        kept = self._tails.add(node, run, source, lines, time.time())
        if kept:
            self._feed.publish("log", {"node": node, "source": kept[0].source, "lines": [asdict(line) for line in kept]}, run)

    def log_of_node(self, node: str, limit: int) -> list[LogLineView] | None:
        """The newest log lines of a node, or of this daemon (`OWN`), oldest first; None where there never were any."""
        return self._tails.of_node(node, limit) or ([] if node == OWN else None)

    def log_of_run(self, run: str, limit: int) -> list[LogLineView]:
        """The newest log lines of all nodes from when they worked for this run, oldest first."""
        return self._tails.of_run(run, limit)

    def watching(self, run: str) -> AbstractContextManager[None]:
        """Workers of the run send pictures of what they see as long as this is open."""
        return self._previews.watching(run)

    def transitions(self, run: str) -> int:
        """Training transitions that the run's log ever took; 0 for a run that is not open."""
        hub = self._hubs.get(run)
        return hub.log.transitions("train") if hub else 0

    def unstored(self, run: str) -> tuple[int, int]:
        """How many chunks of the run wait here for the disk, and how many bytes; none for a run that is not open."""
        hub = self._hubs.get(run)
        return hub.unstored if hub else (0, 0)

    async def storage(self) -> StorageView:
        """What the files take on the disk."""
        usage = await self._housekeeper.measure()
        return StorageView(usage, self._options.total_bytes, self._options.sample_log_bytes)

    async def clean_storage(self, run: str, *, dry_run: bool) -> list[FreedView]:
        """Let everything go that is neither pinned nor needed to resume, of one run or ("") of all; tells what, in order."""
        freed = await self._housekeeper.clean(run, dry_run=dry_run)
        return [FreedView(each.run, each.kind, each.what, each.size_bytes) for each in freed]

    def trouble(self, run: str) -> str:
        """What the run waits for because of this relay's disk; "" while it does not, or is not open."""
        hub = self._hubs.get(run)
        return hub.trouble if hub else ""

    async def make_demonstrations(
        self, run: str, name: str, choice: Choice, put: Callable[[bytes], Awaitable[object]]
    ) -> MakingView:
        """Begin to make a file of training episodes of a run, which ``put`` puts on the shelf in the end.

        Raises NotFound, and Conflict for a run that has driven no such episode, and while others are made of it.
        """
        spec = self._store.get(run).spec
        if (before := self._making.get(run)) is not None and before.state == "making":
            raise Conflict(f"demonstrations are made of the run {run} already, called {before.name!r}: wait until they are")
        episodes = await asyncio.to_thread(self._store.episodes.chosen, run, choice)
        if spec is None or not episodes:
            kind = "finished " if choice.finished_only or choice.best_laps is not None else ""
            raise Conflict(f"the run {run} has driven no {kind}training episode to its end yet: let it drive some first")
        hub = self._hubs.get(run) or await self._open(run)
        assert self._tasks is not None
        self._making[run] = made = MakingView(run, name, "making")
        self._tasks.create_task(self._make(hub, made, spec, episodes, put), name=f"demonstrations of {run}")
        return made

    async def _make(
        self, hub: Hub, view: MakingView, spec: Plain, episodes: Sequence[str], put: Callable[[bytes], Awaitable[object]]
    ) -> None:
        """Make the file, and tell how far that is."""
        loop = asyncio.get_running_loop()

        def progress(done: float) -> None:
            loop.call_soon_threadsafe(self._made_further, replace(view, done=done))

        try:
            track = self._store.revision(view.run).config["environment"]["track"]
            made = await asyncio.to_thread(excerpt, hub.log, view.name, track, spec, episodes, progress)
            await put(made.data)
        except TmrldError as error:
            log.error("no demonstrations were made of the run %s: %s", view.run, error)
            self._making[view.run] = replace(view, state="failed", detail=str(error))
        except Exception as error:  # whatever it is, the relay goes on
            log.exception("no demonstrations were made of the run %s", view.run)
            self._making[view.run] = replace(view, state="failed", detail=f"something unforeseen went wrong: {error!r}")
        else:
            self._making[view.run] = replace(view, state="made", done=1.0, episodes=made.episodes, missing=made.missing)
        state = self._making[view.run].state
        self._feed.publish("shelf", {"kind": "demonstrations", "name": view.name, "state": state}, view.run)

    def _made_further(self, view: MakingView) -> None:
        if self._making[view.run].state == "making":
            self._making[view.run] = view

    def making(self, run: str) -> MakingView | None:
        """What the newest demonstrations of a run have come to since this relay began; None where there are none."""
        return self._making.get(run)

    async def create_run(self, name: str, config: Mapping[str, Any], author: str, start: str = "no") -> None:
        """Make a run, and start it "now", "queue" it, or leave it stopped ("no").

        Raises BadInput for a bad name or configuration, Conflict for a name that is taken.
        """
        checked = self._check_config(config)
        if name in self._doomed:
            raise Conflict(f"a run {name} is being deleted: wait until it is, or choose another name")
        state = "queued" if start == "queue" else "stopped"
        await asyncio.to_thread(self._store.create, name, checked, author, time.time(), state)
        self._feed.publish("run", {"state": state}, name)
        if start == "now":
            await self._move(name, "start")
        else:
            self._deal()

    async def delete_run(self, name: str) -> None:
        """Remove a run and all its files.  Raises NotFound, and Conflict for one that is active."""
        async with self._opening:
            if name in self._doomed:
                raise NotFound(f"The run {name!r} is being deleted.")
            state = self._store.get(name).state
            if state in ACTIVE:
                raise Conflict(f"the run {name} is {state}: stop it before you delete it")
            if name in self._making and self._making[name].state == "making":
                raise Conflict(f"demonstrations are made of the run {name}: delete it when they are")
            self._making.pop(name, None)
            self._doomed.add(name)
            hub = self._hubs.pop(name, None)
        try:  # others may be opened meanwhile: its last commit may wait for somebody who frees room, and opens them
            if hub is not None:
                await hub.close()
            await asyncio.to_thread(self._store.delete, name)
        finally:
            self._doomed.discard(name)
        self._feed.publish("run", {"deleted": True}, name)
        self._deal()

    async def change_config(self, name: str, config: Mapping[str, Any], base: int, author: str) -> Revision:
        """Give a run another configuration, which takes effect at once; ``base`` is the revision that the author saw.

        Raises BadInput for one that cannot be used, Conflict when somebody else changed it since.
        """
        checked = self._check_config(config)
        revision = await asyncio.to_thread(
            lambda: self._store.add_revision(name, checked, base=base, author=author, at=time.time())
        )
        self._feed.publish("run", {"revision": revision.number}, name)
        self._deal()
        return revision

    async def go_back(self, name: str, update: int, fewer_samples: bool) -> CheckpointInfo:
        """Lead a run back to one of its checkpoints, in a new lineage; a trainer that is away goes on from there when it comes.

        Raises NotFound, and Conflict where it is damaged, or samples that it needs are gone (`Hub.go_back`).
        """
        self._store.get(name)
        hub = self._hubs.get(name) or await self._open(name)
        info = await hub.go_back(update, fewer_samples)
        self._feed.publish("run", {"lineage": info.lineage}, name)
        return info

    async def assign(self, node: str, run: str | None, take_over: bool = False) -> None:
        """Give a node to a run, or (None) leave it to the relay.

        A trainer does not get a run that another one is at work on, unless it is to ``take_over``: then the other is told so, and
        stops; whatever that one was assigned to, it is left to the relay.  Raises NotFound for a run that does not exist, and
        Conflict, which names the other trainer.
        """
        other = self._trainer_of(run) if run is not None else None
        if other is not None and other.name != node and await asyncio.to_thread(self._store.nodes.is_known, node, "trainer"):
            if not take_over:
                raise Conflict(
                    f"the run {run} is trained by {other.name}, and a run has one trainer: assign {node} to another run, or have "
                    f"it take over (tmrld node assign {node} {run} --take-over)"
                )
            log.warning("%s takes the run %s over from %s", node, run, other.name)
            await asyncio.to_thread(self._store.assignments.set, other.name, None)
        await asyncio.to_thread(self._store.assignments.set, node, run)
        self._feed.publish("node", {"name": node, "assigned": run})
        self._deal()

    async def move(self, name: str, verb: str) -> None:
        """Start, pause, resume or stop a run.

        Raises NotFound, and Conflict when its state forbids it, or to start one that needs a file which is not on the shelf.
        """
        if verb == "start":
            run = self._store.get(name)
            try:
                self._supplies.needed(run)
            except NotFound as error:
                raise Conflict(f"the run {name} cannot start: {error}") from error
        await self._move(name, verb)

    async def _move(self, name: str, verb: str) -> None:
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


def _why_it_waits(member: Member, trainers: Mapping[str, str], assigned: Mapping[str, str]) -> str:
    """Why a trainer has no run, where another trainer has it; ``trainers`` are those at work, by run."""
    wanted = assigned.get(member.name, "")
    if member.lost in trainers:
        return f"{trainers[member.lost]} has taken over the run {member.lost}, which {member.name} trained: it stops"
    if wanted in trainers:
        return (
            f"the run {wanted} is trained by {trainers[wanted]}, and a run has one trainer: {member.name} waits until that one is "
            f"gone; to have it take over, run `tmrld node assign {member.name} {wanted} --take-over`"
        )
    if wanted or not trainers:
        return ""
    taken = ", ".join(f"{run} by {name}" for run, name in trainers.items())
    return f"each active run has a trainer ({taken}): {member.name} waits until one is gone, or another run is started"
