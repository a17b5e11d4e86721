"""The feed of what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from tmrld.events import TOPICS, Event, Feed, Subscription


def taken(subscription: Subscription, count: int) -> list[Event]:
    async def take() -> list[Event]:
        return [await subscription.get() for _ in range(count)]

    return asyncio.run(take())


def test_everybody_who_listens_gets_every_event_in_order() -> None:
    feed = Feed()
    first, second = feed.subscribe(), feed.subscribe()
    feed.publish("run", {"state": "running"}, "demo")
    feed.publish("log", {"line": "hello"})
    for subscription in (first, second):
        run, log = taken(subscription, 2)
        assert (run.topic, run.run, run.data, run.number) == ("run", "demo", {"state": "running"}, 1)
        assert (log.topic, log.run, log.data, log.number) == ("log", "", {"line": "hello"}, 2)


def test_a_reader_gets_the_topics_that_it_asked_for() -> None:
    feed = Feed()
    subscription = feed.subscribe(["metrics", "run"])
    for topic in TOPICS:
        feed.publish(topic, {})
    assert [event.topic for event in taken(subscription, 2)] == ["run", "metrics"]


@pytest.mark.parametrize("topics", [["metrics", "weather"], "metrics"])
def test_an_unknown_topic_is_named_with_those_there_are(topics: Collection[str]) -> None:
    with pytest.raises(ValueError, match=r"unknown topic '.*': the topics are run, node, metrics"):
        Feed().subscribe(topics)


def test_a_slow_reader_loses_the_oldest_and_sees_how_many() -> None:
    feed = Feed()
    subscription = feed.subscribe(capacity=3)
    for number in range(10):
        feed.publish("log", {"number": number})
    assert subscription.dropped == 7
    assert [event.data["number"] for event in taken(subscription, 3)] == [7, 8, 9]


def test_after_the_with_block_nothing_more_comes() -> None:
    feed = Feed()
    with feed.subscribe() as subscription:
        feed.publish("log", {"number": 1})
    feed.publish("log", {"number": 2})
    feed.unsubscribe(subscription)
    subscription_of_another = feed.subscribe()
    feed.publish("log", {"number": 3})
    assert [event.data["number"] for event in taken(subscription_of_another, 1)] == [3]
    assert [event.data["number"] for event in taken(subscription, 1)] == [1]


def test_getting_waits_for_an_event() -> None:
    async def scene() -> None:
        feed = Feed()
        subscription = feed.subscribe()
        getting = asyncio.create_task(subscription.get())
        await asyncio.sleep(0)
        assert not getting.done()
        feed.publish("run", {})
        assert (await getting).topic == "run"

    asyncio.run(scene())


def test_a_subscription_can_be_iterated_over() -> None:
    async def scene() -> list[int]:
        feed = Feed()
        numbers: list[int] = []
        with feed.subscribe() as subscription:
            for _ in range(3):
                feed.publish("run", {})
            async for event in subscription:
                numbers.append(event.number)
                if len(numbers) == 3:
                    break
        return numbers

    assert asyncio.run(scene()) == [1, 2, 3]
