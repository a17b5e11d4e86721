"""Lines that are dead although nobody has closed them, and ends that stand still for a while."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.peers.servers import Proxy, Relay, a_status, wait_for_the_end
from tests.protocol.examples import a_chunk
from tmrld.errors import LinkLost
from tmrld.peers import channel, websocket
from tmrld.peers.link import Link
from tmrld.protocol.codec import seal_chunk
from tmrld.protocol.messages import CheckpointMessage, Status

CHUNK = seal_chunk(a_chunk())
A_LOT = CheckpointMessage("oval", 1, 0, 0, 0, bytes(2**22))
SILENT = "nothing came from there for"


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(tmp_path / "relay")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Has the ends that are made from now on give up a line that was silent for so long."""

    def be(silence_s: float) -> None:
        monkeypatch.setattr(websocket, "PING_INTERVAL_S", silence_s / 2)
        monkeypatch.setattr(websocket, "SILENCE_S", silence_s)

    be(0.2)
    monkeypatch.setattr(channel, "CLOSE_TIMEOUT_S", 0.2)
    return be


async def send_until_it_ends(link: Link) -> None:
    while True:
        await link.send(A_LOT)


@asynccontextmanager
async def through_a_proxy(
    relay: Relay, on_link: Callable[[Link], Awaitable[None]] = wait_for_the_end
) -> AsyncIterator[tuple[Link, Proxy]]:
    proxy = Proxy()
    async with relay.listener(on_link) as listener, proxy.listening() as port:
        dialer = relay.dialer(listener.port, "trainer-token", "trainer", "gpu", proxy=f"http://127.0.0.1:{port}")
        yield await dialer.connect(), proxy


@pytest.mark.usefixtures("impatient")
def test_a_line_that_nobody_has_closed_is_given_up_at_both_ends(relay: Relay) -> None:
    async def scene() -> None:
        noticed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        async def watch(link: Link) -> None:
            try:
                await link.receive()
            except LinkLost as error:
                noticed.set_result(error)

        async with through_a_proxy(relay, watch) as (link, proxy):
            proxy.stall()
            with pytest.raises(LinkLost, match=f"the link to relay hub at .* is lost: {SILENT}"):
                await link.receive()
            assert f"the link to trainer gpu at 127.0.0.1 is lost: {SILENT}" in str(await noticed)

    asyncio.run(asyncio.wait_for(scene(), 30))


@pytest.mark.usefixtures("impatient")
def test_so_is_one_that_is_full_of_what_is_to_be_sent(relay: Relay) -> None:
    async def scene() -> None:
        async with through_a_proxy(relay) as (link, proxy):
            sending = asyncio.create_task(send_until_it_ends(link))
            proxy.stall()
            with pytest.raises(LinkLost, match=SILENT):
                await link.receive()
            with pytest.raises(LinkLost, match=SILENT):
                await sending

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_line_that_takes_nothing_more_can_be_closed_all_the_same(relay: Relay, impatient: Callable[[float], None]) -> None:
    async def scene() -> None:
        impatient(3600)
        async with through_a_proxy(relay) as (link, proxy):
            proxy.stall()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(send_until_it_ends(link), 0.2)
            await link.close()

    asyncio.run(asyncio.wait_for(scene(), 30))


@pytest.mark.usefixtures("impatient")
def test_an_end_that_has_no_room_is_not_taken_for_a_dead_one(relay: Relay) -> None:
    async def scene() -> None:
        room, over = asyncio.Event(), asyncio.Event()
        heard = 0

        async def read_when_there_is_room(link: Link) -> None:
            nonlocal heard
            await room.wait()
            async for message in link:
                heard += isinstance(message, CheckpointMessage)
                if isinstance(message, Status):
                    over.set()

        async with through_a_proxy(relay, read_when_there_is_room) as (link, _):
            sending = asyncio.gather(*(link.send(A_LOT) for _ in range(5)))
            await asyncio.sleep(1.0)
            assert not sending.done()
            room.set()
            await sending
            await link.send(a_status())
            await over.wait()
            assert heard == 5

    asyncio.run(asyncio.wait_for(scene(), 30))


@asynccontextmanager
async def elsewhere(relay: Relay) -> AsyncIterator[int]:
    """The relay's listener in a loop of its own, which goes on while this one stands still; gives its port."""
    listening: asyncio.Queue[tuple[int, Callable[[], object]]] = asyncio.Queue()
    here = asyncio.get_running_loop()

    async def serve() -> None:
        there, over = asyncio.get_running_loop(), asyncio.Event()
        async with relay.listener() as listener:
            here.call_soon_threadsafe(listening.put_nowait, (listener.port, lambda: there.call_soon_threadsafe(over.set)))
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    port, end = await listening.get()
    try:
        yield port
    finally:
        end()
        await asyncio.to_thread(thread.join)


def stand_still() -> None:
    """As a process that is stopped, or whose machine sleeps."""
    time.sleep(1.0)


def test_a_node_that_was_asleep_comes_back(relay: Relay, impatient: Callable[[float], None]) -> None:
    async def scene() -> None:
        links: list[Link] = []
        again = asyncio.Event()

        async def sleep_once(link: Link) -> None:
            links.append(link)
            if len(links) == 1:
                stand_still()
                await wait_for_the_end(link)
            again.set()
            await wait_for_the_end(link)

        async with elsewhere(relay) as port:
            impatient(3600)  # it is the relay that gives up
            running = asyncio.create_task(relay.dialer(port).run(sleep_once))
            await again.wait()
            running.cancel()
            await asyncio.wait({running})
            assert len(links) == 2

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_the_time_that_a_node_stood_still_is_no_silence_of_the_relay(relay: Relay, impatient: Callable[[float], None]) -> None:
    async def scene() -> None:
        impatient(3600)
        async with elsewhere(relay) as port:
            impatient(0.4)
            link = await relay.dialer(port).connect()
            for _ in range(3):
                stand_still()
                await asyncio.sleep(0.05)
            await link.send(a_status())
            await link.close()

    asyncio.run(asyncio.wait_for(scene(), 30))
