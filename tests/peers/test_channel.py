import asyncio

import pytest

from tmrld.errors import LinkLost
from tmrld.peers.channel import GOING_AWAY, MAX_REASON_BYTES, NORMAL, Closed, fit_reason, memory_pair


def test_messages_arrive_whole_and_in_order() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        await here.send(b"one")
        await here.send(b"two")
        await there.send(b"back")
        assert [await there.recv(), await there.recv()] == [b"one", b"two"]
        assert await here.recv() == b"back"

    asyncio.run(scene())


def test_a_sender_waits_while_the_way_is_full() -> None:
    async def scene() -> None:
        here, there = memory_pair(limit=2)
        await here.send(b"1")
        await here.send(b"2")
        third = asyncio.create_task(here.send(b"3"))
        await asyncio.sleep(0)
        assert not third.done()
        assert await there.recv() == b"1"
        await third
        assert [await there.recv(), await there.recv()] == [b"2", b"3"]

    asyncio.run(scene())


def test_a_close_says_why_at_both_ends() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        await here.send(b"last words")
        await here.close(GOING_AWAY, "restart")
        await here.close(NORMAL, "never mind")
        assert await there.recv() == b"last words"
        for end, ours in ((there, False), (here, True), (there, False)):
            for use in (end.recv, lambda end=end: end.send(b"x")):
                with pytest.raises(Closed, match="restart") as raised:
                    await use()
                assert (raised.value.code, raised.value.ours) == (GOING_AWAY, ours)

    asyncio.run(scene())


def test_whoever_waits_learns_of_a_close() -> None:
    async def scene() -> None:
        here, there = memory_pair(limit=1)
        await here.send(b"1")
        waiting = [asyncio.create_task(here.send(b"2")), asyncio.create_task(here.recv())]
        await asyncio.sleep(0)
        await there.close()
        for task in waiting:
            with pytest.raises(Closed):
                await task

    asyncio.run(scene())


def test_cancelling_a_read_loses_nothing() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        reading = asyncio.create_task(there.recv())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await here.send(b"kept")
        assert await there.recv() == b"kept"

    asyncio.run(scene())


def test_a_closed_channel_is_a_lost_link_to_who_knows_no_better() -> None:
    assert isinstance(Closed(1006), LinkLost)
    assert str(Closed(1006)) == "the connection was closed with code 1006"


def test_a_reason_is_cut_to_what_a_close_can_carry() -> None:
    assert fit_reason("short") == "short"
    cut = fit_reason("é" * 100)
    assert cut == "é" * 60 + "…"
    assert len(cut.encode()) <= MAX_REASON_BYTES
    assert fit_reason("\ud800") == "?"


def test_who_sends_without_a_pause_lets_others_have_their_turn() -> None:
    async def scene() -> None:
        here, there = memory_pair(limit=2)

        async def send_for_ever() -> None:
            while True:
                await here.send(b"much")

        async with asyncio.TaskGroup() as tasks:
            much = tasks.create_task(send_for_ever())
            await there.recv()
            tasks.create_task(here.send(b"little"))
            assert b"little" in [await there.recv() for _ in range(6)]
            much.cancel()

    asyncio.run(scene())
