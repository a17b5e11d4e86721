"""Runs that wait, end for good or are changed, and nodes that a person has placed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.relay.stage import RUN, FakePeer, chunk, on_stage
from tmrld.errors import Conflict, NotFound
from tmrld.protocol.messages import Ack, Assign


async def work_of(peer: FakePeer) -> tuple[str, str]:
    message = await peer.hear(Assign)
    return message.run, message.state


# The queue


def test_a_queued_run_starts_when_a_trainer_comes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "queued") as stage, stage.listening("run") as events:
            trainer = await stage.connect("trainer", "t1")
            await events.hear(state="running")
            assert await work_of(trainer) == ("", "stopped")
            assert await work_of(trainer) == (RUN, "running")

    asyncio.run(scene())


def test_the_next_run_starts_when_a_trainer_has_nothing_to_do(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.connect("trainer", "t1")
            assert await work_of(trainer) == (RUN, "running")
            for name in ("second", "third"):
                await stage.make_run(name, "queued")
            await stage.relay.move(RUN, "stop")
            while (work := await work_of(trainer)) == ("", "stopped"):
                pass
            assert work == ("second", "running")
            assert [run.name for run in stage.store.queue()] == ["third"]

    asyncio.run(scene())


def test_two_idle_trainers_take_two_runs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage, stage.listening("run") as events:
            for name in ("t1", "t2"):
                await stage.connect("trainer", name)
            for name in ("a", "b", "c"):
                await stage.make_run(name, "queued")
            for _ in range(2):
                await events.hear(state="running")
            assert [(run.name, run.state) for run in stage.store.all()] == [("a", "running"), ("b", "running"), ("c", "queued")]

    asyncio.run(scene())


def test_a_trainer_that_is_assigned_takes_only_its_own_run_from_the_queue(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage, stage.listening("run") as events:
            for name in ("a", "b"):
                await stage.make_run(name, "queued")
            await stage.relay.assign("t1", "b")
            await stage.connect("trainer", "t1")
            assert (await events.hear(state="running")).run == "b"
            assert stage.store.get("a").state == "queued"

    asyncio.run(scene())


def test_a_run_that_was_stopped_can_be_queued(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            with pytest.raises(Conflict, match="only one that is stopped or failed or finished can be asked to queue"):
                await stage.relay.move(RUN, "queue")
            await stage.relay.move(RUN, "stop")
            await stage.relay.move(RUN, "queue")
            assert stage.store.get(RUN).queue_position == 1

    asyncio.run(scene())


def test_a_run_that_is_not_started_waits_for_nobody(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "stopped") as stage:
            trainer = await stage.connect("trainer", "t1")
            assert await work_of(trainer) == ("", "stopped")
            assert stage.store.get(RUN).state == "stopped"

    asyncio.run(scene())


# Deleting


def test_a_run_is_deleted_with_its_files_once_it_is_stopped(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("run") as events:
            worker = await stage.worker()
            await worker.say(chunk())
            await worker.hear(Ack)
            with pytest.raises(Conflict, match="is running: stop it before you delete it"):
                await stage.relay.delete_run(RUN)
            await stage.relay.move(RUN, "stop")
            await stage.relay.delete_run(RUN)
            await events.hear(deleted=True)
            assert stage.store.all() == []
            assert not stage.layout.relay_run(RUN).exists()
            with pytest.raises(NotFound):
                await stage.relay.delete_run(RUN)

    asyncio.run(scene())


def test_samples_of_a_deleted_run_are_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await stage.relay.move(RUN, "stop")
            await stage.relay.delete_run(RUN)
            await worker.say(chunk())
            assert (await worker.hear(Ack)).numbers == [0]

    asyncio.run(scene())


def test_another_run_of_the_same_name_begins_from_nothing_and_is_told_apart(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            first = await worker.hear(Assign) if not worker.all_heard(Assign) else worker.all_heard(Assign)[0]
            await worker.say(chunk())
            await worker.hear(Ack)
            await stage.relay.move(RUN, "stop")
            await stage.relay.delete_run(RUN)
            await stage.make_run()
            while (second := await worker.hear(Assign)).run != RUN:
                pass
            assert second.created > first.created
            assert stage.relay.transitions(RUN) == 0

    asyncio.run(scene())


# Configuration


def test_a_changed_configuration_reaches_everybody_who_works_for_the_run(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("run") as events:
            peers = [await stage.connect("worker", "w1"), await stage.connect("trainer", "t1")]
            for peer in peers:
                await peer.hear(Assign)
            await stage.relay.change_config(RUN, {"seed": 2}, 1, "somebody")
            for peer in peers:
                message = await peer.hear(Assign)
                assert (message.config, message.revision, message.state) == ({"seed": 2}, 2, "running")
            await events.hear(revision=2)

    asyncio.run(scene())


def test_a_change_to_a_stale_revision_changes_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.relay.change_config(RUN, {"seed": 2}, 1, "somebody")
            with pytest.raises(Conflict, match="is at revision 2, the change was made to revision 1"):
                await stage.relay.change_config(RUN, {"seed": 3}, 1, "somebody")
            assert stage.store.revision(RUN).config == {"seed": 2}

    asyncio.run(scene())


# Assignments


def test_a_node_is_moved_to_the_run_that_a_person_chooses_and_back(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.make_run("second")
            workers = [await stage.connect("worker", name) for name in ("w1", "w2")]
            assert [await work_of(worker) for worker in workers] == [(RUN, "running"), ("second", "running")]
            await stage.relay.assign("w2", RUN)
            assert await work_of(workers[0]) == ("second", "running")
            assert await work_of(workers[1]) == (RUN, "running")
            assert {view.name: view.assigned for view in stage.relay.connected()} == {"w1": None, "w2": RUN}
            await stage.relay.assign("w2", None)
            assert {view.name: view.assigned for view in stage.relay.connected()} == {"w1": None, "w2": None}
            with pytest.raises(NotFound):
                await stage.relay.assign("w2", "nothing")

    asyncio.run(scene())
