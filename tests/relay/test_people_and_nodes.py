"""What people do with nodes at the relay: commands to engines, new names, cutting off."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.relay.stage import RUN, FakePeer, chunk, on_stage
from tmrld.errors import Conflict, LinkLost, Refused
from tmrld.protocol.messages import Ack, Assign, Command, Result
from tmrld.relay.asking import Questions


async def answering(peer: FakePeer, error: str = "") -> Command:
    """What the peer is asked; it answers."""
    command = await peer.hear(Command)
    await peer.say(Result(command.id, error))
    return command


def test_an_engine_is_told_what_a_person_wants(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker("w1")
            answers = asyncio.create_task(answering(worker))
            await stage.relay.command("w1", "restart")
            assert (await answers).name == "restart"
            answers = asyncio.create_task(answering(worker, "it has no engine"))
            with pytest.raises(Conflict, match="w1 could not restart: it has no engine"):
                await stage.relay.command("w1", "restart")
            await answers

    asyncio.run(scene())


def test_a_node_that_is_away_or_goes_away_cannot_be_told_anything(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            with pytest.raises(Conflict, match="w1 is away"):
                await stage.relay.command("w1", "stop")
            worker = await stage.worker("w1")
            asked = asyncio.create_task(stage.relay.command("w1", "stop"))
            await worker.hear(Command)
            await worker.hang_up()
            with pytest.raises(LinkLost, match="w1 is away"):
                await asked

    asyncio.run(scene())


def test_whoever_does_not_answer_is_not_waited_for() -> None:
    async def scene() -> None:
        said: list[Command] = []
        questions = Questions(said.append)
        with pytest.raises(LinkLost, match="w1 did not answer within 0 s whether it could stop"):
            await questions.ask("w1", "stop", timeout_s=0)
        questions.answer(Result(said[0].id))  # too late

    asyncio.run(scene())


def test_answers_reach_whoever_asked() -> None:
    async def scene() -> None:
        said: list[Command] = []
        questions = Questions(said.append)
        asked = [asyncio.create_task(questions.ask("w1", name)) for name in ("start", "stop")]
        await asyncio.sleep(0)
        for command in reversed(said):
            questions.answer(Result(command.id, value={"did": command.name}))
        assert [(await each).value["did"] for each in asked] == ["start", "stop"]

    asyncio.run(scene())


def test_a_node_whose_token_is_revoked_is_told_why_and_heard_no_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker("w1")
            await worker.hear(Assign)
            stage.relay.cut("w1", "", "its token was revoked")
            assert stage.relay.connected() == []
            with pytest.raises(Refused, match="its token was revoked"):
                await worker.hear(Ack)
            assert stage.relay.forget("w1")
            assert not stage.relay.forget("w1")
            assert stage.store.nodes.all() == []

    asyncio.run(scene())


def test_only_the_link_with_the_revoked_token_is_cut(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker("w1")
            (member,) = stage.relay._roster.members()
            member.link.credential = "new"
            stage.relay.cut("w1", "old", "its token was revoked")
            assert [node.name for node in stage.relay.connected()] == ["w1"]
            await worker.say(chunk())
            assert (await worker.hear(Ack)).numbers == [0]

    asyncio.run(scene())


def test_a_renamed_node_is_told_to_come_back(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker("w1")
            await worker.hear(Assign)
            await stage.relay.assign("w1", RUN)
            stage.relay.rename("w1", "w2")
            with pytest.raises(LinkLost, match="this node is called w2 from now on"):
                await worker.hear(Ack)
            await worker.ending()
            assert [node.name for node in stage.store.nodes.all()] == ["w2"]
            assert stage.store.assignments.all() == {"w2": RUN}

    asyncio.run(scene())


def test_a_node_that_has_joined_is_known_before_it_comes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("node") as events:
            stage.relay.met("w1", "worker")
            assert (await events.hear()).data == {"name": "w1", "role": "worker", "state": "away"}
            assert [node.name for node in stage.store.nodes.all()] == ["w1"]

    asyncio.run(scene())


def test_a_node_is_examined_and_its_newest_report_is_kept(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            with pytest.raises(Conflict, match="w1 is away: run `tmrld doctor` on its machine"):
                await stage.relay.examine("w1")
            worker = await stage.worker("w1")
            assert stage.relay.report("w1") is None
            asked = asyncio.create_task(stage.relay.examine("w1"))
            command = await worker.hear(Command)
            assert command.name == "doctor"
            await worker.say(
                Result(command.id, value={"diagnoses": [{"code": "disk-full"}], "picture": b"jpeg", "time": "noon"})
            )
            report = await asked
            assert report["diagnoses"] == [{"code": "disk-full"}]
            assert report["time"] > 0  # the relay's own, whatever the node says
            assert stage.relay.report("w1") == report
            stage.relay.rename("w1", "w2")
            assert stage.relay.report("w2") == report
            await worker.ending()
            stage.relay.forget("w2")
            assert stage.relay.report("w2") is None

    asyncio.run(scene())


def test_who_only_looks_is_told_the_run_and_the_world_that_are_theirs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.relay.create_run("other", {"environment": {"game": "trackmania"}}, "test", "now")
            assert stage.relay.outlook("w1", "worker") == {"linked": False, "run": RUN, "environment": {}}
            await stage.relay.assign("w1", "other")
            assert stage.relay.outlook("w1", "worker") == {
                "linked": False,
                "run": "other",
                "environment": {"game": "trackmania"},
            }
            assert stage.relay.outlook("t1", "trainer") == {"linked": False, "run": RUN, "environment": {}}
            worker = await stage.worker("w1", run="other")
            await worker.hear(Assign)
            assert stage.relay.outlook("w1", "worker")["linked"]
            assert stage.relay.outlook("w1", "worker")["run"] == "other"

    asyncio.run(scene())
