"""Whoever keeps real time waits for nobody: no time step is late because the relay, the disk or the spool holds things up.

The robot's time steps are counted as late by its environment, which its worker reports (``late_steps``).  They may be a while behind
on a busy machine; whatever holds things up here does so for much longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support import robot
from tests.support.linked import Relay, linked
from tmrld.configuration import run_config
from tmrld.events import Feed
from tmrld.protocol.messages import Ack, Assign, ChunkMessage, Status
from tmrld.storage.records import Record
from tmrld.storage.sample_log import Appended, SampleLog
from tmrld.worker.outbox import Outbox
from tmrld.worker.worker import WorkerRole

SCENE_S = 60.0
STEP_S = 0.02
LATE_S = 0.4
HELD_UP_STEPS = 100
"""Two seconds."""


class Scene:
    """A worker that drives the robot."""

    def __init__(self, folder: Path, spool: SampleLog, memory_bytes: int) -> None:
        self._diary = folder / "diary"
        environment = {
            "id": robot.ID,
            "kwargs": {"diary": str(self._diary)},
            "clock": "realtime",
            "max_steps": 100_000,
            "time_step_s": STEP_S,
            "start_obs_capture_s": STEP_S,
            "timeout_factor": LATE_S / STEP_S,
        }
        config = {"environment": environment, "collection": {"chunk_steps": 2}}
        self.assign = Assign("demo", run_config(config).model_dump(mode="json"), 1, "running")
        self.outbox = Outbox(spool, memory_bytes)
        self.role = WorkerRole("w", self.outbox, Feed(), files=folder / "files")

    @property
    def controls(self) -> int:
        return robot.diary(self._diary).count("control")

    async def until(self, condition: Callable[[list[str]], bool]) -> None:
        await asyncio.to_thread(robot.await_diary, self._diary, condition)

    async def steps(self, count: int) -> None:
        """Wait until the robot was given so many controls more."""
        before = self.controls
        await self.until(lambda done: done.count("control") >= before + count)

    async def report(self, relay: Relay) -> dict[str, Any]:
        """What the worker reports of itself from now on."""
        produced = self.controls
        while (status := await relay.hear(Status)).state != "driving" or status.values["produced"] < produced:
            pass
        return dict(status.values)


@asynccontextmanager
async def driving(folder: Path, spool: SampleLog, memory_bytes: int, limit: int = 16) -> AsyncIterator[tuple[Scene, Relay]]:
    scene = Scene(folder, spool, memory_bytes)
    try:
        async with asyncio.timeout(SCENE_S), linked(scene.role, "worker", "w", limit) as relay:
            await relay.say(scene.assign)
            await scene.until(lambda done: done.count("control") > 10)
            yield scene, relay
    finally:
        await scene.role.close()


def test_a_relay_that_stands_still_makes_no_step_late_and_what_is_driven_is_kept(tmp_path: Path) -> None:
    async def scene() -> None:
        async with driving(tmp_path, SampleLog(tmp_path / "spool"), 0, limit=1) as (worker, relay):
            await worker.steps(HELD_UP_STEPS)
            assert len(worker.outbox) >= HELD_UP_STEPS // 4
            assert worker.outbox.spooled_bytes > 0
            values = await worker.report(relay)
            assert values["late_steps"] == 0
            assert values["backlog_chunks"] > 0

    asyncio.run(scene())


class SlowDisk(SampleLog):
    """Holds up whoever writes for much longer than a time step, three times."""

    slow = 3

    def append(self, records: Sequence[Record], *, durable: bool = True) -> list[Appended]:
        if self.slow:
            self.slow -= 1
            time.sleep(2 * LATE_S)
        return super().append(records, durable=durable)


def test_a_slow_disk_makes_no_step_late(tmp_path: Path) -> None:
    async def scene() -> None:
        disk = SlowDisk(tmp_path / "spool")
        async with driving(tmp_path, disk, 0) as (worker, relay):
            await worker.steps(HELD_UP_STEPS)
            assert disk.slow == 0
            assert (await worker.report(relay))["late_steps"] == 0

    asyncio.run(scene())


def test_a_full_spool_stops_collection_with_a_sentence_and_makes_no_step_late(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = SampleLog(tmp_path / "spool", segment_bytes=2000, quota_bytes=20_000)
        async with driving(tmp_path, spool, 0) as (worker, relay):
            chunks: list[ChunkMessage] = []
            while True:
                message = await relay.hear_any()
                if isinstance(message, ChunkMessage):
                    chunks.append(message)
                elif isinstance(message, Status) and message.state == "problem":
                    break
            assert message.detail.startswith("collection stops until there is room: ")
            await worker.until(lambda done: done[-1] == "release")
            worker.outbox.acknowledge(chunks[0].incarnation, [chunk.number for chunk in chunks])
            await relay.say(Ack(chunks[0].incarnation, []))
            await worker.steps(10)
            assert (await worker.report(relay))["late_steps"] == 0

    asyncio.run(scene())
