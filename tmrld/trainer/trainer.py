"""The trainer's shell in its daemon: passes messages between the relay and the engine of the run it is assigned to.

What must reach the relay in spite of a broken line: the newest weights and checkpoint, the newest grant, where to go on reading,
and a bounded number of metrics (the oldest go first).  Everything else is said again by the engine when it starts.  The engine never
waits for the line (`outgoing`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from tmrld.configuration import TRAINER_GROUPS, changes, need_restart
from tmrld.engines.entry import FAILED
from tmrld.engines.options import EngineOptions
from tmrld.engines.supervisor import Engine, EngineEvent
from tmrld.errors import BadInput, Damaged, LinkError, ProtocolError, StorageError
from tmrld.events import Feed
from tmrld.fetching import Fetching
from tmrld.peers.link import Link
from tmrld.protocol.messages import (
    Assign,
    CheckpointMessage,
    Command,
    Consume,
    FetchCheckpoint,
    FileMessage,
    Grant,
    LogLines,
    Message,
    Result,
    Resume,
    Resumed,
    Spaces,
    Status,
    Stored,
    WeightsMessage,
)
from tmrld.storage import files
from tmrld.storage.layout import Layout
from tmrld.trainer.checkpoints import CheckpointFolder, Journal, pack, unpack
from tmrld.trainer.engine import CREDIT_BYTES
from tmrld.trainer.outgoing import Outgoing

log = logging.getLogger(__name__)
engine_log = logging.getLogger("tmrld.engine")

STOP_TIMEOUT_S = 2.0
MADE_KIND = "tmrld run made"
RETRY_DISK_S = 5.0
FAREWELL_S = 1.0
"""How long a daemon that ends tries to send what its engine left, first of all the last checkpoint."""


Doctor = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Looks at this machine and the world of a run ({} for none); returns its report as plain values, and never fails."""


