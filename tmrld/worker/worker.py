"""The worker's shell in its daemon: keeps chunks until the relay has them for good, and steers the engine.

An engine's chunks enter the outbox, which says in what order they are sent; status, pictures and log lines go in between.  When
neither memory nor spool has room, the engine is paused, with a message that says so, until acknowledgements make room.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from tmrld.configuration import WORKER_GROUPS, changes, need_restart, patched
from tmrld.engines.entry import FAILED
from tmrld.engines.options import EngineOptions
from tmrld.engines.supervisor import Engine, EngineEvent
from tmrld.errors import BadInput, LinkError, ProtocolError, StorageError
from tmrld.events import Feed
from tmrld.fetching import Fetching
from tmrld.peers.link import Link
from tmrld.protocol.messages import (
    Ack,
    Allowance,
    Assign,
    ChunkMessage,
    Command,
    Describe,
    FileMessage,
    LogLines,
    Message,
    Preview,
    Result,
    Status,
    TrackLine,
    WeightsMessage,
)
from tmrld.worker.aside import Aside
from tmrld.worker.outbox import Outbox

log = logging.getLogger(__name__)
engine_log = logging.getLogger("tmrld.engine")

STOP_TIMEOUT_S = 1.0
RETRY_SPOOL_S = 5.0


Doctor = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Looks at this machine and the world of a run ({} for none); returns its report as plain values, and never fails."""


