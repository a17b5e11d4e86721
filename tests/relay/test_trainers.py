"""What the relay makes of trainers that come with too much, or late."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.relay.stage import RUN, chunk, on_stage, weights
from tmrld.errors import Conflict, DiskFull, ProtocolError, Refused
from tmrld.protocol.messages import (
    Ack,
    Assign,
    CheckpointMessage,
    Consume,
    FetchCheckpoint,
    Grant,
    Metrics,
    Resume,
    Resumed,
    Status,
    Stored,
    WeightsMessage,
)
from tmrld.storage.runs import RunStore


def test_a_trainer_with_the_samples_of_another_run_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            for message in (Resume(RUN, 100, 1, 2**20), Consume(RUN, 1, 2**20)):
                trainer = await stage.connect("trainer", "t1")
                await trainer.hear(Assign)
                await trainer.say(message)
                refusal = await trainer.ending()
                assert isinstance(refusal, Refused)
                assert f"Remove the folder trainer/runs/{RUN}" in str(refusal)

    asyncio.run(scene())


def test_a_trainer_may_have_all_that_is_in_the_log(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await worker.say(chunk())
            await worker.hear(Ack)
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            await trainer.say(Consume(RUN, (tmp_path / "relay/runs" / RUN / "log" / f"{0:020d}.segment").stat().st_size, 2**20))
            await stage.nothing_more(trainer)

    asyncio.run(scene())


def test_a_second_trainer_is_refused_with_the_name_of_the_first_and_waits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            first = await stage.trainer("t1")
            second = await stage.connect("trainer", "t2")
            waiting = await second.hear(Assign)
            assert waiting.run == ""
            assert waiting.reason == (
                f"each active run has a trainer ({RUN} by t1): t2 waits until one is gone, or another run is started"
            )
            with pytest.raises(Conflict, match=f"the run {RUN} is trained by t1, and a run has one trainer.*--take-over"):
                await stage.relay.assign("t2", RUN)
            assert stage.store.assignments.all() == {}
            await stage.relay.assign("t1", RUN)  # it has that run already
            await first.hang_up()
            assert (await second.hear(Assign)).run == RUN
            await stage.relay.assign("t2", RUN)  # both are to train it now; it stays with the one that does
            back = await stage.connect("trainer", "t1")
            reason = (await back.hear(Assign)).reason
            assert reason.startswith(
                f"the run {RUN} is trained by t2, and a run has one trainer: t1 waits until that one is gone"
            )

    asyncio.run(scene())


@pytest.mark.parametrize("away", [False, True])
def test_a_second_trainer_takes_over_when_told_to_and_the_first_is_told_why(tmp_path: Path, away: bool) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            first = await stage.trainer("t1")
            await stage.relay.assign("t1", RUN)
            second = await stage.connect("trainer", "t2")
            if away:
                await second.hang_up()
                with pytest.raises(Conflict, match="is trained by t1"):
                    await stage.relay.assign("t2", RUN)
            await stage.relay.assign("t2", RUN, take_over=True)
            if away:
                second = await stage.connect("trainer", "t2")
            while (told := await first.hear(Assign)).run:
                pass
            assert told.reason == f"t2 has taken over the run {RUN}, which t1 trained: it stops"
            while not (await second.hear(Assign)).run:
                pass
            assert {node.name: node.run for node in stage.relay.connected()} == {"t1": "", "t2": RUN}
            assert stage.store.assignments.all() == {"t2": RUN}
            worker = await stage.worker()
            await first.say(weights(9), Grant(RUN, 10**6), Resume(RUN, 0, 0, 1))  # said before it had heard
            await stage.nothing_more(second, worker)
            assert worker.all_heard(WeightsMessage) == []
            assert first.all_heard(Stored) == []

    asyncio.run(scene())


def test_the_last_checkpoint_of_a_stopped_run_is_kept(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            async with stage.listening("checkpoint") as events:
                await stage.relay.move(RUN, "stop")
                while (await trainer.hear(Assign)).run:
                    pass
                await trainer.say(CheckpointMessage(RUN, 7, 0, 0, 0, b"state"))
                await events.hear(update=7)
            assert stage.store.checkpoints.load(RUN, 7)[1] == b"state"

    asyncio.run(scene())


def test_a_late_checkpoint_of_a_run_that_another_trains_is_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.make_run("second")
            await stage.trainer()
            other = await stage.connect("trainer", "t2")
            await other.hear(Assign)
            await other.say(CheckpointMessage(RUN, 9, 0, 0, 0, b"state"), CheckpointMessage("second", 8, 0, 0, 0, b"state"))
            async with stage.listening("checkpoint") as events:
                await events.hear(update=8)
            assert stage.store.checkpoints.newest(RUN) is None

    asyncio.run(scene())


def test_a_late_checkpoint_of_a_trainer_that_never_trained_the_run_is_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            first = await stage.trainer()
            other = await stage.connect("trainer", "t2")
            await first.hang_up()
            stage.store.nodes.forget("t2")  # as if it had never been asked
            await stage.relay.move(RUN, "stop")
            async with stage.listening("node") as events:
                await other.say(CheckpointMessage(RUN, 9, 0, 0, 0, b"state"), Status("", "idle", "that was it"))
                await events.hear(detail="that was it")
            assert stage.store.checkpoints.newest(RUN) is None

    asyncio.run(scene())


def keep_checkpoints(store: RunStore, *updates: int) -> None:
    for update in updates:
        store.checkpoints.add(RUN, update, 0, 0, 0, f"state {update}".encode(), 0.0)


def test_a_trainer_learns_which_checkpoint_is_the_newest_and_of_which_lineage(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            keep_checkpoints(stage.store, 100, 200)
            stage.store.lineages.open(RUN, 100, 0.0)
            stage.store.checkpoints.add(RUN, 150, 1, 0, 0, b"a branch", 0.0)
            trainer = await stage.connect("trainer", "t1")
            assigned = await trainer.hear(Assign)
            assert (assigned.checkpoint_update, assigned.checkpoint_lineage) == (150, 1)

    asyncio.run(scene())


def test_a_trainer_that_asks_for_a_damaged_checkpoint_is_pointed_to_the_one_before(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            keep_checkpoints(stage.store, 100, 200)
            newest = max(stage.layout.run_checkpoints(RUN).iterdir())
            newest.write_bytes(b"rubbish")
            trainer = await stage.connect("trainer", "t1")
            assert (await trainer.hear(Assign)).checkpoint_update == 200
            await trainer.say(FetchCheckpoint(RUN, 200))
            assert (await trainer.hear(Assign)).checkpoint_update == 100
            await trainer.say(FetchCheckpoint(RUN, 100))
            assert (await trainer.hear(CheckpointMessage)).payload == b"state 100"

    asyncio.run(scene())


def test_going_on_from_a_superseded_checkpoint_opens_a_lineage_that_continues_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            keep_checkpoints(stage.store, 100, 5000)
            stage.store.lineages.open(RUN, 100, 0.0)
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            await trainer.say(Resume(RUN, 5000, 0, 2**20, lineage=0))
            assert (await trainer.hear(Resumed)).lineage == 2
            newest = stage.store.lineages.all(RUN)[-1]
            assert (newest.parent, newest.fork_update) == (0, 5000)

    asyncio.run(scene())


def test_a_checkpoint_of_a_lineage_that_never_was_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            await trainer.say(Resume(RUN, 10, 0, 2**20, lineage=7))
            refusal = await trainer.ending()
            assert isinstance(refusal, Refused)
            assert "never had a lineage 7" in str(refusal)

    asyncio.run(scene())


def test_a_metric_that_is_no_number_ends_the_link_with_a_sentence(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            await trainer.say(Metrics(RUN, 0, 1, 1, {"loss": "high"}))
            error = await trainer.ending()
            assert isinstance(error, ProtocolError)
            assert "no number" in str(error)

    asyncio.run(scene())


def test_a_run_is_finished_when_its_trainer_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            async with stage.listening("run") as events:
                await trainer.say(Status(RUN, "finished", "made its updates"))
                await events.hear(state="finished")
            assert stage.store.get(RUN).state == "finished"
            while (await trainer.hear(Assign)).run:
                pass

    asyncio.run(scene())


def test_a_trainer_that_begins_though_the_disk_is_full_loses_its_link_and_begins_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise DiskFull("Cannot write: the disk is full.")

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem") as events:
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            with monkeypatch.context() as disk:
                disk.setattr(stage.store.lineages, "open", full)
                await trainer.say(Resume(RUN, 0, 0, 2**20))
                assert await trainer.ending() is None
            problem = await events.hear()
            assert problem.data == {"detail": "what t1 sends cannot be kept: Cannot write: the disk is full."}
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            await trainer.say(Resume(RUN, 0, 0, 2**20))
            await trainer.hear(Resumed)

    asyncio.run(scene())


def test_a_node_may_come_and_go_though_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise DiskFull("Cannot write: the disk is full.")

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("node") as events:
            for note in ("seen", "left"):
                monkeypatch.setattr(stage.store.nodes, note, full)
            trainer = await stage.connect("trainer", "t1")
            await trainer.hear(Assign)
            assert (await events.hear()).data["state"] == "connected"
            await trainer.hang_up()
            assert (await events.hear()).data["state"] == "gone"

    asyncio.run(scene())
