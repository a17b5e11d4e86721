"""A run is led back to an older checkpoint: whoever trains it, now or later, goes on from there in a new lineage."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.relay.stage import RUN, on_stage, weights
from tmrld.errors import Conflict, NotFound
from tmrld.protocol.messages import Assign, CheckpointMessage, FetchCheckpoint, Metrics, Resume, Resumed, WeightsMessage
from tmrld.storage.lineages import Span
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_log import SampleLog


def keep_checkpoints(store: RunStore, *updates: int) -> None:
    for update in updates:
        store.checkpoints.add(RUN, update, 0, update, update // 2, f"state {update}".encode(), 0.0)


def test_the_trainer_at_work_is_told_and_goes_on_from_there_in_a_new_lineage(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("run", "metrics", "weights") as events:
            keep_checkpoints(stage.store, 100, 200)
            worker = await stage.worker()
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            await trainer.say(Resume(RUN, 200, 0, 2**20, lineage=0))
            assert (await trainer.hear(Resumed)).lineage == 0
            await trainer.say(Metrics(RUN, 0, 90, 90, {"loss": 1.0}), Metrics(RUN, 0, 190, 190, {"loss": 2.0}), weights(1))
            await events.hear(version=1)
            back = await stage.relay.go_back(RUN, 100, False)
            assert (back.update, back.lineage) == (100, 1)
            await events.hear(lineage=1)
            told = await trainer.hear(Assign)
            assert (told.run, told.state, told.checkpoint_update, told.checkpoint_lineage) == (RUN, "running", 100, 1)
            await trainer.say(weights(2), FetchCheckpoint(RUN, 100))  # weights from before it heard of it are let go
            got = await trainer.hear(CheckpointMessage)
            assert (got.update, got.lineage, got.payload) == (100, 1, b"state 100")
            await trainer.say(Resume(RUN, 100, 0, 2**20, lineage=1))
            resumed = await trainer.hear(Resumed)
            assert (resumed.lineage, resumed.version) == (1, 1)
            await trainer.say(replace(weights(2), lineage=1, update=101))
            await events.hear(version=2)
            assert (await worker.hear(WeightsMessage)).lineage == 0
            assert (await worker.hear(WeightsMessage)).lineage == 1
            await trainer.say(Metrics(RUN, 1, 110, 90, {"loss": 3.0}))
            await events.hear(update=110)
            shown = stage.store.metrics.read(RUN, ["loss"])["loss"]
            assert shown.updates.tolist() == [90, 110]
            everything = stage.store.metrics.read(RUN, ["loss"], include_superseded=True)["loss"]
            assert sorted(everything.updates.tolist()) == [90, 110, 190], "hidden, not deleted"

    asyncio.run(scene())


def test_a_trainer_that_was_away_cannot_lead_the_run_to_where_it_was_left(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            keep_checkpoints(stage.store, 100, 200)
            await stage.relay.go_back(RUN, 100, False)
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            await trainer.say(Resume(RUN, 300, 0, 2**20, lineage=0))  # it was about to begin when it heard
            told = await trainer.hear(Assign)
            assert (told.checkpoint_update, told.checkpoint_lineage) == (100, 1)
            assert not trainer.all_heard(Resumed)
            assert len(stage.store.lineages.all(RUN)) == 2
            await trainer.say(Resume(RUN, 100, 0, 2**20, lineage=1))
            assert (await trainer.hear(Resumed)).lineage == 1

    asyncio.run(scene())


def test_it_survives_the_relay_and_whoever_trains_next_goes_on_from_it(tmp_path: Path) -> None:
    async def lead_back() -> None:
        async with on_stage(tmp_path) as stage:
            keep_checkpoints(stage.store, 100, 200)
            await stage.relay.move(RUN, "stop")
            await stage.relay.go_back(RUN, 100, False)
            assert (await stage.relay.go_back(RUN, 100, False)).lineage == 1  # asked again
            await stage.relay.move(RUN, "start")

    async def go_on() -> None:
        async with on_stage(tmp_path, run="") as stage:
            for name in ("t1", "t2"):
                trainer = await stage.connect("trainer", name)
                told = await trainer.hear(Assign)
                assert (told.checkpoint_update, told.checkpoint_lineage) == (100, 1)
                await trainer.say(FetchCheckpoint(RUN, 100))
                assert (await trainer.hear(CheckpointMessage)).payload == b"state 100"
                await trainer.hang_up()
            assert stage.store.lineages.visible(RUN) == [Span(1, None), Span(0, 100)]

    asyncio.run(lead_back())
    asyncio.run(go_on())


def test_what_cannot_be_gone_back_to_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            keep_checkpoints(stage.store, 100, 200)
            with pytest.raises(NotFound, match="nearest that are kept: 100 and 200"):
                await stage.relay.go_back(RUN, 150, False)
            with pytest.raises(NotFound, match="There is no run"):
                await stage.relay.go_back("other", 100, False)
            max(stage.layout.run_checkpoints(RUN).iterdir()).write_bytes(b"rubbish")
            for _ in range(2):
                with pytest.raises(Conflict, match="the run demo cannot go back to update 200: "):
                    await stage.relay.go_back(RUN, 200, False)
            assert len(stage.store.lineages.all(RUN)) == 1

    asyncio.run(scene())


def test_where_the_log_no_longer_has_all_samples_it_is_said_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            keep_checkpoints(stage.store, 100, 200)
            monkeypatch.setattr(SampleLog, "begin", property(lambda _: 150))
            with pytest.raises(Conflict, match="samples up to it, and some that came after, are no longer in the log"):
                await stage.relay.go_back(RUN, 100, True)
            with pytest.raises(Conflict, match="the log has 50% left"):
                await stage.relay.go_back(RUN, 200, False)
            assert len(stage.store.lineages.all(RUN)) == 1
            assert (await stage.relay.go_back(RUN, 200, True)).lineage == 1

    asyncio.run(scene())