class WorkerRole:
    """One worker, whose engine drives ``environments`` cars.  `serve` runs once per link.

    What the run needs of the relay's shelf is kept in the folder ``files``, and is there before the engine starts.

    Between links the engine drives on, or with ``on_relay_lost="pause"`` lets go of the controls until the relay is back.
    ``doctor`` looks what is wrong with this machine, in a process of its own.
    """

    def __init__(
        self,
        name: str,
        outbox: Outbox,
        feed: Feed,
        environments: int = 1,
        *,
        files: Path,
        on_relay_lost: Literal["drive", "pause"] = "drive",
        doctor: Doctor | None = None,
    ) -> None:
        self._name = name
        self._outbox = outbox
        self._feed = feed
        self._environments = environments
        self._files = Fetching(files, self._to_relay, self._start_when_equipped, "driving")
        self._needs_relay = on_relay_lost == "pause"
        self._doctor = doctor
        self._examination: asyncio.Task[None] | None = None
        self._game_is_looked_at = False
        self._link: Link | None = None
        self._assigned = Assign("", {}, 0, "stopped")
        self._engine: Engine | None = None
        self._closing = False
        self._held = False
        """Whether a person has stopped the engine."""
        self._describe: Describe | None = None
        self._to_describe: Describe | None = None
        """What goes before the next chunk."""
        self._track: TrackLine | None = None
        self._preview: Command | None = None
        self._aside = Aside()
        self._weights: WeightsMessage | None = None
        self._allowance: Allowance | None = None
        self._produced: Counter[str] = Counter()
        """Training transitions of each run that went into the outbox: an allowance counts those of its run alone."""
        self._told = asyncio.Event()
        """Set once the relay at the other end has said which run to work for, and the engine and outbox of another one know it."""
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def serve(self, link: Link) -> None:
        """Work for the relay at the other end until the link ends; raises as the link does."""
        self._link = link
        if link.own_name and link.own_name != self._name:
            log.info("the relay calls this worker %s from now on", link.own_name)
            self._name = link.own_name
            await self.restart_engine()  # it marks what it drives with the name
        self._aside.begin()
        if self._held:
            await self._to_relay(self._held_status)
        self._files.forget()
        self._outbox.rewind()
        self._to_describe = self._describe
        self._told.clear()
        self._filled.set()
        await self._show(Command(0, "preview", {"on": False}))  # whoever watched asks the relay again, and that asks here
        sending = [asyncio.create_task(self._send_chunks(link)), asyncio.create_task(self._send_aside(link))]
        try:
            async for message in link:
                await self._from_relay(message)
        finally:
            self._link = None
            if self._needs_relay:
                log.warning("the relay is lost: the engine pauses until it is back (worker.on_relay_lost)")
                await self._to_engine(self._order)
            for task in sending:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, LinkError, ProtocolError):
                    await task

    def tell_lines(self, message: LogLines) -> None:
        """Have log lines of this daemon sent to the relay; the newest are kept while there is no link."""
        self._aside.put(message)

    async def close(self) -> None:
        """Stop the engine, and put what is not acknowledged on the disk for the next start."""
        self._closing = True
        if self._examination is not None:
            self._examination.cancel()
            await asyncio.wait({self._examination})
        await self._stop_engine()
        await asyncio.to_thread(self._outbox.close)

    async def restart_engine(self) -> None:
        """Stop the engine and start a new one, even while it waits for room."""
        if self._engine is not None:
            await self._stop_engine()
            await self._start_engine()

    # From the relay

    async def _from_relay(self, message: Message) -> None:
        match message:
            case Assign():
                if (message.run, message.created) != (self._assigned.run, self._assigned.created):
                    self._told.clear()
                await self._assign(message)
                self._told.set()
            case Ack():
                self._outbox.acknowledge(message.incarnation, message.numbers)
                self._room.set()
            case Allowance():
                self._allowance = message
                await self._to_engine(message)
            case WeightsMessage():
                self._weights = message
                await self._to_engine(message)
            case FileMessage():
                await self._files.keep(message)
            case Command(name="preview"):
                await self._show(message)
            case Command():
                await self._command(message)
            case _:
                log.warning("a worker has no use for %s", type(message).__name__)

    async def _show(self, message: Command) -> None:
        """Have the engine send pictures, or no more."""
        self._preview = message
        await self._to_engine(message)

    async def _command(self, message: Command) -> None:
        """Do with the engine what a person wants, and answer; other commands are for the engine itself."""
        error = ""
        match message.name:
            case "stop":
                self._held = True
                await self._stop_engine()
                await self._to_relay(self._held_status)
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
        await self._to_relay(Result(message.id, error))

    @property
    def _held_status(self) -> Status:
        return Status(self._assigned.run, "stopped", "its engine was stopped by hand, and waits to be started")

    async def _assign(self, message: Assign) -> None:
        before, self._assigned = self._assigned, message
        if message.files != before.files:
            self._files.forget()  # the relay does not answer what was asked for an assignment before
        same_run = (message.run, message.created) == (before.run, before.created)
        same_work = same_run and not need_restart(changes(before.config, message.config), WORKER_GROUPS)
        if self._engine is not None and not (self._wanted and same_work and message.files == before.files):
            await self._stop_engine()
        if not same_run:
            self._weights = self._allowance = None
        if message.run and self._outbox.belongs(message.run, message.created):
            del self._produced[message.run]  # another one of that name has collected nothing
        if not self._wanted:
            return
        if self._engine is None:
            await self._start_when_equipped()
        else:
            await self._to_engine(message)

    @property
    def _wanted(self) -> bool:
        """Whether there is something for an engine to do."""
        active = bool(self._assigned.run) and self._assigned.state in ("running", "paused")
        return active and not self._closing and not self._held and not self._game_is_looked_at

    # The doctor

    async def _examine(self, doctor: Doctor, question: int) -> None:
        """Have the doctor look, and answer; the engine lets go of the game meanwhile, whose plugin serves one at a time."""
        environment = self._config["environment"] if self._assigned.run else {}
        self._game_is_looked_at = environment.get("game") == "trackmania"
        try:
            if self._game_is_looked_at and self._engine is not None:
                await self._to_relay(
                    Status(self._assigned.run, "paused", "the doctor looks at the game; the engine starts again")
                )
                await self._stop_engine()
            report = await doctor(environment)
        finally:
            if self._game_is_looked_at:
                self._game_is_looked_at = False
                await self._assign(self._assigned)
        await self._to_relay(Result(question, value=report))

    # Files of the relay's shelf

    async def _start_when_equipped(self) -> None:
        """Start the engine if all files are here that it needs."""
        message = self._assigned
        if await self._files.are_here(message.run, message.files, lambda: self._is_next(message)):
            await self._start_engine()

    def _is_next(self, message: Assign) -> bool:
        """Whether this is still what an engine is to be started for; meanwhile something else may have been decided."""
        return self._engine is None and self._wanted and message == self._assigned

    # The engine

    async def _start_engine(self) -> None:
        self._describe = self._to_describe = self._track = None
        self._engine = Engine(
            "worker",
            "tmrld.worker.engine:run",
            self._arguments,
            on_message=self._from_engine,
            on_start=self._brief,
            on_event=self._tell,
            options=EngineOptions(threads=1, stop_timeout_s=STOP_TIMEOUT_S),
        )
        await self._engine.start()

    def _arguments(self) -> dict[str, Any]:
        return {
            "run": self._assigned.run,
            "worker": self._name,
            "config": self._config,
            "produced": self._produced[self._assigned.run],
            "environments": self._environments,
            "files": self._files.paths(self._assigned.files),
        }

    @property
    def _config(self) -> dict[str, Any]:
        """The run's configuration, with the path of its track here if that is one of the relay's shelf."""
        config = self._assigned.config
        path = self._files.paths(self._assigned.files).get(f"tracks/{config['environment']['track']}")
        return config if path is None else patched(config, {"environment": {"track": path}})

    async def _stop_engine(self) -> None:
        engine, self._engine = self._engine, None
        self._describe = self._to_describe = self._track = None
        self._room.set()
        if engine is not None:
            await engine.stop()

    async def _brief(self) -> None:
        """A new engine process knows nothing: tell it what it needs."""
        for message in (self._order, self._allowance, self._weights, self._preview):
            if message is not None:
                await self._to_engine(message)

    @property
    def _order(self) -> Assign:
        """What the engine is to do now: what was assigned, unless it takes a relay to drive and there is none."""
        waits = self._needs_relay and self._link is None
        return dataclasses.replace(self._assigned, state="paused") if waits else self._assigned

    async def _to_engine(self, message: Message) -> None:
        if self._engine is not None:
            await self._engine.send(message)

    async def _from_engine(self, message: Message) -> None:
        match message:
            case ChunkMessage():
                await self._keep(message)
            case Describe():
                self._describe = dataclasses.replace(message, incarnation=self._outbox.incarnation)
                self._to_describe = self._describe
                self._filled.set()
            case LogLines():
                for line in message.lines:
                    engine_log.info("worker: %s", line[-1])
                self._aside.put(message)
            case TrackLine():
                self._track = message
                await self._to_relay(message)
            case Preview():
                await self._to_relay(message)
            case Status():
                if message.state != FAILED:  # `_tell` says so, with what follows from it
                    backlog = {
                        "backlog_chunks": len(self._outbox),
                        "spooled_bytes": self._outbox.spooled_bytes,
                        "left_out": self._aside.dropped + (self._engine.dropped if self._engine is not None else 0),
                    }
                    await self._to_relay(dataclasses.replace(message, values=message.values | backlog))
            case _:
                log.warning("the worker's engine sent %s, which has no meaning here", type(message).__name__)

    async def _keep(self, chunk: ChunkMessage) -> None:
        """Put a chunk into the outbox; while there is no room, the engine is paused and the chunk waits."""
        paused = False
        while True:
            try:
                self._outbox.put(chunk)
                self._produced[chunk.run] += chunk.steps if chunk.purpose == "train" else 0
                break
            except StorageError as error:
                self._room.clear()
                if not paused:
                    paused = True
                    log.error("collection stops until the relay has taken what waits here: %s", error)
                    self._feed.publish("problem", {"detail": f"collection stops: {error}"}, chunk.run)
                    await self._to_relay(Status(chunk.run, "problem", f"collection stops until there is room: {error}"))
                    await self._to_engine(dataclasses.replace(self._assigned, state="paused"))
                await self._room.wait()
        if paused:
            log.info("there is room again: collection goes on")
            await self._to_engine(self._order)
        self._filled.set()

    def _tell(self, event: EngineEvent) -> None:
        self._feed.publish("engine", {"engine": event.engine, "kind": event.kind, "detail": event.text}, self._assigned.run)
        if event.kind in ("crashed", "hung"):
            status = Status(self._assigned.run, FAILED, event.text, {"traceback": event.traceback[-4000:]})
            self._aside.put(status)

    # To the relay

    async def _send_chunks(self, link: Link) -> None:
        """Send what waits in the outbox as long as this link stands; before the chunks of an engine, what it says of its world."""
        await self._told.wait()
        if self._track is not None:
            self._aside.put(self._track)
        while True:
            await self._told.wait()
            if self._to_describe is not None:
                describe, self._to_describe = self._to_describe, None
                await link.send(describe)
            try:
                chunk = self._outbox.next_unsent()
            except StorageError as error:
                log.error("what waits on the disk for the relay cannot be read, trying again: %s", error)
                await asyncio.sleep(RETRY_SPOOL_S)
                self._outbox.rewind()
                continue
            if chunk is None:
                self._filled.clear()
                await self._filled.wait()
            else:
                await link.send(chunk)

    async def _send_aside(self, link: Link) -> None:
        """Send all else, as long as this link stands."""
        while True:
            message = await self._aside.get()
            try:
                await link.send(message)
            except BadInput as error:
                log.error("a %s cannot be sent to the relay: %s", type(message).__name__, error)

    async def _to_relay(self, message: Message) -> None:
        """Leave a message for the relay; without a link, only how this worker is matters later on."""
        if self._link is not None or isinstance(message, Status):
            self._aside.put(message)
