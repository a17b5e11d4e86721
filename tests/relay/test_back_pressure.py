"""What waits at the relay is bounded, whoever is slow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.relay.slow_disk import HeldLog
from tests.relay.stage import RUN, Stage, chunk, on_stage
from tmrld.protocol.messages import Ack, Consumed, Status
from tmrld.relay import hub


def test_on_a_slow_disk_no_more_bytes_wait_than_there_is_room_for_and_none_are_lost(
    tmp_path: Path, held_log: type[HeldLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "QUEUE_BYTES", 10_000)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker(limit=2)
            numbers: list[int] = []

            async def hear_of(count: int) -> None:
                while len(numbers) < count:
                    numbers.extend((await worker.hear(Ack)).numbers)

            try:
                sending = asyncio.create_task(worker.say(*(chunk(n, payload=bytes(4000)) for n in range(20))))
                await asyncio.to_thread(held_log.reached.wait)
                await asyncio.sleep(0.3)  # in which all of them would come
                waiting = stage.relay.unstored(RUN)[1]
                assert 10_000 <= waiting < 15_000
                assert not sending.done()
            finally:
                held_log.released.set()
            await hear_of(20)
            assert numbers == list(range(20))
            assert stage.relay.unstored(RUN) == (0, 0)

    asyncio.run(scene())


def test_what_a_slow_trainer_has_not_consumed_yet_is_shown(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer = await stage.worker(), await stage.trainer(credit_bytes=1)
            await worker.say(*(chunk(n, payload=bytes(1000)) for n in range(3)))
            (first,) = await trainer.fed(1)
            acknowledged: list[int] = []
            while len(acknowledged) < 3:
                acknowledged += (await worker.hear(Ack)).numbers
            assert values_of(stage, "t1")["feed_lag_bytes"] == 3 * first.next_offset
            await trainer.say(Consumed(RUN, first.next_offset))
            await trainer.fed(1)
            assert values_of(stage, "t1")["feed_lag_bytes"] == 2 * first.next_offset
            assert len(trainer.all_fed) == 2

    asyncio.run(scene())


def test_what_waits_for_a_slow_worker_is_shown_whatever_it_says_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("node") as events:
            worker, other = await stage.worker("w1", limit=1), await stage.worker("w2")
            await worker.say(Status(RUN, "driving", "", {"mailbox_messages": 1000, "speed": 1.0}))
            await events.hear(name="w1", state="driving")
            await stage.nothing_more(other)
            assert 1 <= values_of(stage, "w1")["mailbox_messages"] <= 5
            assert values_of(stage, "w1")["speed"] == 1.0
            assert "feed_lag_bytes" not in values_of(stage, "w1")
            async with asyncio.timeout(10):
                while values_of(stage, "w2")["mailbox_messages"]:  # noqa: ASYNC110 - an allowance may be on its way
                    await asyncio.sleep(0.01)

    asyncio.run(scene())


def values_of(stage: Stage, name: str) -> dict[str, Any]:
    return next(node.values for node in stage.relay.connected() if node.name == name)
