"""One run at the relay: its sample log, who works for it, what they may do, and the policy they drive with.

A chunk's way through here: `accept` puts it into a queue, bounded in number and bytes (a full one stops reading from the worker's
link) → the commit loop appends a batch to the log with one fsync → acknowledgements go out, finished episodes are entered, trainers
are woken.
A trainer is fed from the log, never from a queue: as much as its window allows, from the offset that it asked for.  What was
committed last is still in memory (`tail`), so one that keeps up need not wait for the disk a second time.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from tmrld.errors import BadInput, Conflict, Damaged, DiskFull, LinkError, NotFound, ProtocolError, Refused, StorageError
from tmrld.events import Feed
from tmrld.payloads import EnvSpec
from tmrld.peers.channel import GOING_AWAY, INTERNAL
from tmrld.peers.link import Link
from tmrld.protocol.checks import INVALID
from tmrld.protocol.codec import MAX_RAW_BYTES, StoredBody, open_summary, seal_stored
from tmrld.protocol.messages import (
    Ack,
    Allowance,
    Assign,
    CheckpointMessage,
    ChunkMessage,
    Command,
    Consume,
    Describe,
    FileMessage,
    Grant,
    Message,
    Metrics,
    Plain,
    Resume,
    Resumed,
    Spaces,
    TrackLine,
    WeightsMessage,
)
from tmrld.relay.asking import Questions
from tmrld.relay.driven import Driven, metrics_event
from tmrld.relay.mailbox import Mailbox, MailboxFull
from tmrld.relay.options import RelayOptions
from tmrld.relay.roster import Seat
from tmrld.relay.tail import Tail
from tmrld.storage.checkpoints import CheckpointInfo
from tmrld.storage.episodes import Episode
from tmrld.storage.layout import Layout
from tmrld.storage.metrics import Metric
from tmrld.storage.records import Record, packed_facts
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_log import Appended, SampleLog
from tmrld.storage.tracks import Track

log = logging.getLogger(__name__)

T = TypeVar("T")

COMMIT_CHUNKS = 1000
COMMIT_BYTES = 16 * 2**20
QUEUE_CHUNKS = 256
QUEUE_BYTES = 32 * 2**20
FEED_BYTES = 2**20
FEED_RECORDS = 1000
TAIL_BYTES = 4 * 2**20
"""So much of what was committed last stays in memory, while a trainer is fed."""
GATHER_S = 50e-6
"""So long, for each member, chunks gather after a commit: a thousand workers share one, and a single one hardly waits."""
POINT_BYTES = 64
"""So much of the database a point of a curve takes, at most."""
RETRY_FULL_DISK_S = 1.0
ASK_AGAIN_S = 5.0
"""How often trainers are asked for a checkpoint while the log is full."""
NOT_STORED = "samples cannot be stored, collection waits"
SHARE_S = 0.0005
"""So long after allowances went out are they let be, for each member, so that the relay has time for samples between."""


class Budget(Protocol):
    """Makes room for so many bytes, of the log or beside it; says why there is none, or "" where there is."""

    async def __call__(self, more_bytes: int, *, beside_log: bool = False) -> str:
        """Those beside the log count from now on."""


async def _no_budget(more_bytes: int, *, beside_log: bool = False) -> str:
    return ""


class Member:
    """A connected node: its link, what waits to be sent to it, and what it is asked to do."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = link.peer.name
        self.role = link.peer.role
        self.mailbox = Mailbox()
        self.seat = Seat()
        self.lost = ""
        """The run that another trainer has taken over from this one; "" once it has another, or none had to be given up."""
        self.noted: tuple[str, float] | None = None
        """Name and birth of the run that it was last noted to be asked to work for."""
        self.status: dict[str, Any] = {}
        self.incarnation = ""
        self.feeding: _Feeding | None = None
        self.previewing = False
        """Whether it was asked to send pictures of what it sees."""
        self.questions = Questions(self.put)
        self.cut = False
        """Whether its token was revoked, it is called something else now, or a newer link took its place: it counts no more."""
        self._assigned: Assign | None = None
        self._allowed: Allowance | None = None
        self._dropped: tuple[int, str] | None = None
        self._drop = asyncio.Event()

    def assign(self, message: Assign) -> None:
        """Tell the node what to do, if that has changed.  A newer checkpoint alone is no news to a trainer that is at work."""
        told = self._assigned
        newest = message.checkpoint_update, message.checkpoint_lineage
        if told is None or message != replace(told, checkpoint_update=newest[0], checkpoint_lineage=newest[1]):
            self._assigned = message
            self._allowed = None  # what waits for the node about another run goes
            self.put(message)

    def allow(self, message: Allowance) -> None:
        """Tell a worker what it may collect, if that has changed."""
        if message != self._allowed:
            self._allowed = message
            self.put(message)

    def point_to_checkpoint(self, update: int, lineage: int) -> None:
        """Repeat to a trainer what it is to do, with another checkpoint to begin from."""
        if self._assigned is not None:
            self._assigned = replace(self._assigned, checkpoint_update=update, checkpoint_lineage=lineage)
            self.put(self._assigned)

    def needs(self, kind: str, name: str, checksum: str) -> bool:
        """Whether the node was told that it needs this file of the shelf."""
        files = self._assigned.files if self._assigned is not None else []
        return any(each[:3] == [kind, name, checksum] for each in files)

    def go_without(self, kind: str, name: str) -> None:
        """Tell the node that it cannot have a file now; it is told what to do again when it can."""
        self._assigned = None
        self.put(FileMessage(kind, name, "", b""))

    def put(self, message: Message) -> None:
        """Leave a message for the node; one that has stopped reading loses its link."""
        try:
            self.mailbox.put(message)
        except MailboxFull as error:
            log.error("%s: %s", self.name, error)
            self.drop(GOING_AWAY, str(error))

    def drop(self, code: int, reason: str) -> None:
        """Have the link closed, by the task that posts to it."""
        self._dropped = (code, reason)
        self._drop.set()

    async def post(self) -> None:
        """Send what is in the mailbox until the link ends or is dropped, even if the peer does not read."""
        posting = asyncio.create_task(self._post_for_ever())
        dropped = asyncio.create_task(self._drop.wait())
        try:
            await asyncio.wait({posting, dropped}, return_when=asyncio.FIRST_COMPLETED)
            if posting.done():
                posting.result()
        finally:
            posting.cancel()
            dropped.cancel()
        assert self._dropped is not None
        await self.link.close(*self._dropped)

    async def _post_for_ever(self) -> None:
        while True:
            await self.link.send(await self.mailbox.get())


