"""The disk budget: what goes first, what never goes, and that collection waits, visibly, where nothing more can go."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.relay.stage import RUN, FakePeer, Stage, a_summary, chunk, on_stage
from tmrld.errors import Conflict, NotFound, StorageError
from tmrld.protocol.codec import open_summary
from tmrld.protocol.messages import Ack, CheckpointMessage, Command, Metrics, WeightsMessage
from tmrld.relay.housekeeping import Freed
from tmrld.relay.options import RelayOptions
from tmrld.storage.episodes import Episode
from tmrld.storage.metrics import Metric
from tmrld.storage.sample_log import SampleLog
from tmrld.storage.usage import UNFINISHED_S, leftovers, measured

SEGMENT_BYTES = 2000


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.relay.hub.SampleLog", partial(SampleLog, segment_bytes=SEGMENT_BYTES))
    monkeypatch.setattr("tmrld.relay.hub.RETRY_FULL_DISK_S", 0.01)


def options(**bytes_: int) -> RelayOptions:
    """Quotas far below what people may set."""
    return RelayOptions.model_construct(**{**RelayOptions().model_dump(), **bytes_})


async def collect(worker: FakePeer, numbers: Iterator[int], count: int) -> None:
    """Have that many chunks stored, each with more than 300 bytes."""
    for number in (next(numbers) for _ in range(count)):
        await worker.say(chunk(number, payload=bytes(300)))
        while number not in (await worker.hear(Ack)).numbers:
            pass


async def keep_checkpoint(stage: Stage, trainer: FakePeer, update: int, window: int) -> None:
    async with stage.listening("checkpoint") as events:
        await trainer.say(CheckpointMessage(RUN, update, 0, window, window, bytes(100)))
        await events.hear(update=update)


def test_samples_beyond_the_quota_go_as_far_as_no_checkpoint_needs_them(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(sample_log_bytes=6000)) as stage:
            worker, trainer, numbers = await stage.worker(), await stage.trainer(), iter(range(1000))
            await collect(worker, numbers, 8)
            log = stage.relay._hubs[RUN].log
            window = log.end
            _consume(stage)
            await keep_checkpoint(stage, trainer, 1, window)
            await collect(worker, numbers, 7)
            assert 0 < log.begin <= window
            assert log.size_bytes <= 6000

    asyncio.run(scene())


def _consume(stage: Stage) -> None:
    """The trainer of this test takes everything at once."""
    hub = stage.relay._hubs[RUN]
    for member in hub.members:
        if member.feeding is not None:
            member.feeding.consumed = 2**60


def test_collection_waits_visibly_while_a_checkpoint_needs_all_samples_and_goes_on_with_the_next(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(sample_log_bytes=6000)) as stage:
            worker, trainer, numbers = await stage.worker(), await stage.trainer(), iter(range(1000))
            _consume(stage)
            await keep_checkpoint(stage, trainer, 1, 0)
            log = stage.relay._hubs[RUN].log
            async with stage.listening("problem") as events:
                waiting = asyncio.create_task(collect(worker, numbers, 40))
                event = await events.hear()
            assert "samples cannot be stored, collection waits: its sample log takes" in event.data["detail"]
            assert "(relay.sample_log_bytes)" in event.data["detail"]
            assert "raise the quota" in event.data["detail"]
            assert log.size_bytes <= 6000
            assert not waiting.done()
            assert await trainer.hear(Command) == Command(0, "checkpoint")
            update = 1
            while not waiting.done():  # each one lets samples go that those before it held
                update += 1
                await keep_checkpoint(stage, trainer, update, log.end)
                await asyncio.wait({waiting}, timeout=0.1)
            assert stage.relay._hubs[RUN].log.transitions("train") == 400  # none of them was dropped

    asyncio.run(scene())


def test_a_checkpoint_that_is_kept_for_being_the_best_holds_no_samples_though_it_is_among_the_newest(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(sample_log_bytes=6000)) as stage:
            worker, trainer, numbers = await stage.worker(), await stage.trainer(), iter(range(1000))
            _consume(stage)
            await collect(worker, numbers, 4)
            log = stage.relay._hubs[RUN].log
            stage.store.weights.add(RUN, 1, 1, 0, b"the best", 0.0)
            summary = open_summary(a_summary(version=1))
            stage.store.episodes.add(RUN, [Episode("e", "w1", "evaluation", "oval", 0, 0.0, summary)])
            await keep_checkpoint(stage, trainer, 1, 0)
            await collect(worker, numbers, 4)
            await keep_checkpoint(stage, trainer, 2, log.end)
            await asyncio.wait_for(collect(worker, numbers, 8), 30.0)
            assert [(info.update, info.best) for info in stage.store.checkpoints.all(RUN)] == [(2, False), (1, True)]
            assert log.begin > 0

    asyncio.run(scene())


def test_pinned_weights_beyond_their_quota_stop_collection_until_one_is_unpinned(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(weights_bytes=250)) as stage:
            worker, numbers = await stage.worker(), iter(range(1000))
            hub = stage.relay._hubs[RUN]
            for version in (1, 2, 3):
                stage.store.weights.add(RUN, version, version, 0, bytes([version]) * 100, 0.0)
                stage.store.weights.pin(RUN, version)
            hub._kept_too_much = hub._over_quota()
            async with stage.listening("problem") as events:
                waiting = asyncio.create_task(collect(worker, numbers, 1))
                event = await events.hear()
            assert (
                "the pinned weights take 300 bytes and may take 250 (relay.weights_bytes): unpin some" in event.data["detail"]
            )
            stage.store.weights.pin(RUN, 1, pinned=False)
            stage.store.weights.trim(RUN)
            await waiting

    asyncio.run(scene())


def test_all_runs_together_stay_within_their_quota_and_idle_runs_pay_first(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(total_bytes=10**9)) as stage:
            await stage.make_run("idle", "stopped")
            for run in (RUN, "idle"):
                for version in range(1, 6):
                    stage.store.weights.add(run, version, version, 0, bytes([version]) * 200_000, 0.0)
            worker, numbers = await stage.worker(), iter(range(1000))
            keeper = stage.relay._housekeeper
            used = (await keeper.measure()).relay_bytes
            keeper._options = options(total_bytes=used - 300_000)
            await collect(worker, numbers, 1)
            assert [info.version for info in stage.store.weights.all("idle")] == [5]
            assert len(stage.store.weights.all(RUN)) == 5
            assert (await keeper.measure()).relay_bytes <= used - 300_000

            keeper._options = options(total_bytes=1000)
            async with stage.listening("problem") as events:
                waiting = asyncio.create_task(collect(worker, numbers, 1))
                event = await events.hear()
            assert "all runs together take" in event.data["detail"]
            assert "(relay.total_bytes)" in event.data["detail"]
            assert [info.version for info in stage.store.weights.all(RUN)] == [5]
            keeper._options = options()
            await waiting

    asyncio.run(scene())


def test_a_run_that_waits_for_room_can_be_deleted_and_another_one_starts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(total_bytes=1000)) as stage:
            await stage.make_run("idle", "stopped")
            worker = await stage.worker()
            async with stage.listening("problem") as events:
                await worker.say(chunk(0))
                await events.hear()
            await stage.relay.move(RUN, "stop")
            await stage.relay.delete_run(RUN)
            assert (await worker.hear(Ack)).numbers == [0]
            assert not stage.layout.relay_run(RUN).exists()
            await stage.relay.move("idle", "start")
            assert "all runs together take" in await stage.relay._housekeeper.lack_of_room(1)

    asyncio.run(scene())


def test_a_run_can_be_deleted_while_another_one_waits_for_room_and_is_not_opened_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(total_bytes=1000)) as stage:
            await stage.make_run("old", "stopped")
            deleting, may_go_on, delete = threading.Event(), threading.Event(), stage.store.delete

            def delete_slowly(name: str) -> None:
                deleting.set()
                assert may_go_on.wait(30)
                delete(name)

            monkeypatch.setattr(stage.store, "delete", delete_slowly)
            worker = await stage.worker()
            async with stage.listening("problem") as events:
                waiting = asyncio.create_task(collect(worker, iter(range(1000)), 1))
                await events.hear()
            deletion = asyncio.create_task(stage.relay.delete_run("old"))
            await asyncio.to_thread(deleting.wait, 30)
            for absent in ("old", "never there"):
                with pytest.raises(NotFound):
                    await stage.relay._open(absent)
                with pytest.raises(NotFound):
                    await stage.relay.delete_run(absent)
            with pytest.raises(Conflict, match="a run old is being deleted"):
                await stage.make_run("old")
            assert "all runs together take" in await stage.relay._housekeeper.lack_of_room(1)
            may_go_on.set()
            await deletion
            assert {path.name for path in stage.layout.relay_runs.iterdir()} == {RUN}
            stage.relay._housekeeper._options = options()
            await waiting

    asyncio.run(scene())


def test_a_run_whose_log_cannot_be_opened_is_passed_over_and_others_pay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(total_bytes=10**9)) as stage:
            await stage.make_run("old", "stopped")
            stage.layout.relay_run("old").mkdir()
            stage.layout.run_log("old").write_bytes(b"a file where a folder was")
            for version in range(1, 6):
                stage.store.weights.add(RUN, version, version, 0, bytes([version]) * 200_000, 0.0)
            keeper = stage.relay._housekeeper
            keeper._options = options(total_bytes=(await keeper.measure()).relay_bytes - 300_000)
            await collect(await stage.worker(), iter(range(1000)), 1)
            assert len(stage.store.weights.all(RUN)) < 5
            assert caplog.text.count("nothing of the run old can be freed") == 1
            with pytest.raises(StorageError):  # whoever asks for it alone is told
                await keeper.clean("old")

    asyncio.run(scene())


def test_weights_and_checkpoints_take_the_place_of_older_ones_where_there_is_no_more_room(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(total_bytes=10**9)) as stage:
            trainer, keeper = await stage.trainer(), stage.relay._housekeeper
            await keeper.measure()
            for version in range(1, 8):
                if version == 5:
                    before = keeper.total_bytes
                    assert before > 4 * 300_000  # they counted at once
                    keeper._options = options(total_bytes=1000)
                async with stage.listening("checkpoint", "weights") as events:
                    await trainer.say(
                        WeightsMessage(RUN, version, version, 0, 0, bytes([version]) * 200_000),
                        CheckpointMessage(RUN, version, 0, 0, 0, bytes([version]) * 100_000),
                    )
                    await events.hear(version=version)
                    await events.hear(update=version)
            assert [info.version for info in stage.store.weights.all(RUN)] == [7]  # the last checkpoint made room, too
            assert {info.update for info in stage.store.checkpoints.all(RUN)} == {7, 6}
            assert (await keeper.measure()).relay_bytes < before

    asyncio.run(scene())


def test_curves_lack_points_while_there_is_no_room_and_that_is_told_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, options=options(total_bytes=1000)) as stage, stage.listening() as events:
            trainer = await stage.trainer()
            for update in (1, 2):
                await trainer.say(Metrics(RUN, 0, update, 0, {"loss": 0.5}))
            problem = await events.hear()
            while problem.topic != "problem":
                problem = await events.hear()
            assert "points of its curves are not stored: all runs together take" in problem.data["detail"]
            await keep_checkpoint(stage, trainer, 2, 0)  # what came before it was taken
            stage.relay._housekeeper._options = options()
            await trainer.say(Metrics(RUN, 0, 3, 0, {"loss": 0.25}))
            while (event := await events.hear()).topic != "metrics":
                assert event.topic != "problem"
            assert stage.store.metrics.read(RUN, ["loss"])["loss"].updates.tolist() == [3]
            await trainer.say(Metrics(RUN, 0, 4, 0, {f"curve {number}": 0.0 for number in range(1001)}))
            assert "may have 1000 curves" in str(await trainer.ending())

    asyncio.run(scene())


def test_what_a_deleted_run_took_of_the_database_counts_no_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, run="stopped") as stage:
            names = [f"curve {number}" for number in range(100)]
            points = [Metric(0, update, 0, 0.0, dict.fromkeys(names, 0.0)) for update in range(500)]
            stage.store.metrics.add(RUN, points)
            await stage.relay.delete_run(RUN)
            usage, files = await stage.relay._housekeeper.measure(), measured(stage.layout)
            assert files.database_bytes - usage.database_bytes == stage.store.free_bytes() > 2**19
            assert stage.relay._housekeeper.total_bytes == usage.relay_bytes

    asyncio.run(scene())


def test_cleaning_lets_go_in_the_stated_order_and_keeps_what_is_pinned_or_needed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer, numbers = await stage.worker(), await stage.trainer(), iter(range(1000))
            _consume(stage)
            windows = []
            for update in range(1, 5):
                await collect(worker, numbers, 8)
                windows.append(stage.relay._hubs[RUN].log.end)
                await keep_checkpoint(stage, trainer, update, windows[-1])
                stage.store.weights.add(RUN, update, update, 0, bytes([update]) * 50, 0.0)
            await collect(worker, numbers, 4)
            stage.store.weights.pin(RUN, 2)
            damaged = stage.layout.run_log(RUN) / "pruned.damaged"
            damaged.write_bytes(b"?")
            log = stage.relay._hubs[RUN].log
            begin, held = log.begin, log.size_bytes
            planned = await stage.relay._housekeeper.clean(dry_run=True)
            assert (log.begin, log.size_bytes, damaged.exists()) == (begin, held, True)
            assert [info.version for info in stage.store.weights.all(RUN)] == [4, 3, 2, 1]

            freed = await stage.relay._housekeeper.clean()
            assert [(each.kind, each.what) for each in freed if each.kind != "samples"] == [
                ("leftovers", f"relay/runs/{RUN}/log/pruned.damaged"),
                ("weights", "version 3"),
                ("weights", "version 1"),
                ("checkpoints", "the one at update 3"),
                ("checkpoints", "the one at update 2"),
            ]
            assert _sizes(freed) == _sizes(planned)
            assert _sizes(freed)["samples"] == held - log.size_bytes > 0
            assert [info.version for info in stage.store.weights.all(RUN)] == [4, 2]
            assert [info.update for info in stage.store.checkpoints.all(RUN)] == [4]
            assert begin < log.begin <= windows[-1]
            assert log.read(windows[-1], 1)[0].offset == windows[-1]
            assert await stage.relay._housekeeper.clean() == []

    asyncio.run(scene())


def _sizes(freed: list[Freed]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for each in freed:
        sizes[each.kind] = sizes.get(each.kind, 0) + each.size_bytes
    return sizes


def test_a_pinned_checkpoint_holds_its_samples(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer, numbers = await stage.worker(), await stage.trainer(), iter(range(1000))
            _consume(stage)
            await keep_checkpoint(stage, trainer, 1, 0)
            stage.store.checkpoints.pin(RUN, 1)
            for update in (2, 3, 4, 5):
                await collect(worker, numbers, 8)
                await keep_checkpoint(stage, trainer, update, stage.relay._hubs[RUN].log.end)
            freed = await stage.relay._housekeeper.clean(RUN)
            assert {each.kind for each in freed} == {"checkpoints"}
            assert stage.relay._hubs[RUN].log.begin == 0
            stage.store.checkpoints.pin(RUN, 1, pinned=False)
            assert {each.kind for each in await stage.relay._housekeeper.clean(RUN)} == {"checkpoints", "samples"}

    asyncio.run(scene())


def test_what_each_run_takes_is_what_its_files_take(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await collect(worker, iter(range(5)), 5)
            stage.store.weights.add(RUN, 1, 1, 0, bytes(123), 0.0)
            view = await stage.relay.storage()
            (run,) = view.usage.runs
            log = stage.relay._hubs[RUN].log
            assert run.weights_bytes == 123
            assert run.log_bytes > log.size_bytes  # with its index
            assert (run.checkpoints_bytes, view.usage.spool_bytes) == (0, 0)
            assert view.usage.free_bytes > 0
            assert view.quota_bytes == RelayOptions().total_bytes

    asyncio.run(scene())


def test_a_half_written_file_is_left_to_its_writer_for_a_while(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            folder = stage.layout.run_log(RUN)
            fresh, old = folder / ".1.safetensors.x.new", folder / ".2.safetensors.y.new"
            for path in (fresh, old):
                path.write_bytes(bytes(10))
            os.utime(old, (0, time.time() - UNFINISHED_S - 60))
            assert leftovers(stage.layout) == {old}
            assert measured(stage.layout).leftovers_bytes == 10
            await stage.relay.clean_storage("", dry_run=False)
            assert (fresh.exists(), old.exists()) == (True, False)

    asyncio.run(scene())
