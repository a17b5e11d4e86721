"""What waits for a peer that reads slowly."""

from __future__ import annotations

import asyncio

import pytest

from tmrld.protocol.codec import encode
from tmrld.protocol.messages import Ack, Allowance, Assign, Command, FileMessage, Message, Resumed, Spaces, WeightsMessage
from tmrld.relay.mailbox import MAX_NUMBERS, Mailbox, MailboxFull


def assign(run: str, state: str = "running") -> Assign:
    return Assign(run, {}, 1, state)


def weights(version: int, run: str = "a", evaluate: int = 0) -> WeightsMessage:
    return WeightsMessage(run, version, version, 0, evaluate, b"")


def left(mailbox: Mailbox) -> list[Message]:
    """Everything that waits, taken out."""

    async def take() -> list[Message]:
        return [await mailbox.get() for _ in range(len(mailbox))]

    return asyncio.run(take())


def after(*messages: Message) -> list[Message]:
    """What waits when these were put in."""
    mailbox = Mailbox()
    for message in messages:
        mailbox.put(message)
    return left(mailbox)


def test_messages_come_out_in_order() -> None:
    messages: list[Message] = [Resumed("a", 0, 1), Command(1, "stop"), Resumed("a", 0, 2), Command(2, "start")]
    assert after(*messages) == messages


def test_only_the_newest_weights_wait() -> None:
    assert after(weights(1), weights(2), weights(3)) == [weights(3)]


def test_newer_weights_do_not_forget_that_an_evaluation_was_asked_for() -> None:
    assert after(weights(1, evaluate=3), weights(2)) == [weights(2, evaluate=3)]
    assert after(weights(1, evaluate=3), weights(2, "b")) == [weights(2, "b")]


def test_a_file_that_is_asked_for_again_and_again_waits_once() -> None:
    first, other = FileMessage("tracks", "oval", "5f" * 32, b"a"), FileMessage("weights", "oval", "5f" * 32, b"b")
    newer = FileMessage("tracks", "oval", "6f" * 32, b"c")
    assert after(first, other, first, newer, first) == [first, other]
    assert after(first, Command(1, "x"), newer) == [newer, Command(1, "x")]


def test_only_the_newest_of_its_kind_waits_in_the_place_of_the_older() -> None:
    assert after(assign("a"), Command(1, "x"), Allowance("a", "i", 5), assign("a", "paused"), Allowance("a", "i", 9)) == [
        assign("a", "paused"),
        Command(1, "x"),
        Allowance("a", "i", 9),
    ]


def test_a_changed_assignment_still_comes_before_the_weights_of_its_run() -> None:
    assert after(assign("a"), weights(1), assign("a", "paused")) == [assign("a", "paused"), weights(1)]


def test_an_assignment_to_another_run_drops_what_waits_for_the_run_before() -> None:
    before: list[Message] = [assign("a"), weights(1, "a"), Allowance("a", "i", 5), Spaces("a", {}), Command(1, "x")]
    assert after(*before, assign("b"), weights(1, "b")) == [Command(1, "x"), assign("b"), weights(1, "b")]


def test_acknowledgements_of_one_incarnation_are_merged() -> None:
    assert after(Ack("i", [1]), Command(1, "x"), Ack("j", [1]), Ack("i", [2, 3])) == [
        Ack("i", [1, 2, 3]),
        Command(1, "x"),
        Ack("j", [1]),
    ]


def test_merged_acknowledgements_never_grow_too_large_to_travel() -> None:
    acks = after(*(Ack("i", list(range(start, start + 1000))) for start in range(0, 50_000, 1000)))
    numbers = [number for ack in acks if isinstance(ack, Ack) for number in ack.numbers]
    assert numbers == list(range(50_000))
    for ack in acks:
        encode(ack)
        assert isinstance(ack, Ack)
        assert len(ack.numbers) <= MAX_NUMBERS


def test_a_full_mailbox_says_so_and_still_takes_what_needs_no_room() -> None:
    mailbox = Mailbox(capacity=3)
    for message in (weights(1), Ack("i", [1]), Command(1, "x")):
        mailbox.put(message)
    with pytest.raises(
        MailboxFull, match="3 messages wait for a peer that does not read: its link is closed, it may reconnect"
    ):
        mailbox.put(Command(2, "y"))
    mailbox.put(weights(2))
    mailbox.put(Ack("i", [2]))
    assert left(mailbox) == [weights(2), Ack("i", [1, 2]), Command(1, "x")]


def test_getting_waits_for_a_message() -> None:
    async def scene() -> None:
        mailbox = Mailbox()
        getting = asyncio.create_task(mailbox.get())
        await asyncio.sleep(0)
        assert not getting.done()
        mailbox.put(Command(1, "x"))
        assert await getting == Command(1, "x")
        assert len(mailbox) == 0

    asyncio.run(scene())


def test_a_get_that_is_cancelled_loses_nothing() -> None:
    async def scene() -> None:
        mailbox = Mailbox()
        getting = asyncio.create_task(mailbox.get())
        await asyncio.sleep(0)
        getting.cancel()
        mailbox.put(Command(1, "x"))
        await asyncio.wait({getting})
        assert await mailbox.get() == Command(1, "x")

    asyncio.run(scene())
