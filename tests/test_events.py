"""The feed of what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from tmrld.events import QUEUE_BYTES, RING_BYTES, RING_EVENTS, SAMPLED_FROM, TOPICS, Event, Feed, Subscription


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


def test_a_reader_comes_back_and_goes_on_where_it_stopped() -> None:
    feed = Feed()
    for number in range(5):
        feed.publish("metrics" if number % 2 else "run", {"number": number})
    subscription = feed.subscribe(["run"], since=(feed.stream, 1))
    feed.publish("run", {"number": 5})
    assert not subscription.gap
    assert [event.data["number"] for event in taken(subscription, 3)] == [2, 4, 5]


def test_what_was_missed_does_not_count_as_a_queue_that_is_full() -> None:
    feed = Feed()
    for number in range(50):
        feed.publish("run", {"number": number})
    subscription = feed.subscribe(capacity=3, since=(feed.stream, 0))
    assert [event.data["number"] for event in taken(subscription, 50)] == list(range(50))
    assert subscription.dropped == 0


@pytest.mark.parametrize("number", [0, RING_EVENTS + 11])
def test_a_reader_that_was_away_for_too_long_sees_a_gap(number: int) -> None:
    feed = Feed()
    for _ in range(RING_EVENTS + 10):
        feed.publish("run", {})
    assert feed.subscribe(since=(feed.stream, number)).gap
    assert not feed.subscribe(since=(feed.stream, 10)).gap


def test_events_that_are_large_are_forgotten_sooner() -> None:
    feed = Feed()
    reader = feed.subscribe()
    large = {"text": "x" * 2**20}
    for _ in range(100):
        feed.publish("log", large)
    kept = 100 - reader.dropped
    assert 0 < kept <= QUEUE_BYTES // 2**20
    assert [event.number for event in taken(reader, kept)] == list(range(101 - kept, 101))
    assert feed.subscribe(since=(feed.stream, 100 - RING_BYTES // 2**20)).gap
    assert not feed.subscribe(since=(feed.stream, 101 - RING_BYTES // 2**20)).gap
    feed.publish("log", {"text": "x" * (RING_BYTES + QUEUE_BYTES)})
    assert [event.number for event in taken(reader, 1)] == [101]
    assert not feed.subscribe(since=(feed.stream, 100)).gap
    for _ in range(50):
        feed.publish("log", {})
    assert [event.number for event in taken(reader, 50)] == list(range(102, 152))


def test_numbers_of_another_feed_mean_nothing() -> None:
    feed = Feed()
    feed.publish("run", {})
    assert feed.subscribe(since=(Feed().stream, 1)).gap


def test_pictures_are_not_kept_for_those_who_come_later() -> None:
    feed = Feed()
    feed.publish("preview", {"worker": "w1"}, "demo")
    feed.publish("run", {}, "demo")
    subscription = feed.subscribe(since=(feed.stream, 0))
    assert not subscription.gap
    assert taken(subscription, 1)[0].topic == "run"


def test_a_reader_of_one_run_hears_of_it_and_of_what_concerns_none() -> None:
    feed = Feed()
    subscription = feed.subscribe(run="demo")
    for run in ("demo", "other", ""):
        feed.publish("problem", {}, run)
    assert [event.run for event in taken(subscription, 2)] == ["demo", ""]


def test_a_sampled_reader_that_is_behind_gets_the_newest_state_of_each_thing() -> None:
    feed = Feed()
    subscription = feed.subscribe(capacity=100, sampled=True)
    for number in range(500):
        feed.publish("metrics", {"update": number, "values": {"loss": 0.5}}, "demo")
        feed.publish("node", {"name": f"w{number % 2}", "role": "worker", "number": number}, "demo")
    feed.publish("episode", {"episode": "e1"}, "demo")
    waiting = taken(subscription, SAMPLED_FROM + 4)
    assert subscription.dropped == 0
    assert [event.data for event in waiting[-4:]] == [
        {"name": "w0", "role": "worker", "number": 498},
        {"update": 499, "values": {"loss": 0.5}},
        {"name": "w1", "role": "worker", "number": 499},
        {"episode": "e1"},
    ]
    numbers = [event.number for event in waiting]
    assert numbers == sorted(numbers)


def test_a_sampled_reader_that_keeps_up_gets_everything_but_old_pictures() -> None:
    feed = Feed()
    subscription = feed.subscribe(sampled=True)
    for number in range(5):
        feed.publish("metrics", {"update": number, "values": {"loss": 0.5}})
        feed.publish("preview", {"worker": "w1", "step": number})
    waiting = taken(subscription, 6)
    assert [event.data["update"] for event in waiting[:5]] == [0, 1, 2, 3, 4]
    assert waiting[5].data["step"] == 4
