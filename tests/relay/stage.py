"""A relay with its store on disk, and peers that are linked to it in memory and say what a test tells them to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

from tests.worker.worlds import SPEC
from tmrld.errors import LinkError, ProtocolError
from tmrld.events import TOPICS, Event, Feed
from tmrld.payloads import EpisodeSummary
from tmrld.peers.channel import memory_pair
from tmrld.peers.link import Link, link_trouble
from tmrld.protocol.codec import StoredBody, encode, open_stored, seal_summary
from tmrld.protocol.messages import (
    Assign,
    ChunkMessage,
    Describe,
    Hello,
    Message,
    Plain,
    Resume,
    Resumed,
    Stored,
    WeightsMessage,
    Welcome,
)
from tmrld.relay.options import RelayOptions
from tmrld.relay.relay import Relay
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore

RUN = "demo"
SCENE_S = 30.0
"""Long enough for any scene on any machine; a scene that takes longer waits for something that never comes."""

M = TypeVar("M", bound=Message)


class FakePeer:
    """A worker or trainer at its end of a link.  ``heard`` is all that it was sent so far."""

    def __init__(self, name: str, link: Link, serving: asyncio.Task[None]) -> None:
        self.link = link
        self.name = name
        self.heard: list[Message] = []
        self._taken = 0
        self._serving = serving

    async def say(self, *messages: Message) -> None:
        for message in messages:
            await self.link.send(message)

    async def hear(self, kind: type[M]) -> M:
        """The next message of this kind; those before it are in ``heard``."""
        while True:
            received = await self.link.receive()
            assert received is not None, f"the link ended before a {kind.__name__} came"
            self.heard.append(received.message)
            if isinstance(received.message, kind):
                return received.message

    async def fed(self, records: int) -> list[StoredBody]:
        """The next records of the log, as many messages as they come in."""
        while len(self.all_fed) < self._taken + records:
            await self.hear(Stored)
        self._taken += records
        return self.all_fed[self._taken - records : self._taken]

    @property
    def all_fed(self) -> list[StoredBody]:
        """All records of the log that were heard so far."""
        return [record for message in self.all_heard(Stored) for record in open_stored(message)]

    def all_heard(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]

    async def hang_up(self) -> None:
        """Go, and wait until the relay has noticed."""
        await self.link.close()
        await asyncio.wait({self._serving})

    async def ending(self) -> LinkError | ProtocolError | None:
        """What the relay says of the end of this link."""
        await asyncio.wait({self._serving})
        error = self._serving.exception()
        return None if error is None else link_trouble(error)


class Stage:
    """Made by `on_stage`."""

    def __init__(self, folder: Path, options: RelayOptions) -> None:
        self.layout = Layout(folder)
        self.layout.relay.mkdir(parents=True, exist_ok=True)
        self.store = RunStore(self.layout)
        self.feed = Feed()
        self.relay = Relay(self.layout, self.store, options, self.feed, dict)
        self._tasks: list[asyncio.Task[None]] = []
        self._peers: list[FakePeer] = []

    async def begin(self) -> None:
        ready = asyncio.Event()
        self._tasks.append(asyncio.create_task(self.relay.run(ready.set)))
        await ready.wait()

    async def make_run(self, name: str = RUN, state: str = "running", config: Plain | None = None) -> None:
        start = {"running": "now", "queued": "queue", "stopped": "no"}[state]
        await self.relay.create_run(name, config or {"seed": 1}, "test", start)

    async def connect(self, role: str, name: str, limit: int = 16) -> FakePeer:
        """Link a peer; ``limit`` messages may wait in its line."""
        here, there = memory_pair(limit, (f"{name}'s end", "relay's end"))
        accepting = asyncio.create_task(Link.accept(there, role, name, Welcome("hub", "0.1.0", 0.0)))
        link = await Link.dial(here, Hello(role, name, "0.1.0", machine={"cores": 2}))
        async with self.listening("node") as events:
            serving = asyncio.create_task(self._serve(await accepting))
            self._tasks.append(serving)
            await events.hear(name=name, role=role, state="connected")
        peer = FakePeer(name, link, serving)
        self._peers.append(peer)
        return peer

    async def worker(self, name: str = "w1", run: str = RUN, limit: int = 16) -> FakePeer:
        """A worker that has described its spaces; its incarnation is called as it is."""
        peer = await self.connect("worker", name, limit)
        await peer.say(Describe(run, name, SPEC.to_plain()))
        return peer

    async def trainer(self, name: str = "t1", run: str = RUN, credit_bytes: int = 2**20, update: int = 0) -> FakePeer:
        """A trainer that has resumed the run."""
        peer = await self.connect("trainer", name)
        await peer.hear(Assign)
        await peer.say(Resume(run, update, 0, credit_bytes))
        await peer.hear(Resumed)
        return peer

    async def nothing_more(self, *peers: FakePeer) -> None:
        """Let the relay say something to these peers, so that all that was said before has been heard."""
        for verb, state in (("pause", "paused"), ("resume", "running")):
            await self.relay.move(RUN, verb)
            for peer in peers:
                while (await peer.hear(Assign)).state != state:
                    pass

    @contextlib.asynccontextmanager
    async def listening(self, *topics: str) -> AsyncIterator[Listener]:
        with self.feed.subscribe(topics or TOPICS) as subscription:
            yield Listener(subscription)

    async def _serve(self, link: Link) -> None:
        """As the listener does it: whatever ends it, the link is closed after."""
        try:
            await self.relay.serve(link)
        finally:
            await link.close()

    async def end(self) -> None:
        for peer in self._peers:
            await peer.link.close()
        for task in self._tasks[1:]:
            await asyncio.wait({task})
            task.cancelled() or task.exception()  # looked at
        self._tasks[0].cancel()
        await asyncio.wait({self._tasks[0]})
        self.store.close()


class Listener:
    """Reads events of a feed."""

    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription

    def __aiter__(self) -> AsyncIterator[Event]:
        events: AsyncIterator[Event] = aiter(self._subscription)
        return events

    async def hear(self, **expected: Any) -> Event:
        """The next event with these values."""
        while True:
            event: Event = await self._subscription.get()
            if expected.items() <= event.data.items():
                return event


@contextlib.asynccontextmanager
async def on_stage(folder: Path, run: str = "running", options: RelayOptions | None = None) -> AsyncIterator[Stage]:
    """A relay that runs, with one run in this state ("" for none)."""
    stage = Stage(folder, options or RelayOptions())
    try:
        async with asyncio.timeout(SCENE_S):
            await stage.begin()
            if run:
                await stage.make_run(state=run)
            yield stage
    finally:
        await stage.end()


def chunk(
    number: int = 0,
    *,
    worker: str = "w1",
    run: str = RUN,
    steps: int = 10,
    purpose: str = "train",
    summary: Plain | None = None,
    **changes: Any,
) -> ChunkMessage:
    """A chunk; its payload says which."""
    values: dict[str, Any] = {
        "run": run,
        "worker": worker,
        "incarnation": worker,
        "number": number,
        "episode": f"{worker}-{number}",
        "first_step": 0,
        "steps": steps,
        "lead": 1,
        "track": "oval",
        "purpose": purpose,
        "ended": "terminated" if summary else "",
        "seed": None,
        "columns": [],
        "state": [],
        "summary": summary,
        "compression": "",
        "raw_bytes": 0,
        "payload": f"{worker} {number}".encode(),
    }
    return ChunkMessage(**{**values, **changes})


def a_summary(steps: int = 10, lap_time_s: float | None = None, version: int = 1) -> Plain:
    """As it travels in a chunk."""
    finished = lap_time_s is not None
    return seal_summary(EpisodeSummary(steps, 1.5, finished, lap_time_s, 0.5, "policy", version))


def weights(version: int, evaluate: int = 0, run: str = RUN) -> WeightsMessage:
    return WeightsMessage(run, version, 10 * version, 0, evaluate, f"weights {version}".encode())


def encoded(*messages: Message) -> list[bytes]:
    return [encode(message) for message in messages]
