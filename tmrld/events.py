"""The in-process feed of what happens: roles publish, the terminal, the live WebSocket and tests listen.

It knows no web, no task and no clock but the caller's.  A subscription is bounded: when its reader is too slow the oldest event is
dropped, the loss is counted, and the reader sees the count; a publisher never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

TOPICS = ("run", "node", "metrics", "episode", "weights", "checkpoint", "engine", "log", "problem")


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


class Subscription:
    """One reader's bounded queue.  Iterate over it, and leave the ``with`` block to unsubscribe."""

    def __init__(self, feed: Feed, topics: Collection[str], capacity: int) -> None:
        self._feed = feed
        self._topics = frozenset(topics)
        self._queue: deque[Event] = deque(maxlen=capacity)
        self._ready = asyncio.Event()
        self.dropped = 0
        """Events lost because the reader was too slow."""

    def offer(self, event: Event) -> None:
        """Take an event if its topic was asked for; drops the oldest when full."""
        if event.topic not in self._topics:
            return
        if len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self._queue.append(event)
        self._ready.set()

    async def get(self) -> Event:
        """The next event; waits for one."""
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            yield await self.get()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._feed.unsubscribe(self)


class Feed:
    """Hands each event to all subscriptions.  Belongs to one event loop."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._number = 0

    def publish(self, topic: str, data: dict[str, Any], run: str = "") -> None:
        """Tell everybody who listens; never waits."""
        self._number += 1
        event = Event(topic, run, data, self._number)
        for subscription in self._subscriptions:
            subscription.offer(event)

    def subscribe(self, topics: Collection[str] = TOPICS, capacity: int = 1000) -> Subscription:
        """A new reader's queue; raises ValueError for an unknown topic."""
        unknown = sorted(set(topics) - set(TOPICS))
        if unknown:
            raise ValueError(f"unknown topic {unknown[0]!r}: the topics are {', '.join(TOPICS)}")
        subscription = Subscription(self, topics, capacity)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop handing events to it; does nothing the second time."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
