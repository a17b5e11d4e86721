"""What waits for the line to the relay."""

from __future__ import annotations

import asyncio

from tmrld.protocol.messages import Consume, Grant, Message, Metrics, Resume, Status, WeightsMessage
from tmrld.trainer.outgoing import Outgoing


def weights(version: int, evaluate: int = 0) -> WeightsMessage:
    return WeightsMessage("demo", version, 100 * version, 0, evaluate, b"")


def metrics(update: int) -> Metrics:
    return Metrics("demo", 0, update, 0, {})


def all_of(outgoing: Outgoing) -> list[Message]:
    """Everything that waits, in the order in which it would be sent."""

    async def take() -> list[Message]:
        messages: list[Message] = []
        emptied = asyncio.create_task(outgoing.all_sent())
        while True:
            getting = asyncio.create_task(outgoing.get())
            await asyncio.wait({getting, emptied}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                return messages
            messages.append(getting.result())

    return asyncio.run(take())


def test_only_the_newest_weights_wait_and_keep_their_place() -> None:
    outgoing = Outgoing()
    for message in (weights(1), Grant("demo", 10), weights(2), Grant("demo", 20)):
        outgoing.put(message)
    assert all_of(outgoing) == [weights(2), Grant("demo", 20)]


def test_an_evaluation_that_was_asked_for_is_not_forgotten() -> None:
    outgoing = Outgoing()
    outgoing.put(weights(1, evaluate=3))
    outgoing.put(weights(2))
    assert all_of(outgoing) == [weights(2, evaluate=3)]


def test_metrics_keep_their_order_and_the_oldest_go_when_too_many_wait() -> None:
    outgoing = Outgoing(kept=2)
    for update in (1, 2, 3):
        outgoing.put(metrics(update))
    assert outgoing.dropped == 1
    assert all_of(outgoing) == [metrics(2), metrics(3)]


def test_what_goes_wrong_is_told_whatever_came_after() -> None:
    outgoing = Outgoing()
    for state in ("training", "problem", "training", "recovered", "waiting"):
        outgoing.put(Status("demo", state))
    states = [message.state for message in all_of(outgoing) if isinstance(message, Status)]
    assert sorted(states) == ["problem", "recovered", "waiting"]
    assert states.index("problem") < states.index("recovered")


def test_that_a_run_is_finished_is_told_after_its_last_weights() -> None:
    outgoing = Outgoing()
    for message in (Status("demo", "training"), weights(1), Status("demo", "finished")):
        outgoing.put(message)
    assert all_of(outgoing) == [weights(1), Status("demo", "finished")]


def test_neither_weights_nor_metrics_starve() -> None:
    outgoing = Outgoing()
    for message in (metrics(1), metrics(2), weights(1), Grant("demo", 10)):
        outgoing.put(message)
    assert all_of(outgoing) == [weights(1), metrics(1), Grant("demo", 10), metrics(2)]


def test_a_new_link_begins_with_what_it_has_to_be_told() -> None:
    outgoing = Outgoing()
    for message in (Resume("demo", 0, 0, 1), metrics(1), weights(1)):
        outgoing.put(message)
    outgoing.begin([Consume("demo", 7, 1), weights(2)])
    assert all_of(outgoing) == [Consume("demo", 7, 1), metrics(1), weights(2)]


def test_what_is_being_sent_counts_as_unsent() -> None:
    async def scenario() -> None:
        outgoing = Outgoing()
        outgoing.put(weights(1))
        await outgoing.get()
        emptied = asyncio.create_task(outgoing.all_sent())
        await asyncio.sleep(0)
        assert not emptied.done()
        asking = asyncio.create_task(outgoing.get())
        await emptied
        asking.cancel()

    asyncio.run(scenario())
