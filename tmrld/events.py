"""The in-process feed of what happens: roles publish, the terminal, the live WebSocket and tests listen.

It knows no web, no task and no clock but the caller's.  A subscription is bounded: when its reader is too slow the oldest events are
dropped, the loss is counted, and the reader sees the count; a publisher never waits.  A *sampled* subscription lets a newer state
take the place of an older one of the same thing instead (`_key`), as soon as its reader is behind.

The newest events are kept in a ring, so that a reader that was away for a while can go on where it stopped.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Collection, Hashable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tmrld.bounded import Newest, size_of

TOPICS = ("run", "node", "metrics", "episode", "weights", "checkpoint", "engine", "log", "problem", "shelf", "score", "preview")
FLEETING = ("preview",)
"""Topics of which only now matters: they are not kept for those who come later."""
RING_EVENTS = 4096
RING_BYTES = 32 * 2**20
"""Kept for readers that come back: some minutes of a busy relay, and no more memory than that."""
QUEUE_BYTES = 16 * 2**20
"""What waits for a slow reader at most, or one event that is larger."""
SAMPLED_FROM = 16
"""A reader for whom fewer events wait is not behind, and gets every one of them."""


@dataclass(frozen=True)
class Event:
    """Something happened: ``topic`` is one of TOPICS, ``run`` the run it concerns ("" for none), ``data`` JSON-able values.

    ``number`` grows by one per event of this feed; ``time`` is seconds since 1970 on this machine, for display.
    """

    topic: str
    run: str
    data: dict[str, Any]
    number: int = 0
    time: float = field(default_factory=time.time)
    size_bytes: int = field(default=0, compare=False, repr=False)
    """What it takes in memory, about."""


class Subscription:
    """One reader's bounded queue.  Iterate over it, and leave the ``with`` block to unsubscribe."""

    def __init__(self, feed: Feed, topics: Collection[str], capacity: int, run: str = "", *, sampled: bool = False) -> None:
        self._feed = feed
        self._topics = frozenset(topics)
        self._run = run
        self._capacity = capacity
        self._sampled = sampled
        self._missed: deque[Event] = deque()
        self._queue: OrderedDict[Hashable, Event] = OrderedDict()
        self._queue_bytes = 0
        self._ready = asyncio.Event()
        self.dropped = 0
        """Events lost because the reader was too slow."""
        self.gap = False
        """Whether events are missing between where the reader wanted to go on and the first one here."""

    def catch_up(self, events: Collection[Event]) -> None:
        """Begin with what was missed; bounded by the feed's ring alone."""
        self._missed.extend(event for event in events if self._wants(event))
        self._ready.set()

    def offer(self, event: Event) -> None:
        """Take an event if it was asked for.

        When full, the oldest go; a reader that is sampled and behind gets, of states of the same thing, the newest alone.
        """
        if not self._wants(event):
            return
        key: Hashable = event.number
        if self._sampled and (len(self._queue) >= SAMPLED_FROM or event.topic in FLEETING):
            key = _key(event) or event.number
        if (older := self._queue.pop(key, None)) is not None:
            self._queue_bytes -= older.size_bytes
            self._feed.skipped += 1
        while self._queue and (len(self._queue) >= self._capacity or self._queue_bytes + event.size_bytes > QUEUE_BYTES):
            self._take_first()
            self.dropped += 1
            self._feed.skipped += 1
        self._queue[key] = event
        self._queue_bytes += event.size_bytes
        self._ready.set()

    async def get(self) -> Event:
        """The next event; waits for one."""
        while not (self._missed or self._queue):
            self._ready.clear()
            await self._ready.wait()
        return self._missed.popleft() if self._missed else self._take_first()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            yield await self.get()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._feed.unsubscribe(self)

    def _take_first(self) -> Event:
        _, event = self._queue.popitem(last=False)
        self._queue_bytes -= event.size_bytes
        return event

    def _wants(self, event: Event) -> bool:
        return event.topic in self._topics and (not self._run or event.run in ("", self._run))


class Feed:
    """Hands each event to all subscriptions.  Belongs to one event loop."""

    def __init__(self) -> None:
        self.stream = secrets.token_hex(8)
        """Names this feed; the numbers of another one mean nothing here."""
        self._subscriptions: list[Subscription] = []
        self._ring: Newest[Event] = Newest(RING_EVENTS, RING_BYTES)
        self._forgotten = 0
        self.number = 0
        """Of the newest event."""
        self.skipped = 0
        """How often a slow reader did not get an event, because it was left out or replaced by a newer state."""

    @property
    def readers(self) -> int:
        """How many listen."""
        return len(self._subscriptions)

    def publish(self, topic: str, data: dict[str, Any], run: str = "") -> None:
        """Tell everybody who listens; never waits."""
        self.number += 1
        event = Event(topic, run, data, self.number, size_bytes=size_of(data))
        if topic not in FLEETING and (gone := self._ring.add(event, event.size_bytes)) is not None:
            self._forgotten = gone.number
        for subscription in self._subscriptions:
            subscription.offer(event)

    def subscribe(
        self,
        topics: Collection[str] = TOPICS,
        capacity: int = 1000,
        *,
        run: str = "",
        sampled: bool = False,
        since: tuple[str, int] | None = None,
    ) -> Subscription:
        """A new reader's queue; raises ValueError for an unknown topic.

        With ``run``, events of other runs are left out.  ``since`` names the `stream` and the number of the last event that the
        reader has: it goes on after that one or, where that is not possible any more, has ``gap`` set.
        """
        unknown = sorted(set(topics) - set(TOPICS))
        if unknown:
            raise ValueError(f"unknown topic {unknown[0]!r}: the topics are {', '.join(TOPICS)}")
        subscription = Subscription(self, topics, capacity, run, sampled=sampled)
        if since is not None:
            stream, number = since
            if stream == self.stream and self._forgotten <= number <= self.number:
                subscription.catch_up([event for event in self._ring if event.number > number])
            else:
                subscription.gap = True
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop handing events to it; does nothing the second time."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


def _key(event: Event) -> Hashable | None:
    """What the event is a state of; None for one that says what happened, so that each of them counts."""
    match event.topic:
        case "metrics":
            return event.topic, event.run, *sorted(event.data.get("values", ()))
        case "node":
            return event.topic, event.run, event.data.get("name"), event.data.get("role")
        case "preview":
            return event.topic, event.run, event.data.get("worker")
        case _:
            return None
