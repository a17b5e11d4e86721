"""What must not stop a run, or the relay: odd samples, a refusing disk, a damaged log, links that end at a bad moment."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.relay.slow_disk import HeldLog
from tests.relay.stage import RUN, chunk, on_stage, weights
from tmrld.errors import DiskFull
from tmrld.payloads import EpisodeSummary
from tmrld.protocol.codec import seal_summary
from tmrld.protocol.messages import Ack, Assign, Consumed, Resume, Resumed, Spaces, Stored, WeightsMessage
from tmrld.relay import hub as hubs
from tmrld.storage.episodes import Episode
from tmrld.storage.sample_log import SampleLog

INFINITE = float("inf")


def summary_of(episode_return: float, progress: float = 0.5) -> EpisodeSummary:
    return EpisodeSummary(10, episode_return, False, None, progress, "policy", 1)


@pytest.mark.parametrize("purpose", ["train", "evaluation"])
@pytest.mark.parametrize(("one", "other"), [(INFINITE, -INFINITE), (1e308, 1e308)])
def test_returns_without_a_mean_count_as_not_known(tmp_path: Path, purpose: str, one: float, other: float) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer = await stage.worker(), await stage.trainer()
            await trainer.say(weights(1))
            await worker.hear(WeightsMessage)
            for number, value in enumerate((one, other)):
                summary = seal_summary(summary_of(value, progress=value))
                await worker.say(chunk(number, purpose=purpose, ended="terminated", episode=f"e{number}", summary=summary))
                await worker.hear(Ack)
            (version,) = stage.store.weights.all(RUN)
            assert version.evaluation is None or version.evaluation.mean_return != version.evaluation.mean_return

    asyncio.run(scene())


def test_a_folder_with_such_returns_can_still_be_used(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            await trainer.say(weights(1))
            await stage.nothing_more(trainer)
            poison = [
                Episode(f"e{number}", "w1", "evaluation", "", None, 0.0, summary_of(value))
                for number, value in enumerate((INFINITE, -INFINITE, 1e308, 1e308))
            ]
            stage.store.episodes.add(RUN, poison)
        async with on_stage(tmp_path, "") as stage:
            worker = await stage.worker()
            await worker.hear(WeightsMessage)

    asyncio.run(scene())


def test_a_mistake_while_storing_costs_the_sender_its_link_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistakes = [RuntimeError("a mistake")]
    append = SampleLog.append

    def sometimes(self: SampleLog, records: list[object], **options: bool) -> object:
        if mistakes:
            raise mistakes.pop()
        return append(self, records, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(SampleLog, "append", sometimes)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem") as events:
            worker = await stage.worker()
            await worker.say(chunk(0))
            assert await worker.ending() is None
            assert "a mistake" in (await events.hear()).data["detail"]
            worker = await stage.worker()
            await worker.say(chunk(0))
            assert (await worker.hear(Ack)).numbers == [0]

    asyncio.run(scene())


def test_spaces_that_the_disk_refused_are_told_once_it_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.connect("trainer", "t1")
            with monkeypatch.context() as patched:

                def full(*_: object) -> None:
                    raise DiskFull("The disk is full.")

                patched.setattr(stage.store, "set_spec", full)
                worker = await stage.worker()
                await worker.ending()
            await stage.worker()
            await trainer.hear(Spaces)
            assert stage.store.get(RUN).spec is not None

    asyncio.run(scene())


def test_weights_that_no_update_made_are_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            await trainer.say(WeightsMessage(RUN, 1, -1, 0, 0, b"any"))
            assert "count from 0" in str(await trainer.ending())
            assert stage.store.weights.all(RUN) == []

    asyncio.run(scene())


def cut_short(folder: Path) -> int:
    """Lose two thirds of the only segment there; tells how long it was."""
    (segment,) = folder.rglob("*.segment")
    size = segment.stat().st_size
    os.truncate(segment, size // 3)
    return size


def test_a_trainer_is_fed_on_when_the_end_of_the_log_was_lost(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            for number in range(60):
                await worker.say(chunk(number))
                await worker.hear(Ack)
        end = cut_short(tmp_path)
        async with on_stage(tmp_path, "") as stage:
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            await trainer.say(Resume(RUN, 0, 0, end // 2))
            await trainer.hear(Resumed)
            taken = await trainer.hear(Stored)
            await trainer.say(Consumed(RUN, taken.next_offset))
            worker = await stage.worker()
            for number in range(100, 130):
                await worker.say(chunk(number))
                await worker.hear(Ack)
            while len(trainer.all_fed) < len(taken.records) + 30:
                taken_on = await trainer.hear(Stored)
                await trainer.say(Consumed(RUN, taken_on.next_offset))

    asyncio.run(scene())


def test_what_was_let_go_while_it_waited_for_the_disk_no_longer_counts(
    tmp_path: Path, held_log: type[HeldLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "QUEUE_CHUNKS", 4)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            try:
                await worker.say(chunk(0))
                await asyncio.to_thread(held_log.reached.wait)
                for number in range(1, 5):
                    await worker.say(chunk(number))
                (member,) = stage.relay._hubs[RUN].members
                waiting = asyncio.create_task(stage.relay._hubs[RUN].accept(member, chunk(5), bytes(5000)))
                await asyncio.sleep(0.1)
                assert stage.relay.unstored(RUN)[1] > 5000
                waiting.cancel()
                await asyncio.wait({waiting})
            finally:
                held_log.released.set()
            stored: list[int] = []
            while len(stored) < 5:
                stored += (await worker.hear(Ack)).numbers
            assert stage.relay.unstored(RUN) == (0, 0)

    asyncio.run(scene())


def test_a_trainer_that_was_replaced_while_it_waited_is_not_fed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            first = await stage.trainer("t1")
            hub = stage.relay._hubs[RUN]
            (member,) = hub.members
            async with hub._turning:
                await first.say(Resume(RUN, 0, 0, 2**20))
                second = await stage.connect("trainer", "t2")
                await stage.relay.assign("t2", RUN, take_over=True)
            await stage.nothing_more(second)
            assert member.feeding is None

    asyncio.run(scene())