@dataclass
class _Feeding:
    """How far a trainer has been sent the log, and how far it has consumed it."""

    sent: int
    consumed: int
    credit_bytes: int
    room: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True)
class _Arrived:
    """A chunk on its way into the log: who waits for its acknowledgement, the bytes it came in, the episode that it ends."""

    member: Member
    chunk: ChunkMessage
    data: bytes
    episode: Episode | None

    def record(self) -> Record:
        """As it is stored."""
        c = self.chunk
        return Record(c.worker, c.incarnation, c.number, c.steps, c.purpose, c.episode, self.data)


class Hub:
    """One run.  All methods belong to the relay's event loop; what touches the disk runs in threads."""

    def __init__(
        self, run: str, sample_log: SampleLog, store: RunStore, options: RelayOptions, feed: Feed, budget: Budget = _no_budget
    ) -> None:
        """``budget`` makes room for so many bytes where all runs together take too much, or says why there is none."""
        self._budget = budget
        self._asked_at = -ASK_AGAIN_S
        self._lacks_points = False
        """Whether points of the curves are let go for want of room."""
        self._kept_too_much = ""
        """Why what has to be kept of weights or checkpoints is too much, as it was last seen."""
        self.run = run
        self.log = sample_log
        self._store = store
        self._options = options
        self._feed = feed
        self._queue: asyncio.Queue[_Arrived | None] = asyncio.Queue(QUEUE_CHUNKS)  # None wakes the commit loop
        self._queued_bytes = 0
        self._troubles: dict[str, None] = {}
        self._room = asyncio.Event()
        self._closing = False
        self._committed = asyncio.Event()
        self._grown = asyncio.Event()
        self._tail = Tail(TAIL_BYTES)
        self._turning = asyncio.Lock()
        """Held while the lineage may change, or must not."""
        self._members: dict[Member, None] = {}
        """In the order in which they came."""
        self._spec = store.get(run).spec
        self._granted = 0
        self._shared_at = -math.inf
        self._sharing: asyncio.TimerHandle | None = None
        """Of the next time that allowances go out, if that is decided."""
        self._newest = self._newest_weights()
        self._driven = Driven(run, store, feed, lambda: self.log.transitions("train"))

    @classmethod
    def open(
        cls, run: str, layout: Layout, store: RunStore, options: RelayOptions, feed: Feed, budget: Budget = _no_budget
    ) -> Hub:
        """Open a run with its log.  Reads the disk: call it in a thread.  Raises NotFound for a run that does not exist."""
        store.get(run)  # before the folder of its log is made
        return cls(run, SampleLog(layout.run_log(run)), store, options, feed, budget)

    def _newest_weights(self) -> WeightsMessage | None:
        info = self._store.weights.newest(self.run)
        if info is None:
            return None
        try:
            data = self._store.weights.load(self.run, info.version)
        except StorageError as error:
            self._problem(f"the newest weights cannot be read: {error}")
            return None
        return WeightsMessage(self.run, info.version, info.update, info.lineage, 0, data)

    @property
    def members(self) -> list[Member]:
        """Who works for this run."""
        return list(self._members)

    # Coming and going

    def join(self, member: Member) -> None:
        """A node begins to work for this run: it is told what it needs to know."""
        if member in self._members:
            return
        self._members[member] = None
        if member.role == "trainer" and self._spec is not None:
            member.put(Spaces(self.run, self._spec))
        if member.role == "worker" and self._newest is not None:
            member.put(self._newest)
        self._allow()

    def leave(self, member: Member) -> None:
        """A node is gone, or works for another run."""
        if member not in self._members:
            return
        del self._members[member]
        self._stop_feeding(member)
        self._allow()

    # What workers send

    def describe(self, member: Member, message: Describe) -> None:
        """The first worker's spaces become the run's; raises Refused for a worker whose spaces differ, ProtocolError for none."""
        spec = message.spec
        if self._spec is None:
            _check_spec(spec)
            self._store.set_spec(self.run, spec)
            self._spec = spec
            for other in self._members:
                if other.role == "trainer":
                    other.put(Spaces(self.run, spec))
        elif spec != self._spec:
            raise Refused(
                f"the environment of {member.name} has other spaces than the run {self.run} ({_difference(self._spec, spec)}): "
                "give this worker the same version and environment as the others, or make a new run"
            )
        member.incarnation = message.incarnation
        self._allow()

    async def accept(self, member: Member, chunk: ChunkMessage, data: bytes) -> None:
        """Queue a chunk, with the bytes it came in, for the next commit.

        Waits while the queue is full, so that the worker's link is read no further.  Raises ProtocolError for what cannot be
        stored: here it costs that worker its link, later it would cost everybody the relay.
        """
        episode = _episode(chunk, chunk.summary) if chunk.summary is not None else None
        arrived = _Arrived(member, chunk, data, episode)
        try:
            packed_facts(arrived.record())
        except BadInput as error:
            raise ProtocolError(f"chunk {chunk.number} cannot be stored: {error}") from error
        while self._queued_bytes >= QUEUE_BYTES:
            self._room.clear()
            await self._room.wait()
        self._queued_bytes += len(data)
        try:
            await self._queue.put(arrived)
        except BaseException:  # its link broke while it waited
            self._taken(arrived)
            raise

    def _taken(self, arrived: _Arrived) -> _Arrived:
        """It is no longer in the queue: there is room for others."""
        self._queued_bytes -= len(arrived.data)
        self._room.set()
        return arrived

    @property
    def unstored(self) -> tuple[int, int]:
        """How many chunks have arrived and wait for the disk, and how many bytes."""
        return self._queue.qsize(), self._queued_bytes

    def feed_lag_bytes(self, member: Member) -> int:
        """How much of the log a trainer has not consumed yet; 0 while it asks for nothing."""
        return 0 if member.feeding is None else self.log.end - member.feeding.consumed

    async def commit(self) -> None:
        """Commit what is queued, batch by batch, until `close`."""
        while not self._closing and (first := await self._queue.get()) is not None:
            batch, size = [self._taken(first)], len(first.data)
            while len(batch) < COMMIT_CHUNKS and size < COMMIT_BYTES:
                arrived = None if self._queue.empty() else self._queue.get_nowait()
                if arrived is None:
                    break
                batch.append(self._taken(arrived))
                size += len(arrived.data)
            try:
                await self._commit(batch)
            except Exception as error:
                self._give_up(batch, error)
            await asyncio.sleep(GATHER_S * len(self._members))
        self._committed.set()

    def _give_up(self, batch: Sequence[_Arrived], error: Exception) -> None:
        """By a mistake of its own this program cannot store these: who sent them keeps them, and nobody else is troubled."""
        log.error("run %s: %d chunks cannot be stored", self.run, len(batch), exc_info=error)
        self._problem(
            f"{len(batch)} chunks cannot be stored ({error!r}): please report this, with what the relay's log says of it"
        )
        for member in {arrived.member for arrived in batch}:
            member.drop(INTERNAL, "the relay failed to store this; its log says why")

    async def close(self) -> None:
        """For a run that is to be deleted: commit no more, let go of what still waits, and close the log."""
        self._closing = True
        if self._sharing is not None:
            self._sharing.cancel()
        if self._queue.empty():
            self._queue.put_nowait(None)
        await self._committed.wait()
        while not self._queue.empty():
            arrived = self._queue.get_nowait()
            if arrived is not None:
                self._taken(arrived).member.put(Ack(arrived.chunk.incarnation, [arrived.chunk.number]))
            await asyncio.sleep(0)  # whoever waited for room has put its chunk into the queue now
        async with self._turning:  # nobody is at its segments
            await asyncio.to_thread(self.log.close)

    async def _commit(self, batch: list[_Arrived]) -> None:
        """Store a batch, then acknowledge it.

        Episodes are entered in between: after a crash there, the chunk is sent again and enters its episode then.
        """
        records = [arrived.record() for arrived in batch]
        await self._wait_for_room(sum(len(record.body) for record in records))
        stored = await self._insist(lambda: self.log.append(records)) or []
        ended = [
            (arrived.episode, place)
            for arrived, place in zip(batch, stored, strict=False)
            if arrived.episode is not None and await self._is_its_end(arrived.episode, place)
        ]
        if ended:
            await self._insist(lambda: self._store.episodes.add(self.run, [episode for episode, _ in ended]))
        for episode, place in ended:
            if not place.duplicate:
                self._feed.publish("episode", _shown(episode), self.run)
        if any(member.feeding is not None for member in self._members):
            places = ((place, record) for place, record in zip(stored, records, strict=False) if not place.duplicate)
            self._tail.extend([StoredBody(place.offset, place.next_offset, record.body) for place, record in places])
        else:
            self._tail.clear()
        self._grown.set()
        acknowledged: dict[tuple[Member, str], list[int]] = {}
        for arrived in batch:
            acknowledged.setdefault((arrived.member, arrived.chunk.incarnation), []).append(arrived.chunk.number)
        for (member, incarnation), numbers in acknowledged.items():
            member.put(Ack(incarnation, numbers))
        self._allow()
        if new := [episode for episode, place in ended if not place.duplicate]:
            await self._driven.enter(new)

    async def _is_its_end(self, episode: Episode, place: Appended) -> bool:
        """Whether what is stored there ends this episode: one that comes with a known chunk may be of another, made up for it."""
        if not place.duplicate or place.offset < 0:  # what was pruned had its episode entered long before
            return not place.duplicate
        try:
            found = await asyncio.to_thread(self.log.read, place.offset, 1)
        except StorageError as error:
            log.error("run %s: whether the episode %s is known cannot be seen: %s", self.run, episode.episode, error)
            return False
        return any(record.offset == place.offset and record.facts.episode == episode.episode for record in found)

    async def _wait_for_room(self, more_bytes: int) -> None:
        """Until the quotas allow that so much is stored; meanwhile nothing is acknowledged and nothing lost."""

        async def look() -> None:
            if reason := await self._lack_of_room(more_bytes):
                raise DiskFull(reason)

        await self.persist(look, NOT_STORED)

    async def _lack_of_room(self, more_bytes: int) -> str:
        """Make room in the run's own log and in the relay's budget; why there is none, or "" where there is."""
        excess = self.log.size_bytes + more_bytes - self._options.sample_log_bytes
        try:
            if excess > 0 and not await self._shrink(excess):
                self._ask_for_checkpoint()
                return (
                    f"its sample log takes {self.log.size_bytes:,} bytes and may take {self._options.sample_log_bytes:,} "
                    "(relay.sample_log_bytes), and the trainer or a checkpoint needs all of it: raise the quota, make the replay "
                    "memory smaller (replay.capacity), or have checkpoints written more often"
                )
            if self._kept_too_much:
                self._kept_too_much = await asyncio.to_thread(self._over_quota)
            return self._kept_too_much or await self._budget(more_bytes)
        except StorageError as error:
            return str(error)

    def _ask_for_checkpoint(self) -> None:
        """Have the trainers write a checkpoint now: its window may lie further on, and let samples go."""
        if time.monotonic() - self._asked_at >= ASK_AGAIN_S:
            self._asked_at = time.monotonic()
            for member in self._members:
                if member.role == "trainer":
                    member.put(Command(0, "checkpoint"))

    async def _shrink(self, excess: int) -> bool:
        """Free so much of the log; if need be, older checkpoints go that hold samples, but not where that would not help."""
        excess -= await self.free_samples(excess)
        if excess > 0 and await self.free_samples(excess, trimmed=True, dry_run=True) >= excess:
            gone = await asyncio.to_thread(self._store.checkpoints.trim, self.run)
            if gone:
                updates = ", ".join(str(info.update) for info in gone)
                log.warning("run %s: its log is full: the checkpoints at %s go, which held older samples", self.run, updates)
            excess -= await self.free_samples(excess, trimmed=True)  # the best one stays, and holds nothing
        return excess <= 0

    def _over_quota(self) -> str:
        """Why what is kept of weights or checkpoints takes too much, or "" where it does not."""
        kept = {
            "weights": sum(info.size for info in self._store.weights.all(self.run)),
            "checkpoints": sum(info.size for info in self._store.checkpoints.all(self.run)),
        }
        for what, quota in (("weights", self._options.weights_bytes), ("checkpoints", self._options.checkpoints_bytes)):
            if kept[what] > quota:
                return (
                    f"the newest, the best and the pinned {what} take {kept[what]:,} bytes and may take {quota:,} "
                    f"(relay.{what}_bytes): unpin some, or raise the quota"
                )
        return ""

    async def _insist(self, work: Callable[[], T]) -> T | None:
        """Do this in a thread, again and again while the disk refuses; until then nothing is acknowledged and nothing lost.

        Only a run that is being deleted gives up: None.
        """
        return await self.persist(lambda: asyncio.to_thread(work), NOT_STORED)

    async def persist(
        self,
        store: Callable[[], Awaitable[T]],
        trouble: str = "what its trainer sends cannot be stored, training waits",
        sender: Member | None = None,
    ) -> T | None:
        """Do this, which stores something, again and again while the disk refuses; what is the matter is told once.

        Whoever sent it waits: its link is read no further.  A link that ended instead would bring it again, and again end.  It is
        given up (None) for a run that is being deleted, and once a ``sender`` counts no more.
        """
        told = ""
        try:
            while True:
                try:
                    return await store()
                except StorageError as error:
                    if self._closing or (sender is not None and sender.cut):
                        return None
                    detail = f"{trouble}: {error}"
                if detail != told:
                    self._troubles.pop(told, None)
                    self._troubles[detail] = None
                    told = detail
                    self._problem(detail)
                await asyncio.sleep(RETRY_FULL_DISK_S)
        finally:
            self._troubles.pop(told, None)

    @property
    def trouble(self) -> str:
        """What is waited for because of the disk; "" while nothing is."""
        return next(iter(self._troubles), "")

    def _allow(self) -> None:
        """Have the workers told what they may collect: at once, unless they were told a moment ago."""
        if self._sharing is None:
            loop = asyncio.get_running_loop()
            wait_s = self._shared_at + SHARE_S * len(self._members) - loop.time()
            if wait_s <= 0.0:
                self._share()
            else:
                self._sharing = loop.call_later(wait_s, self._share)

    def _share(self) -> None:
        """Share what the trainer has granted and nobody has collected yet among the workers, in absolute numbers."""
        self._sharing = None
        self._shared_at = asyncio.get_running_loop().time()
        workers = [member for member in self._members if member.role == "worker" and member.incarnation]
        if not workers:
            return
        share, rest = divmod(max(0, self._granted - self.log.transitions("train")), len(workers))
        for index, member in enumerate(workers):
            names = (member.name, *member.link.peer.former)
            stored = sum(self.log.transitions_of(name, member.incarnation) for name in names)
            member.allow(Allowance(self.run, member.incarnation, stored + share + (index < rest)))

    # What trainers send

    def grant(self, message: Grant) -> None:
        """The trainer lets the run collect more."""
        self._granted = message.transitions
        self._allow()

    async def resume(self, member: Member, message: Resume) -> None:
        """A trainer begins: it gets its lineage, and then, never before, the log from its offset on.  Raises Refused.

        One that would go on from a lineage which was left since is told from where instead: a person may just have led the run back.
        """
        self._check_offset(member, message.offset)
        made_by = message.lineage if message.lineage >= 0 else None
        async with self._turning:
            if member not in self._members:  # another one has taken over meanwhile
                return
            checkpoint = self.newest_checkpoint()
            if checkpoint[1] > max(message.lineage, 0):
                member.point_to_checkpoint(*checkpoint)
                return
            try:
                lineage = await asyncio.to_thread(self._store.lineages.open, self.run, message.update, time.time(), made_by)
            except BadInput as error:
                raise Refused(
                    f"{member.name} goes on from a checkpoint of another run of this name: {error}  {self._start_over}"
                ) from error
        newest = self._store.weights.newest(self.run)
        self._stop_feeding(member)
        await member.link.send(Resumed(self.run, lineage, newest.version if newest else 0))
        if member in self._members:
            self.consume(member, Consume(self.run, message.offset, message.credit_bytes))

    def consume(self, member: Member, message: Consume) -> None:
        """Feed the log to a trainer from this offset.  Raises Refused."""
        self._check_offset(member, message.offset)
        self._stop_feeding(member)
        feeding = _Feeding(message.offset, message.offset, message.credit_bytes)
        feeding.task = asyncio.create_task(self._feed_trainer(member, feeding), name=f"feed {member.name}")
        member.feeding = feeding

    def _check_offset(self, member: Member, offset: int) -> None:
        """Nobody has more of the log than there is."""
        if offset > self.log.end:
            raise Refused(
                f"{member.name} has the samples of a run {self.run} up to offset {offset}, but those here end at {self.log.end}: "
                f"that was another run of this name.  {self._start_over}"
            )

    @property
    def _start_over(self) -> str:
        return f"Remove the folder trainer/runs/{self.run} from the trainer's data folder"

    def consumed(self, member: Member, offset: int) -> None:
        """The trainer has taken everything before ``offset``: there is room for more."""
        if member.feeding is not None:
            member.feeding.consumed = max(member.feeding.consumed, offset)
            member.feeding.room.set()

    async def _feed_trainer(self, member: Member, feeding: _Feeding) -> None:
        """Send the log until cancelled, or until the link ends (which its reader notices)."""
        try:
            while True:
                room = feeding.credit_bytes - (feeding.sent - feeding.consumed)
                if room > 0:
                    await self._feed_some(member, feeding, min(FEED_BYTES, room))
                else:
                    feeding.room.clear()
                    await feeding.room.wait()
        except LinkError:
            return
        except StorageError as error:
            self._problem(f"the sample log cannot be read: {error}")
            member.drop(GOING_AWAY, str(error))

    async def _feed_some(self, member: Member, feeding: _Feeding, most_bytes: int) -> None:
        """Send what comes next; waits for it if there is nothing, or nothing that can be read."""
        end = self.log.end
        records = self._tail.read(feeding.sent, most_bytes, FEED_RECORDS)
        if not records and end > feeding.sent:
            found = await asyncio.to_thread(self.log.read, feeding.sent, most_bytes)
            records = [StoredBody(record.offset, record.next_offset, record.body) for record in found]
        for start in range(0, len(records), FEED_RECORDS):
            await member.link.send(seal_stored(self.run, records[start : start + FEED_RECORDS]))
        if records:
            feeding.sent = records[-1].next_offset
        elif self.log.end == end:
            self._grown.clear()
            await self._grown.wait()

    async def publish(self, message: WeightsMessage) -> None:
        """Store a version of the policy, then send it to the run's workers; one of a lineage that was left is let go.

        Raises ProtocolError for one that no update can have made.
        """
        m = message
        if m.version < 0 or m.update < 0:
            raise ProtocolError(f"weights are of version {m.version}, made by {m.update} updates: both count from 0", INVALID)
        await self._make_room(len(m.payload))
        async with self._turning:
            if m.lineage < self.newest_checkpoint()[1]:
                log.info(
                    "run %s: the weights of version %d are of a lineage that was left: they are let go", self.run, m.version
                )
                return
            await asyncio.to_thread(self._store.weights.add, m.run, m.version, m.update, m.lineage, m.payload, time.time())
            self._kept_too_much = await asyncio.to_thread(self._over_quota)
        self._newest = message
        self._driven.publish(m.version, m.lineage, m.update)
        for member in self._members:
            if member.role == "worker":
                member.put(message)
        self._feed.publish("weights", {"version": message.version, "update": message.update}, self.run)

    async def _make_room(self, more_bytes: int) -> None:
        """For weights or a checkpoint.  Without any they are stored all the same, older ones being gone: else samples never went."""
        if reason := await self._budget(more_bytes, beside_log=True):
            log.info("run %s: what its trainer sends is kept beyond the quota: %s", self.run, reason)

    def newest_checkpoint(self) -> tuple[int, int]:
        """Update and lineage of the newest checkpoint that the relay holds; -1 and -1 for none."""
        newest = self._store.checkpoints.newest(self.run)
        return (newest.update, newest.lineage) if newest else (-1, -1)

    async def keep_checkpoint(self, message: CheckpointMessage) -> None:
        """Store a copy of a trainer's checkpoint, and prune what no kept one needs."""
        m = message
        await self._make_room(len(m.payload))
        await asyncio.to_thread(
            self._store.checkpoints.add,
            m.run,
            update=m.update,
            lineage=m.lineage,
            offset=m.offset,
            window=m.window,
            data=m.payload,
            received_at=time.time(),
        )
        self._kept_too_much = await asyncio.to_thread(self._over_quota)
        self._feed.publish("checkpoint", {"update": m.update}, self.run)
        if (excess := self.log.size_bytes - self._options.sample_log_bytes) > 0:
            await self.free_samples(excess)

    async def go_back(self, update: int, fewer_samples: bool) -> CheckpointInfo:
        """Lead the run back to a checkpoint: from now on it is the newest, of a new lineage, and trainers go on from it.

        Raises NotFound, and Conflict where it is damaged, too few samples are left, or (without ``fewer_samples``) not all.
        """
        checkpoints = self._store.checkpoints
        async with self._turning:
            try:
                info = await asyncio.to_thread(checkpoints.find, self.run, update)
                self._check_samples(info, fewer_samples)
                info = await asyncio.to_thread(checkpoints.go_back, self.run, info, time.time())
            except Damaged as error:
                raise Conflict(f"the run {self.run} cannot go back to update {update}: {error}") from error
            for member in self._members:
                if member.role == "trainer":
                    member.point_to_checkpoint(info.update, info.lineage)
        return info

    def _check_samples(self, info: CheckpointInfo, fewer_samples: bool) -> None:
        """Raises Conflict where the log no longer has what the replay memory held at this checkpoint."""
        begin, what = self.log.begin, f"the checkpoint of the run {self.run} at update {info.update}"
        if info.offset < begin:
            raise Conflict(
                f"{what} cannot be gone on from: the samples up to it, and some that came after, are no longer in the log, so that "
                "its training would wait for ever for those that it counts on. Make a new run that starts from the weights of "
                "that time (training.start_from)"
            )
        if info.window < begin and not fewer_samples:
            left = (info.offset - begin) / (info.offset - info.window)
            raise Conflict(
                f"{what} can be gone on from with fewer samples only: of those that its replay memory held, the log has {left:.0%} "
                "left. The training would begin with these, and take in what was collected after. If that is good enough, ask for it "
                "with fewer samples (tmrld checkpoint resume --fewer-samples)"
            )

    async def fetch_checkpoint(self, member: Member, update: int) -> None:
        """Send a trainer the checkpoint that it asks for; if that is gone or damaged, point it to the newest that is left."""
        try:
            info, data = await asyncio.to_thread(self._store.checkpoints.load, self.run, update)
        except (NotFound, Damaged) as error:
            self._problem(f"{member.name} cannot have the checkpoint at update {update}: {error}")
            member.point_to_checkpoint(*self.newest_checkpoint())
            return
        member.put(CheckpointMessage(self.run, info.update, info.lineage, info.offset, info.window, data))

    async def record(self, message: Metrics) -> None:
        """Store a point of the curves.  Raises ProtocolError for values that are no numbers, and for too many names.

        Where the quotas leave no room it is let go: a trainer that waited could not send the checkpoint that lets samples go.
        """
        try:
            values = {name: float(value) for name, value in message.values.items()}
        except (TypeError, ValueError, OverflowError) as error:
            raise ProtocolError(f"metrics.values holds something that is no number: {error}", INVALID) from error
        point = Metric(message.lineage, message.update, message.transitions, time.time(), values)
        lacked, reason = self._lacks_points, await self._budget(POINT_BYTES * len(values), beside_log=True)
        self._lacks_points = bool(reason)
        if reason:
            if not lacked:
                self._problem(f"points of its curves are not stored: {reason}")
            return
        try:
            await asyncio.to_thread(self._store.metrics.add, self.run, [point])
        except BadInput as error:
            raise ProtocolError(f"metrics cannot be stored: {error}", INVALID) from error
        event = metrics_event(message.update, message.transitions, message.lineage, values)
        self._feed.publish("metrics", event, self.run)

    async def keep_track(self, message: TrackLine) -> None:
        """Store the line that the run is driven on.  Raises ProtocolError for one that is none."""
        points = np.frombuffer(message.payload, "<f4") if len(message.payload) % 8 == 0 else np.full(1, np.nan)
        if not len(points) or not np.isfinite(points).all():
            raise ProtocolError("track.payload does not hold pairs of finite coordinates", INVALID)
        track = Track(message.track, message.width_m, points.reshape(-1, 2))
        await self._insist(lambda: self._store.tracks.put(self.run, track))

    @property
    def log_bytes(self) -> int:
        """What the log takes on the disk."""
        return self.log.size_bytes

    async def free_samples(self, wanted_bytes: int, *, trimmed: bool = False, dry_run: bool = False) -> int:
        """Unlink the oldest segments until so much is free, but none that the trainer or a kept checkpoint needs; tells how much.

        ``trimmed`` leaves those checkpoints out that `CheckpointStore.trim` would let go.
        """
        async with self._turning:
            if self._closing:
                return 0
            return await asyncio.to_thread(self._prune, wanted_bytes, self._oldest_feeding(), trimmed, dry_run)

    def _prune(self, wanted_bytes: int, fed: int, trimmed: bool, dry_run: bool) -> int:
        needed = self._store.checkpoints.oldest_window(self.run, trimmed=trimmed)
        if needed is None:
            return 0
        stop, freed = self.log.freeable(wanted_bytes, min(needed, fed))
        if dry_run or not freed:
            return freed
        return self.log.prune(stop)

    def _oldest_feeding(self) -> int:
        offsets = [member.feeding.consumed for member in self._members if member.feeding is not None]
        return min(offsets, default=self.log.end)

    def _stop_feeding(self, member: Member) -> None:
        if member.feeding is not None and member.feeding.task is not None:
            member.feeding.task.cancel()
        member.feeding = None

    def _problem(self, detail: str) -> None:
        log.error("run %s: %s", self.run, detail)
        self._feed.publish("problem", {"detail": detail}, self.run)


