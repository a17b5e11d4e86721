"""A run is led back to an older checkpoint, and goes on from there whoever is killed meanwhile.

The trainer's algorithm is one whose weights tell all batches that it was ever given (`tests.support.recording_algorithm`).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.test_roles import SCENE_S, CountedEngine, config
from tests.end_to_end.test_steering import Desk
from tests.support.cluster import LEDGER_RUN, Cluster, await_that
from tests.support.linked import linked
from tmrld.events import Feed
from tmrld.protocol.messages import Assign, CheckpointMessage, Command, FetchCheckpoint, Result, Status
from tmrld.rl import weights as weight_files
from tmrld.storage.layout import Layout
from tmrld.trainer.checkpoints import Checkpoint, CheckpointFolder, Journal, JournalEntry, pack
from tmrld.trainer.trainer import TrainerRole

# The trainer's shell


def a_checkpoint(update: int) -> bytes:
    return pack(Checkpoint("demo", update, 0, 1, 40 * update, 0, {"state": np.arange(update)}, {"counters": {}}))


def test_a_trainer_adopts_an_older_checkpoint_of_a_newer_lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.trainer.trainer.Engine", CountedEngine)
    monkeypatch.setattr(CountedEngine, "made", 0)
    layout = Layout(tmp_path)
    folder = CheckpointFolder(layout.trainer_checkpoints("demo"))
    for update in (10, 20, 30):
        folder.save(update, 0, a_checkpoint(update))
    journal = Journal(layout.trainer_journal("demo"))
    journal.append(JournalEntry(30, 1300))
    journal.close()

    async def scene() -> None:
        role = TrainerRole(layout, "cpu", Feed())
        at_30 = Assign("demo", config(tmp_path), 1, "running", checkpoint_update=30, checkpoint_lineage=0)
        back_at_20 = replace(at_30, checkpoint_update=20, checkpoint_lineage=1)
        try:
            async with linked(role, "trainer", "t") as relay:
                await relay.say(back_at_20)
                assert (await relay.hear(FetchCheckpoint)).update == 20
                stale = CheckpointMessage("demo", 30, 0, 1200, 0, a_checkpoint(30))
                await relay.say(stale, Command(1, "restart"))  # was asked for before
                assert (await relay.hear(Result)).error, "there is no engine yet"
                await relay.say(CheckpointMessage("demo", 20, 1, 800, 0, a_checkpoint(20)), Command(2, "start"))
                assert not (await relay.hear(Result)).error
                assert CountedEngine.made == 1
                own = CheckpointFolder(layout.trainer_checkpoints("demo")).newest()
                assert own is not None
                assert (own.update, own.lineage, own.offset, own.arrays["state"].tolist()) == (20, 1, 800, list(range(20)))
                assert layout.trainer_journal("demo").stat().st_size == 0
        finally:
            await role.close()
        role = TrainerRole(layout, "cpu", Feed())  # another daemon: it has it already
        try:
            async with linked(role, "trainer", "t") as relay:
                await relay.say(back_at_20, Command(3, "start"))
                await relay.hear(Result)
                assert CountedEngine.made == 2
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_checkpoint_that_cannot_be_read_is_said_and_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.trainer.trainer.RETRY_DISK_S", 0.01)

    async def scene() -> None:
        role = TrainerRole(Layout(tmp_path), "cpu", Feed())
        assign = Assign("demo", config(tmp_path), 1, "running", checkpoint_update=20, checkpoint_lineage=1)
        try:
            async with linked(role, "trainer", "t") as relay:
                await relay.say(assign)
                wanted = await relay.hear(FetchCheckpoint)
                await relay.say(CheckpointMessage("demo", 20, 1, 800, 0, b"rubbish"))
                assert "training waits for a checkpoint that can be kept here" in (await relay.hear(Status)).detail
                assert await relay.hear(FetchCheckpoint) == wanted
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


# Real processes

RUN: dict[str, Any] = {**LEDGER_RUN, "training": {**LEDGER_RUN["training"], "checkpoint_interval_updates": 100}}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_goes_on_from_an_older_checkpoint_in_a_new_lineage_whoever_is_killed(tmp_path: Path) -> None:
    with Cluster(tmp_path, RUN) as cluster:
        cluster.start_relay()
        cluster.start("worker", "w")
        cluster.start("trainer", "t")
        desk = Desk(cluster)
        older = await_that(
            lambda: next(iter(with_weights(desk)), None), "a checkpoint and weights of the same update are there"
        )
        desk.do("checkpoint", "pin", "demo", str(older))
        before = next(each for each in weights(desk) if each["update"] == older)
        desk.client.post("runs", "demo", "weights", str(before["version"]), "pin")
        await_that(lambda: last_of_curve(desk) >= older + 200, "it learns on")

        # Led back while it is paused, it is back there when the trainer has adopted the checkpoint, and stays there.
        desk.do("run", "pause", "demo")
        await_that(lambda: desk.trainer()["state"] == "paused", "the trainer pauses")
        back = desk.do("checkpoint", "resume", "demo", str(older))
        assert (back["update"], back["lineage"]) == (older, 1)
        newest = await_that(lambda: of_lineage(desk, 1), "the trainer publishes where it is back")
        assert newest["update"] == older
        assert newest["version"] > before["version"]
        assert tensors(desk, newest, tmp_path) == tensors(desk, before, tmp_path), "it knows what it knew then"
        assert last_of_curve(desk) <= older, "what came after is hidden"
        assert {each["lineage"] for each in desk.client.get("runs", "demo", "checkpoints")["items"]} == {0, 1}, "not deleted"

        # It goes on, and when the trainer is killed, it goes on from there.
        desk.do("run", "resume", "demo")
        await_that(lambda: last_of_curve(desk) > older, "the curves go on from there")
        cluster.programs["t"].kill()
        reached, version = last_of_curve(desk), weights(desk)[0]["version"]
        cluster.start("trainer", "t")
        await_that(lambda: last_of_curve(desk) > reached + 100, "it goes on where it was killed")
        assert all(each["lineage"] >= 1 for each in weights(desk) if each["version"] > version)

        # Led back while the trainer is away, and the relay dies: the trainer adopts it when it comes.
        cluster.programs["t"].kill()
        lineage = desk.do("checkpoint", "resume", "demo", str(older))["lineage"]
        assert desk.do("checkpoint", "resume", "demo", str(older))["lineage"] == lineage, "asked again, it is the same"
        version = weights(desk)[0]["version"]
        cluster.programs["relay"].kill()
        cluster.start_relay()
        desk = Desk(cluster)
        assert last_of_curve(desk) <= older
        desk.do("run", "pause", "demo")
        cluster.start("trainer", "t")
        newest = await_that(lambda: of_lineage(desk, lineage), "the trainer publishes where it is back")
        assert newest["update"] == older
        assert newest["version"] > version
        assert tensors(desk, newest, tmp_path) == tensors(desk, before, tmp_path)
        desk.do("run", "resume", "demo")
        await_that(lambda: last_of_curve(desk) > older, "it goes on from there")

        # And another trainer, which has nothing, takes over in this lineage.
        cluster.programs["t"].kill()
        version = weights(desk)[0]["version"]
        cluster.start("trainer", "t2")
        await_that(lambda: weights(desk)[0]["version"] > version + 2, "the other trainer goes on")
        assert all(each["lineage"] >= lineage for each in weights(desk) if each["version"] > version)


def weights(desk: Desk) -> list[dict[str, Any]]:
    """The newest first."""
    items: list[dict[str, Any]] = desk.client.get("runs", "demo", "weights")["items"]
    return items


def of_lineage(desk: Desk, lineage: int) -> dict[str, Any] | None:
    return next((each for each in weights(desk) if each["lineage"] == lineage), None)


def with_weights(desk: Desk) -> list[int]:
    """The updates at which there is a checkpoint, and weights."""
    published = {each["update"] for each in weights(desk)}
    return [each["update"] for each in desk.client.get("runs", "demo", "checkpoints")["items"] if each["update"] in published]


def tensors(desk: Desk, which: dict[str, Any], folder: Path) -> dict[str, bytes]:
    path = folder / f"{which['version']}.safetensors"
    desk.do("weights", "pull", "demo", str(which["version"]), "--output", str(path), "--force")
    return {name: tensor.tobytes() for name, tensor in weight_files.unpack(path.read_bytes())[1].items()}


def last_of_curve(desk: Desk) -> int:
    """The last update of a curve as it is shown; 0 before the first."""
    series = desk.client.get("runs", "demo", "metrics", names="updates_per_s")["series"]
    return max((int(update) for each in series for update in each["updates"]), default=0)
