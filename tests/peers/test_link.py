import asyncio

import pytest

from tests.protocol.examples import a_chunk
from tmrld.errors import BadInput, LinkLost, ProtocolError, Refused, StorageError, TmrldError
from tmrld.peers.channel import ABNORMAL, GOING_AWAY, NORMAL, POLICY, MemoryChannel, memory_pair
from tmrld.peers.link import Link, link_trouble
from tmrld.protocol.codec import encode, seal_chunk
from tmrld.protocol.messages import Ack, Grant, Hello, Status, Welcome

HELLO = Hello("worker", "gamer", "0.1.0", ["sim"], {"cpus": 8})
WELCOME = Welcome("hub", "0.2.0", 0.0)


async def linked(limit: int = 16) -> tuple[Link, Link]:
    """A worker's link and the relay's, over memory."""
    here, there = memory_pair(limit, ("worker's end", "relay's end"))
    accepting = asyncio.create_task(Link.accept(there, "worker", "gamer", WELCOME))
    return await Link.dial(here, HELLO), await accepting


def test_each_end_knows_the_other() -> None:
    async def scene() -> None:
        worker, relay = await linked()
        assert (worker.peer.role, worker.peer.name, worker.peer.version) == ("relay", "hub", "0.2.0")
        assert (relay.peer.role, relay.peer.name, relay.peer.version) == ("worker", "gamer", "0.1.0")
        assert (relay.peer.capabilities, relay.peer.machine) == (("sim",), {"cpus": 8})
        assert relay.peer.remote == "worker's end"
        assert worker.latency_s == 0

    asyncio.run(scene())


def test_messages_go_both_ways() -> None:
    async def scene() -> None:
        worker, relay = await linked()
        chunk = seal_chunk(a_chunk())
        await worker.send(chunk)
        received = await relay.receive()
        assert received is not None
        assert received.message == chunk
        assert received.data == encode(chunk)
        await relay.send(Ack("1f", [3]))
        await relay.close()
        assert [message async for message in worker] == [Ack("1f", [3])]

    asyncio.run(scene())


def test_a_full_way_holds_the_sender_up() -> None:
    async def scene() -> None:
        worker, relay = await linked(limit=1)
        await worker.send(Status("oval", "driving"))
        second = asyncio.create_task(worker.send(Status("oval", "resting")))
        await asyncio.sleep(0)
        assert not second.done()
        assert await relay.receive() is not None
        await second

    asyncio.run(scene())


def test_closing_twice_does_no_harm() -> None:
    async def scene() -> None:
        worker, relay = await linked()
        await worker.close()
        await worker.close(POLICY, "again")
        assert await worker.receive() is None
        assert await relay.receive() is None
        with pytest.raises(LinkLost, match="the link to worker gamer at worker's end is closed"):
            await relay.send(Ack("1f", []))

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (NORMAL, None, ""),
        (GOING_AWAY, LinkLost, "the link to relay hub at relay's end is lost: because"),
        (ABNORMAL, LinkLost, "is lost: because"),
        (POLICY, Refused, "relay hub at relay's end refuses: because"),
        (1007, ProtocolError, "closed the link, because this end broke the protocol: because"),
    ],
)
def test_a_close_is_told_by_type(code: int, kind: type[TmrldError] | None, sentence: str) -> None:
    async def scene() -> None:
        worker, relay = await linked()
        await relay.close(code, "because")
        if kind is None:
            assert await worker.receive() is None
        else:
            with pytest.raises(kind, match=sentence):
                await worker.receive()

    asyncio.run(scene())


def test_who_breaks_the_protocol_is_told_how() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        accepting = asyncio.create_task(Link.accept(there, "worker", "gamer", WELCOME))
        worker = await Link.dial(here, HELLO)
        relay = await accepting
        await here.send(encode(Grant("oval", 5)))
        with pytest.raises(ProtocolError, match="worker gamer at memory broke the protocol: a worker does not say grant"):
            await relay.receive()
        with pytest.raises(ProtocolError, match="this end broke the protocol: a worker does not say grant") as raised:
            await worker.receive()
        assert raised.value.code == 1002

    asyncio.run(scene())


def test_what_cannot_travel_leaves_the_link_alone() -> None:
    async def scene() -> None:
        worker, relay = await linked()
        with pytest.raises(BadInput):
            await worker.send(Status("oval", "x" * 300_000))
        with pytest.raises(ValueError, match="a worker does not say grant"):
            await worker.send(Grant("oval", 5))
        await worker.send(Status("oval", "driving"))
        assert (await relay.receive()) is not None

    asyncio.run(scene())


def test_a_peer_of_another_name_is_refused() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        accepting = asyncio.create_task(Link.accept(there, "worker", "rival", WELCOME))
        with pytest.raises(Refused, match=r"hello\.name is 'gamer', but the token was made for 'rival'"):
            await Link.dial(here, HELLO)
        with pytest.raises(ProtocolError, match="made for 'rival'"):
            await accepting

    asyncio.run(scene())


def test_silence_instead_of_a_hello_is_not_waited_for() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        with pytest.raises(LinkLost, match="no hello or welcome from memory within 0 s"):
            await Link.accept(there, "worker", "gamer", WELCOME, timeout_s=0)
        with pytest.raises(LinkLost):
            await Link.dial(here, HELLO)

    asyncio.run(scene())


def test_an_opening_that_is_cancelled_closes_the_channel() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        dialing = asyncio.create_task(Link.dial(here, HELLO))
        await there.recv()
        dialing.cancel()
        await asyncio.wait([dialing])
        with pytest.raises(LinkLost):
            await there.recv()

    asyncio.run(scene())


def test_a_normal_close_is_no_opening() -> None:
    async def scene() -> None:
        here, there = memory_pair()
        await MemoryChannel.close(there)
        with pytest.raises(LinkLost, match=r"is closed|closed the link before it was open"):
            await Link.dial(here, HELLO)

    asyncio.run(scene())


def test_the_gravest_of_several_troubles_counts() -> None:
    lost, refused = LinkLost("lost"), Refused("no")
    assert link_trouble(lost) is lost
    assert link_trouble(ExceptionGroup("tasks", [lost, ExceptionGroup("more", [refused])])) is refused
    assert link_trouble(ExceptionGroup("tasks", [lost, StorageError("disk")])) is None
    assert link_trouble(KeyError("x")) is None
