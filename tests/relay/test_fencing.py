"""Two links of one name: from the moment the newer one is there, nothing that comes over the older one counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.relay.slow_disk import HeldLog
from tests.relay.stage import RUN, FakePeer, Stage, chunk, on_stage, weights
from tmrld.errors import DiskFull
from tmrld.protocol.messages import Ack, Assign, Metrics, Status, WeightsMessage
from tmrld.relay import hub


async def lingering(stage: Stage, peer: FakePeer, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have the relay's end of this peer's link stand until the event is set, as a line does on which nothing comes back."""
    over = asyncio.Event()
    link = next(member.link for member in stage.relay._roster.members() if member.name == peer.name)
    close = link.close

    async def close_late(code: int, reason: str) -> None:
        await over.wait()
        await close(code, reason)

    monkeypatch.setattr(link, "close", close_late)
    return over


def test_what_a_former_link_says_is_neither_stored_nor_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            former = await stage.worker("w1")
            await former.hear(Assign)
            over = await lingering(stage, former, monkeypatch)
            again = await stage.worker("w1")
            await former.say(chunk(0), Status(RUN, "driving", "from the grave"))
            await again.say(chunk(1))
            assert (await again.hear(Ack)).numbers == [1]
            await stage.nothing_more(again)
            assert stage.relay.transitions(RUN) == 10
            assert [node.detail for node in stage.relay.connected()] == [""]
            over.set()
            await former.ending()
            assert again.all_heard(Ack) == [Ack("w1", [1])]

    asyncio.run(scene())


def test_a_former_trainer_moves_neither_weights_nor_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            former = await stage.trainer("t1")
            over = await lingering(stage, former, monkeypatch)
            again = await stage.trainer("t1")
            await former.say(weights(7), Metrics(RUN, 0, 10, 20, {"loss": 1.0}))
            await again.say(weights(1))
            worker = await stage.worker()
            assert (await worker.hear(WeightsMessage)).version == 1
            await stage.nothing_more(again, worker)
            newest = stage.store.weights.newest(RUN)
            assert newest is not None
            assert newest.version == 1
            assert stage.store.metrics.names(RUN) == []
            over.set()
            await former.ending()

    asyncio.run(scene())


def test_what_waits_for_the_disk_of_a_former_trainer_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "RETRY_FULL_DISK_S", 0.0)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem") as events:
            full, add = asyncio.Event(), stage.store.weights.add

            def add_when_there_is_room(*arguments: Any) -> Any:
                if full.is_set():
                    raise DiskFull("Cannot write: the disk is full.")
                return add(*arguments)

            monkeypatch.setattr(stage.store.weights, "add", add_when_there_is_room)
            full.set()
            former = await stage.trainer("t1")
            await former.say(weights(7))
            await events.hear()
            again = await stage.trainer("t1")
            await former.ending()
            assert stage.relay.trouble(RUN) == ""
            full.clear()
            worker = await stage.worker()
            await again.say(weights(1))
            assert (await worker.hear(WeightsMessage)).version == 1
            assert [info.version for info in stage.store.weights.all(RUN)] == [1]

    asyncio.run(scene())


def test_a_chunk_that_waits_to_be_stored_is_acknowledged_to_whoever_sent_it_and_stored_once(
    tmp_path: Path, held_log: type[HeldLog]
) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            try:
                former = await stage.worker("w1")
                await former.say(chunk(0))
                await asyncio.to_thread(held_log.reached.wait)
                again = await stage.worker("w1")
                await former.ending()
                await stage.nothing_more(again)
            finally:
                held_log.released.set()
            await again.say(chunk(1))  # of another machine, for example, that has this name
            assert (await again.hear(Ack)).numbers == [1]
            assert again.all_heard(Ack) == [Ack("w1", [1])]
            await again.say(chunk(0))  # of the same machine, which had no acknowledgement
            assert (await again.hear(Ack)).numbers == [0]
            assert stage.relay.transitions(RUN) == 20

    asyncio.run(scene())
