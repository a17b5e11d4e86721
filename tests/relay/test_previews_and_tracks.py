"""What workers show and tell of where they drive, and what follows from their episodes."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import numpy as np
import pytest

from tests.relay.stage import RUN, a_summary, chunk, on_stage, weights
from tmrld.errors import NotFound, ProtocolError
from tmrld.protocol.messages import Ack, Command, Preview, TrackLine

PICTURE = Preview(RUN, 480, 244, [[240, 218, 240, 20]], [1.0, 0.0, -0.5], 12.5, 17, b"JPEG")
LINE = np.array([[0, 0], [1, 2]], "<f4").tobytes()


def test_workers_send_pictures_only_while_somebody_watches(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            with stage.relay.watching(RUN):
                with stage.relay.watching(RUN):
                    assert (await worker.hear(Command)).arguments == {"on": True}
                late = await stage.worker("w2")
                assert (await late.hear(Command)).arguments == {"on": True}
                async with stage.listening("preview") as events:
                    await worker.say(PICTURE)
                    event = await events.hear(worker="w1")
            assert (await worker.hear(Command)).arguments == {"on": False}
            await stage.nothing_more(worker)
            assert [command.arguments["on"] for command in worker.all_heard(Command)] == [True, False]
            assert event.run == RUN
            assert base64.b64decode(event.data["image"]) == b"JPEG"
            assert (event.data["width"], event.data["beams"], event.data["step"]) == (480, [[240, 218, 240, 20]], 17)

    asyncio.run(scene())


def test_a_worker_is_not_asked_for_pictures_of_a_run_that_nobody_watches(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            with stage.relay.watching("another"):
                await stage.nothing_more(worker)
            assert worker.all_heard(Command) == []

    asyncio.run(scene())


def test_a_track_is_stored(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            with pytest.raises(NotFound):
                stage.store.tracks.get(RUN)
            await worker.say(TrackLine(RUN, "oval", 16.0, LINE), chunk())
            await worker.hear(Ack)
            track = stage.store.tracks.get(RUN)
            assert (track.name, track.width_m, track.points.tolist()) == ("oval", 16.0, [[0, 0], [1, 2]])

    asyncio.run(scene())


@pytest.mark.parametrize("payload", [b"", LINE[:-1], LINE[:4], np.array([0, np.nan], "<f4").tobytes()])
def test_a_track_that_is_none_costs_its_worker_the_link(tmp_path: Path, payload: bytes) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await worker.say(TrackLine(RUN, "oval", None, payload))
            error = await worker.ending()
            assert isinstance(error, ProtocolError)
            assert "track.payload does not hold pairs of finite coordinates" in str(error)

    asyncio.run(scene())


def test_episodes_become_points_of_curves_at_the_update_behind_their_weights(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, worker = await stage.trainer(), await stage.worker()
            async with stage.listening("metrics", "weights") as events:
                await trainer.say(weights(1))
                await events.hear(version=1)
                await worker.say(chunk(0, summary=a_summary(steps=10)), chunk(1, summary=a_summary(steps=20, lap_time_s=30.0)))
                while (event := await events.hear(update=10)).data["values"].get("training_steps") != 15.0:
                    pass
                assert event.data["values"]["training_lap_s"] == 30.0
                assert (event.data["lineage"], event.run) == (0, RUN)
            curves = stage.store.metrics.read(RUN, ["training_return", "training_finished_share"])
            assert curves["training_return"].updates.tolist() == [10]
            assert curves["training_finished_share"].values.tolist() == [0.5]

    asyncio.run(scene())


def test_weights_are_told_again_with_what_evaluation_says(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, worker = await stage.trainer(), await stage.worker()
            async with stage.listening("weights") as events:
                await trainer.say(weights(1, evaluate=1))
                assert (await events.hear(version=1)).data == {"version": 1, "update": 10}
                await worker.say(chunk(0, purpose="evaluation", summary=a_summary(lap_time_s=31.0)))
                told = (await events.hear(version=1)).data
            assert told["evaluation"] == {"episodes": 1, "finished": 1, "mean_return": 1.5, "median_lap_s": 31.0}
            assert stage.store.metrics.latest(RUN)["evaluation_lap_s"] == 31.0

    asyncio.run(scene())
