"""What a worker tells its relay besides its chunks."""

from __future__ import annotations

import asyncio

from tmrld.protocol.messages import LogLines, Message, Preview, Result, Status
from tmrld.worker.aside import KEPT, Aside


def a_status(state: str, detail: str = "") -> Status:
    return Status("demo", state, detail)


def left(aside: Aside) -> list[Message]:
    """Everything that waits, taken out."""

    async def take() -> list[Message]:
        found: list[Message] = []
        while True:
            try:
                found.append(await asyncio.wait_for(aside.get(), 0.05))
            except TimeoutError:
                return found

    return asyncio.run(take())


def after(*messages: Message) -> Aside:
    aside = Aside()
    for message in messages:
        aside.put(message)
    return aside


def test_only_the_newest_status_and_picture_wait() -> None:
    pictures = [Preview("demo", 8, 8, [], [], None, n, b"") for n in range(2)]
    assert left(after(a_status("driving", "1"), *pictures, a_status("driving", "2"))) == [a_status("driving", "2"), pictures[1]]


def test_trouble_is_told_whatever_comes_after_and_what_was_before_it_is_not() -> None:
    trouble = a_status("problem", "the spool is full")
    assert left(after(a_status("driving"), trouble, a_status("paused"))) == [trouble, a_status("paused")]


def test_what_keeps_its_order_is_bounded_and_what_is_left_out_is_counted() -> None:
    lines = [LogLines("worker", [["INFO", str(n)]]) for n in range(KEPT + 3)]
    aside = after(*lines)
    assert aside.dropped == 3
    assert left(aside) == lines[3:]


def test_a_new_link_is_told_log_lines_and_how_the_worker_is() -> None:
    lines, trouble = LogLines("worker", [["INFO", "hello"]]), a_status("failed")
    aside = after(lines, Result(1), trouble, Preview("demo", 8, 8, [], [], None, 0, b""), a_status("paused"))
    aside.begin()
    assert left(aside) == [lines, trouble, a_status("paused")]
