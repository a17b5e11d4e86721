"""What the relay makes of trainers that come with too much, or late."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.relay.stage import RUN, chunk, on_stage
from tmrld.errors import Refused
from tmrld.protocol.messages import Ack, Assign, CheckpointMessage, Consume, Resume


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