class TrainerRole:
    """One trainer.  `serve` runs once per link; the engine lives on between links."""

    def __init__(self, layout: Layout, device: str, feed: Feed, doctor: Doctor | None = None, profile_updates: int = 0) -> None:
        self._layout = layout
        self._device = device
        self._profile_updates = profile_updates
        self._feed = feed
        self._files = Fetching(layout.trainer_files, self._to_relay, self._start_when_equipped, "training")
        self._link: Link | None = None
        self._assigned = Assign("", {}, 0, "stopped")
        self._engine: Engine | None = None
        self._closing = False
        self._held = False
        """Whether a person has stopped the engine."""
        self._doctor = doctor
        self._examination: asyncio.Task[None] | None = None
        self._session = _Session()
        self._outgoing = Outgoing()

    async def serve(self, link: Link) -> None:
        """Work for the relay at the other end until the link ends; raises as the link does."""
        self._link = link
        self._files.forget()
        self._outgoing.begin(self._to_catch_up())
        if self._held:
            self._outgoing.put(self._held_status)
        sending = asyncio.create_task(self._send(link))
        try:
            async for message in link:
                await self._from_relay(message)
        finally:
            self._link = None
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, LinkError, ProtocolError):
                await sending

    def tell_lines(self, message: LogLines) -> None:
        """Have log lines of this daemon sent to the relay; the newest are kept while there is no link."""
        self._outgoing.put(message)

    async def close(self) -> None:
        """Stop the engine; it writes a last checkpoint, which is sent if the link still stands."""
        self._closing = True
        if self._examination is not None:
            self._examination.cancel()
            await asyncio.wait({self._examination})
        await self._stop_engine()
        if self._link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._outgoing.all_sent()

    async def restart_engine(self) -> None:
        """Stop the engine and start a new one, which resumes where this one stopped."""
        if self._engine is not None:
            await self._engine.restart(STOP_TIMEOUT_S)

    # From the relay

    async def _from_relay(self, message: Message) -> None:
        match message:
            case Assign():
                await self._assign(message)
            case Spaces():
                self._session.spaces = message
                await self._to_engine(message)
            case Resumed() if self._session.resume is not None and message.run == self._assigned.run:
                self._session.resumed = True
                self._session.lineage = message.lineage
                await self._to_engine(message)
            case Stored() if self._session.resumed and message.run == self._assigned.run:
                self._session.next_offset = message.next_offset
                await self._to_engine(message)
            case Resumed() | Stored():
                pass  # the answer to an engine that is no more
            case CheckpointMessage():
                await self._adopt(message)
            case FileMessage():
                await self._files.keep(message)
            case Command():
                await self._command(message)
            case _:
                log.warning("a trainer has no use for %s", type(message).__name__)

    async def _command(self, message: Command) -> None:
        """Do with the engine what a person wants, and answer; other commands are for the engine itself."""
        error = ""
        match message.name:
            case "stop":
                self._held = True
                await self._stop_engine()
                self._outgoing.put(self._held_status)
            case "start":
                self._held = False
                await self._assign(self._assigned)
            case "restart" if self._engine is not None:
                await self.restart_engine()
            case "restart":
                error = "it has no engine now, because it was stopped or there is no run for it"
            case "doctor" if self._examination is not None and not self._examination.done():
                error = "it is being looked at already"
            case "doctor" if self._doctor is not None:
                self._examination = asyncio.create_task(self._examine(self._doctor, message.id))
                return
            case _:
                await self._to_engine(message)
                return
        self._outgoing.put(Result(message.id, error))

    async def _examine(self, doctor: Doctor, question: int) -> None:
        """Have the doctor look at this machine, beside all else, and answer."""
        self._outgoing.put(Result(question, value=await doctor({})))

    @property
    def _held_status(self) -> Status:
        return Status(self._assigned.run, "stopped", "its engine was stopped by hand, and waits to be started")

    async def _assign(self, message: Assign) -> None:
        """Start, stop or change the engine as the assignment says."""
        before, self._assigned = self._assigned, message
        if message.files != before.files:
            self._files.forget()  # the relay does not answer what was asked for an assignment before
        same_run = (message.run, message.created) == (before.run, before.created)
        same_work = same_run and not need_restart(changes(before.config, message.config), TRAINER_GROUPS)
        same_work = same_work and not self._is_superseded(message)
        if message.reason and message.reason != before.reason:
            log.warning("%s", message.reason)
            self._feed.publish("problem", {"detail": message.reason}, before.run)
        if self._engine is not None and not (self._wanted and same_work and message.files == before.files):
            await self._stop_engine()
        if message.reason:
            self._outgoing.put(Status("", "waiting", message.reason))
        if not self._wanted:
            return
        if self._engine is None:
            await self._start_when_equipped()
        else:
            await self._to_engine(message)

    def _is_superseded(self, message: Assign) -> bool:
        """Whether the engine is at work in a lineage that the relay has left: the run was led back to an older checkpoint."""
        return self._session.lineage is not None and message.checkpoint_lineage > self._session.lineage

    @property
    def _wanted(self) -> bool:
        """Whether there is something for an engine to do."""
        active = bool(self._assigned.run) and self._assigned.state in ("running", "paused")
        return active and not self._closing and not self._held

    async def _start_when_equipped(self) -> None:
        """Start the engine if all files are here that it needs, from the relay's checkpoint where that is newer than ours."""
        message = self._assigned
        if not await self._files.are_here(message.run, message.files, lambda: self._is_next(message)):
            return
        await asyncio.to_thread(self._forget_namesake, message)
        own = await asyncio.to_thread(CheckpointFolder(self._layout.trainer_checkpoints(message.run)).newest)
        if not self._is_next(message):
            return
        if (message.checkpoint_lineage, message.checkpoint_update) > ((own.lineage, own.update) if own else (-1, -1)):
            self._outgoing.put(FetchCheckpoint(message.run, message.checkpoint_update))
        else:
            await self._start_engine()

    def _is_next(self, message: Assign) -> bool:
        """Whether this is still what an engine is to be started for; meanwhile something else may have been decided."""
        return self._engine is None and self._wanted and message == self._assigned

    def _forget_namesake(self, assigned: Assign) -> None:
        """Remove what is kept of another run of this name, which was deleted at the relay.  Raises StorageError."""
        folder, path = self._layout.trainer_run(assigned.run), self._layout.trainer_made(assigned.run)
        made = {"created": assigned.created}
        reason = ""
        try:
            if path.exists() and files.read_manifest(path, MADE_KIND, 1) != made:
                reason = f"the run {assigned.run} was deleted and made anew"
        except Damaged as error:
            reason = f"{error}  It says which run the rest of the folder belongs to"
        if reason:
            log.warning("%s: what is here of it is removed, and comes again from the relay as far as it has it", reason)
            with files.explaining("remove", folder):
                shutil.rmtree(folder)
        files.make_folder(folder)
        files.write_manifest(path, MADE_KIND, 1, made)

    async def _adopt(self, message: CheckpointMessage) -> None:
        """The relay's checkpoint is newer than any here: go on from it.  The journal here does not lead on from it.

        While it cannot be stored, it is asked for again and again: going on from an older one would throw training away.
        """
        if message.run != self._assigned.run or self._engine is not None or not self._wanted or self._files.waits:
            return
        if message.lineage < self._assigned.checkpoint_lineage:
            return  # it was asked for before the run was led back to another one, which comes, too
        try:
            await asyncio.to_thread(self._store_checkpoint, message)
        except StorageError as error:
            log.error("%s", error)
            self._outgoing.put(
                Status(message.run, "problem", f"training waits for a checkpoint that can be kept here: {error}")
            )
            again = FetchCheckpoint(message.run, message.update)
            asyncio.get_running_loop().call_later(RETRY_DISK_S, self._outgoing.put, again)
            return
        await self._start_engine()

    def _store_checkpoint(self, message: CheckpointMessage) -> None:
        """Make the relay's checkpoint the one that the engine begins from.  Raises StorageError, Damaged among them.

        Of a run that was led back to it, it was made in another lineage than it is of now: here it is written into it, so that
        the engine goes on in this lineage, and this daemon knows later that it has it.
        """
        checkpoint, data = unpack(message.payload, f"the relay's checkpoint at update {message.update}"), message.payload
        if checkpoint.lineage != message.lineage:
            data = pack(replace(checkpoint, lineage=message.lineage))
        journal = Journal(self._layout.trainer_journal(message.run))
        journal.clear()  # first: whatever is cut off after this, nobody follows it from the checkpoint to where it led
        journal.close()
        folder = CheckpointFolder(self._layout.trainer_checkpoints(message.run))
        folder.remove_beyond(checkpoint.update)
        folder.save(checkpoint.update, checkpoint.window, data)

    # The engine

    async def _start_engine(self) -> None:
        self._session = _Session(spaces=self._session.spaces)
        self._engine = Engine(
            "trainer",
            "tmrld.trainer.engine:run",
            self._arguments,
            on_message=self._from_engine,
            on_start=self._brief,
            on_event=self._tell,
            options=EngineOptions(threads=1, stop_timeout_s=STOP_TIMEOUT_S, hang_timeout_s=120),
        )
        await self._engine.start()

    def _arguments(self) -> dict[str, Any]:
        return {
            "run": self._assigned.run,
            "config": self._assigned.config,
            "revision": self._assigned.revision,
            "data": str(self._layout.root),
            "device": self._device,
            "files": self._files.paths(self._assigned.files),
            "profile_updates": self._profile_updates,
        }

    async def _stop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.stop()

    async def _brief(self) -> None:
        """A new engine process knows nothing: tell it what it needs."""
        self._session = _Session(spaces=self._session.spaces)
        await self._to_engine(self._assigned)
        if self._session.spaces is not None and self._session.spaces.run == self._assigned.run:
            await self._to_engine(self._session.spaces)

    async def _to_relay(self, message: Message) -> None:
        self._outgoing.put(message)

    async def _to_engine(self, message: Message) -> None:
        if self._engine is not None:
            await self._engine.send(message)

    async def _from_engine(self, message: Message) -> None:
        """Remember what must not get lost, then pass it on."""
        session = self._session
        match message:
            case Grant():
                session.grant = message
            case Resume():
                session.resume = message
                session.lineage = max(message.lineage, 0)
                session.next_offset = message.offset
            case WeightsMessage():
                session.weights = message
            case CheckpointMessage():
                session.checkpoint = message
            case LogLines():
                for line in message.lines:
                    engine_log.info("trainer: %s", line[-1])
            case Status() if message.state == FAILED:  # `_tell` says so, with what follows from it
                return
            case Status():
                dropped = self._engine.dropped if self._engine is not None else 0
                message = replace(message, values=message.values | {"left_out": self._outgoing.dropped + dropped})
            case _:
                pass
        self._outgoing.put(message)

    def _tell(self, event: EngineEvent) -> None:
        self._feed.publish("engine", {"engine": event.engine, "kind": event.kind, "detail": event.text}, self._assigned.run)
        if event.kind in ("crashed", "hung"):
            self._outgoing.put(Status(self._assigned.run, FAILED, event.text, {"traceback": event.traceback[-4000:]}))

    # To the relay

    async def _send(self, link: Link) -> None:
        """Send what there is to be sent, as long as this link stands."""
        while True:
            message = await self._outgoing.get()
            try:
                await link.send(message)
            except BadInput as error:
                log.error("a %s cannot be sent to the relay: %s", type(message).__name__, error)

    def _to_catch_up(self) -> Iterator[Message]:
        """After a new link: what the relay may have missed, to be said again."""
        session = self._session
        if self._engine is None:
            return
        if session.resume is not None and session.resumed:
            yield Consume(session.resume.run, session.next_offset, CREDIT_BYTES)
        elif session.resume is not None:
            yield session.resume
        for message in (session.grant, session.weights, session.checkpoint):
            if message is not None:
                yield message


class _Session:
    """What one life of the engine has said and been told, as far as a new link needs it."""

    def __init__(self, spaces: Spaces | None = None) -> None:
        self.spaces = spaces
        self.grant: Grant | None = None
        self.resume: Resume | None = None
        self.resumed = False
        self.lineage: int | None = None
        """That in which the engine is at work; None until it has said from which it goes on."""
        self.next_offset = 0
        self.weights: WeightsMessage | None = None
        self.checkpoint: CheckpointMessage | None = None