def _episode(chunk: ChunkMessage, summary: Plain) -> Episode:
    """The episode that this last chunk ends.  Raises ProtocolError."""
    return Episode(
        episode=chunk.episode,
        worker=chunk.worker,
        purpose=chunk.purpose,
        track=chunk.track,
        seed=chunk.seed,
        received_at=time.time(),
        summary=open_summary(summary),
    )


def _check_spec(spec: Plain) -> None:
    """Raises ProtocolError for spaces that no trainer could read."""
    try:
        found = EnvSpec.from_plain(spec)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"describe.spec does not describe spaces: {error!r} is missing or wrong", INVALID) from error
    lengths = [length for part in found.parts for length in part.shape]
    if min(lengths, default=1) < 1 or not 0 < found.observation_size <= MAX_RAW_BYTES:
        raise ProtocolError(
            f"describe.spec has observations of {found.observation_size} numbers: no chunk could hold one", INVALID
        )


def _shown(episode: Episode) -> dict[str, Any]:
    """What listeners are told of an episode."""
    summary = episode.summary
    return {
        "episode": episode.episode,
        "worker": episode.worker,
        "purpose": episode.purpose,
        "track": episode.track,
        "steps": summary.steps,
        "episode_return": summary.episode_return,
        "finished": summary.finished,
        "lap_time_s": summary.lap_time_s,
        "progress": summary.progress,
        "actor": summary.actor,
        "weights_version": summary.weights_version,
        "received": episode.received_at,
    }


def _difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The first part in which two described spaces differ."""
    for key in expected:
        if expected[key] != found.get(key):
            return f"{key}: {found.get(key)!r} instead of {expected[key]!r}"
    return "other parts"
