import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.support.engine_targets import chunk
from tmrld.engines.channel import PipeChannel
from tmrld.engines.pipe import ALIVE, EnginePort
from tmrld.engines.wire import wire_pair
from tmrld.errors import DaemonGone, LinkLost, PipeFull, ProtocolError
from tmrld.peers.channel import NORMAL, Closed
from tmrld.protocol.codec import decode, encode
from tmrld.protocol.messages import Command, LogLines, Message, Metrics, Result, Status

PATIENCE_S = 30.0


def with_both_ends(
    test: Callable[[EnginePort, PipeChannel], Awaitable[None]], high_messages: int = 1000, beat_s: float = 1000.0
) -> None:
    """Run a test with a joined port and channel, and close both."""

    async def run() -> None:
        theirs, ours = wire_pair()
        port = EnginePort(theirs, beat_s=beat_s, high_messages=high_messages)
        channel = PipeChannel(ours, "test", high_messages=high_messages)
        async with asyncio.timeout(PATIENCE_S):
            try:
                await test(port, channel)
            finally:
                port.close()
                await channel.close()
                await channel.wait_finished()

    asyncio.run(run())


async def receive(channel: PipeChannel) -> Message:
    return decode(await channel.recv())


async def wait(port: EnginePort) -> Message | None:
    return await asyncio.to_thread(port.wait, PATIENCE_S)


def test_messages_travel_both_ways_in_order() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        for number in range(500):
            port.send(Result(number))
        assert [await receive(channel) for _ in range(500)] == [Result(number) for number in range(500)]
        for number in range(500):
            await channel.send(encode(Command(number, "echo")))
        assert [await wait(port) for _ in range(500)] == [Command(number, "echo") for number in range(500)]
        assert port.poll() is None

    with_both_ends(test)


def test_a_port_has_nothing_to_say_while_nothing_comes() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        assert port.poll() is None
        assert port.wait(0.0) is None
        assert port.wait(0.01) is None

    with_both_ends(test)


def test_a_loop_that_polls_is_heard_now_and_then() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            port.poll()
        port.send(Result(1))
        beats = 0
        while (message := await receive(channel)) != Result(1):
            assert isinstance(message, Status)
            assert message.state == ALIVE
            beats += 1
        assert 1 <= beats <= 5

    with_both_ends(test, beat_s=0.01)


def test_an_announced_silence_is_told_at_once() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        port.beat()
        port.beat(quiet_s=120.0)
        assert await receive(channel) == Status("", ALIVE, values={"quiet_s": 120.0, "dropped": 0})

    with_both_ends(test)


def test_when_the_daemon_does_not_read_numbers_are_dropped_and_experience_is_refused() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        sent = 0

        def fill() -> None:
            nonlocal sent
            while True:
                port.send(chunk(sent, bytes(1 << 20)))
                sent += 1

        with pytest.raises(PipeFull, match="no room to send ChunkMessage"):
            fill()
        assert sent < 40, "two queues of ten messages and a pipe of a megabyte"
        for droppable in (Metrics("", 0, 0, 0, {}), Status("", "busy"), LogLines("test", [])):
            port.send(droppable)
        assert port.dropped == 3
        received = [await receive(channel) for _ in range(sent)]
        assert [message.number for message in received if hasattr(message, "number")] == list(range(sent))
        port.send(Result(1), wait_s=PATIENCE_S)
        assert await receive(channel) == Result(1)

    with_both_ends(test, high_messages=10)


def test_a_sender_that_may_wait_gets_its_message_through() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        payload = bytes(1 << 20)

        def send_all() -> None:
            for number in range(50):
                port.send(chunk(number, payload), wait_s=None)

        sending = asyncio.create_task(asyncio.to_thread(send_all))
        for number in range(50):
            message = await receive(channel)
            assert message == chunk(number, payload)
        await sending

    with_both_ends(test, high_messages=4)


def test_the_daemon_waits_while_the_engine_does_not_read() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        sent = 0

        async def send_all() -> None:
            nonlocal sent
            for number in range(100):
                await channel.send(encode(chunk(number, bytes(1 << 20))))
                sent += 1

        sending = asyncio.create_task(send_all())
        for number in range(100):
            message = await wait(port)
            assert message == chunk(number, bytes(1 << 20))
            assert sent - number < 20, "two queues of five messages, a pipe of a megabyte, and those in hand"
        await sending

    with_both_ends(test, high_messages=5)


def test_what_was_sent_before_the_end_still_arrives() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        port.send(Result(1))
        port.send(Result(2))
        port.close()
        assert [await receive(channel), await receive(channel)] == [Result(1), Result(2)]
        for _ in range(2):
            with pytest.raises(LinkLost, match="the engine test has closed its pipe"):
                await channel.recv()

    with_both_ends(test)


def test_a_port_without_daemon_says_so_after_the_last_message() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        await channel.send(encode(Result(1)))
        await channel.close()
        assert await wait(port) == Result(1)
        with pytest.raises(DaemonGone):
            await wait(port)
        assert port.closed
        with pytest.raises(DaemonGone):
            port.poll()
        with pytest.raises(DaemonGone):
            port.send(Result(2))
        port.beat(quiet_s=1.0)

    with_both_ends(test)


def test_the_last_resort_is_called_when_the_daemon_is_gone() -> None:
    async def run() -> None:
        theirs, ours = wire_pair()
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        port = EnginePort(theirs, last_resort=lambda: loop.call_soon_threadsafe(called.set))  # type: ignore[arg-type]
        channel = PipeChannel(ours, "test")
        await channel.close()
        async with asyncio.timeout(PATIENCE_S):
            await called.wait()
            await channel.wait_finished()
        assert port.closed

    asyncio.run(run())


def test_a_channel_may_be_closed_twice_and_says_who_closed_it() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        await channel.close(NORMAL, "that was all")
        await channel.close(4000, "again")
        for _ in range(2):
            with pytest.raises(Closed, match="that was all") as caught:
                await channel.recv()
            assert caught.value.ours
            with pytest.raises(Closed):
                await channel.send(b"")

    with_both_ends(test)


def test_closing_wakes_a_receiver() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        receiving = asyncio.create_task(channel.recv())
        await asyncio.sleep(0)
        await channel.close()
        with pytest.raises(Closed):
            await receiving

    with_both_ends(test)


def test_a_cancelled_receiver_loses_nothing() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        for number in range(100):
            receiving = asyncio.create_task(channel.recv())
            port.send(Result(number))
            await asyncio.sleep(0)
            if receiving.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await receiving
                assert await receive(channel) == Result(number)
            else:
                assert decode(receiving.result()) == Result(number)

    with_both_ends(test)


def test_nonsense_on_the_pipe_is_reported_as_such() -> None:
    async def run() -> None:
        theirs, ours = wire_pair()
        channel = PipeChannel(ours, "test")
        theirs._write_all(b"HTTP/1.1 200 OK")
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ProtocolError, match="is announced on the pipe"):
                await channel.recv()
            theirs.close_writing()
            await channel.close()
            await channel.wait_finished()
        theirs.close_reading()

    asyncio.run(run())


def test_flush_waits_until_everything_is_on_its_way() -> None:
    async def test(port: EnginePort, channel: PipeChannel) -> None:
        port.send(Result(1))
        assert await asyncio.to_thread(port.flush, PATIENCE_S)

    with_both_ends(test)
