"""Who comes and goes, who works for which run, and what people may ask of a run."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from tests.relay.stage import RUN, FakePeer, Stage, chunk, encoded, on_stage, weights
from tests.worker.worlds import SPEC
from tmrld.errors import BadInput, Conflict, LinkLost, NotFound
from tmrld.protocol.messages import (
    Ack,
    Assign,
    Command,
    Grant,
    LogLines,
    Metrics,
    Plain,
    Result,
    Status,
    WeightsMessage,
)
from tmrld.relay import hub
from tmrld.relay.log_tails import MAX_TEXT, MAX_WORD
from tmrld.relay.relay import MOVES, Relay
from tmrld.storage.runs import STATES
from tmrld.storage.sample_log import SampleLog


async def assigned(peer: FakePeer) -> tuple[str, str]:
    """The run and state that the peer is told next."""
    message = await peer.hear(Assign)
    return message.run, message.state


# Coming and going


def test_a_newcomer_is_told_the_run_with_its_configuration(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.connect("worker", "w1")
            made = stage.store.get(RUN).created
            assert await worker.hear(Assign) == Assign(RUN, {"seed": 1}, 1, "running", evaluates=True, created=made)
            trainer = await stage.connect("trainer", "t1")
            assert await trainer.hear(Assign) == Assign(RUN, {"seed": 1}, 1, "running", created=made)

    asyncio.run(scene())


def test_without_an_active_run_a_newcomer_waits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "queued") as stage:
            worker = await stage.connect("worker", "w1")
            assert await assigned(worker) == ("", "stopped")
            await stage.relay.move(RUN, "start")
            assert await assigned(worker) == (RUN, "running")

    asyncio.run(scene())


def test_the_first_worker_evaluates_and_the_next_one_when_it_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            first, second = await stage.connect("worker", "w1"), await stage.connect("worker", "w2")
            assert (await first.hear(Assign)).evaluates
            assert not (await second.hear(Assign)).evaluates
            await first.hang_up()
            assert (await second.hear(Assign)).evaluates

    asyncio.run(scene())


def test_a_second_trainer_waits_until_the_first_one_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            first, second = await stage.connect("trainer", "t1"), await stage.connect("trainer", "t2")
            assert await assigned(first) == (RUN, "running")
            assert await assigned(second) == ("", "stopped")
            await first.hang_up()
            assert await assigned(second) == (RUN, "running")

    asyncio.run(scene())


def test_what_a_waiting_trainer_says_of_the_run_does_not_count(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.trainer("t1")
            worker, waiting = await stage.worker(), await stage.connect("trainer", "t2")
            await waiting.hear(Assign)
            async with stage.listening("node") as events:
                await waiting.say(weights(9), Grant(RUN, 10**6), Metrics(RUN, 0, 1, 1, {}), Status(RUN, "done"))
                await events.hear(name="t2", state="done")
            await stage.nothing_more(worker)
            assert worker.all_heard(WeightsMessage) == []
            assert stage.store.weights.all(RUN) == []

    asyncio.run(scene())


def test_a_node_that_comes_back_takes_over_from_its_former_link(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            former = await stage.worker("w1")
            await former.hear(Assign)
            again = await stage.worker("w1")
            assert await assigned(again) == (RUN, "running")
            with pytest.raises(LinkLost, match="another link has taken over this node's name"):
                await former.hear(Ack)
            await former.ending()
            assert [node.name for node in stage.relay.connected()] == ["w1"]
            await again.say(chunk())
            assert (await again.hear(Ack)).numbers == [0]

    asyncio.run(scene())


def test_a_former_link_that_does_not_even_read_is_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            former = await stage.connect("worker", "w1", limit=1)
            for _ in range(3):
                await stage.relay.move(RUN, "pause")
                await stage.relay.move(RUN, "resume")
            await stage.connect("worker", "w1")
            await former.ending()
            assert len(stage.relay.connected()) == 1

    asyncio.run(scene())


def test_a_worker_and_a_trainer_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.connect("worker", "pc")
            await stage.connect("trainer", "pc")
            assert sorted(node.role for node in stage.relay.connected()) == ["trainer", "worker"]

    asyncio.run(scene())


def test_coming_and_going_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("node") as events:
            worker = await stage.connect("worker", "w1")
            assert (await events.hear()).data == {"name": "w1", "role": "worker", "state": "connected"}
            await worker.hang_up()
            assert (await events.hear()).data == {"name": "w1", "role": "worker", "state": "gone"}
            assert stage.relay.connected() == []

    asyncio.run(scene())


def test_who_is_connected_is_shown_with_what_it_says_of_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("node") as events:
            worker = await stage.connect("worker", "w1")
            await worker.say(Status(RUN, "driving", "all is well", {"speed_factor": 20.0}))
            await events.hear(state="driving")
            (node,) = stage.relay.connected()
            assert (node.name, node.role, node.version, node.run) == ("w1", "worker", "0.1.0", RUN)
            assert (node.state, node.detail, node.values) == (
                "driving",
                "all is well",
                {"speed_factor": 20.0, "mailbox_messages": 0},
            )
            assert (node.remote, node.machine, node.latency_s) == ("w1's end", {"cores": 2}, 0.0)

    asyncio.run(scene())


def test_of_a_status_no_more_is_kept_than_people_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("node") as events:
            worker = await stage.connect("worker", "w1")
            nested: Plain = {str(number): [{}] * 8000 for number in range(20)}
            await worker.say(Status(RUN, "driving" * 1000, "x" * (2 * MAX_TEXT), nested))
            told = await events.hear(state=("driving" * 1000)[:MAX_WORD])
            assert told.data["values"] == {}
            assert len(told.data["detail"]) < MAX_TEXT + 10
            assert stage.relay.connected()[0].values == {"mailbox_messages": 0}
            assert "w1 says more of itself than is kept" in caplog.text
            standing: Plain = {"health": [{"code": "weights_old", "text": "…", "numbers": {"versions": 3.0}}]}
            await worker.say(Status(RUN, "waiting", "", standing))
            assert (await events.hear(state="waiting")).data["values"] == standing

    asyncio.run(scene())


def test_problems_and_log_lines_of_nodes_are_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem", "log") as events:
            worker = await stage.connect("worker", "w1")
            await worker.say(
                Status(RUN, "problem", "no window"), LogLines("engine", [[0.5, "info", "tmrld", "hello"]]), Result(1)
            )
            problem, lines = await events.hear(), await events.hear()
            assert (problem.topic, problem.run, problem.data["name"], problem.data["detail"]) == (
                "problem",
                RUN,
                "w1",
                "no window",
            )
            (line,) = lines.data.pop("lines")
            assert lines.data == {"node": "w1", "source": "engine"}
            assert (line["level"], line["source"], line["text"]) == ("info", "engine", "hello")
            (kept,) = stage.relay.log_of_node("w1", 10) or []
            assert dataclasses.asdict(kept) == line
            assert [each.text for each in stage.relay.log_of_run(RUN, 10)] == ["hello"]
            assert stage.relay.log_of_node("w2", 10) is None

    asyncio.run(scene())


def test_a_relay_that_stops_tells_everybody_that_it_goes_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.connect("worker", "w1")
            await stage.relay.close_links()
            with pytest.raises(LinkLost, match="the relay stops"):
                await worker.hear(Command)

    asyncio.run(scene())


# Several runs


def test_nodes_are_shared_out_among_runs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.make_run("second")
            trainers = [await stage.connect("trainer", name) for name in ("t1", "t2")]
            workers = [await stage.connect("worker", name) for name in ("w1", "w2")]
            for peers in (trainers, workers):
                assert [await assigned(peer) for peer in peers] == [(RUN, "running"), ("second", "running")]

    asyncio.run(scene())


def test_a_worker_that_changes_to_another_run_gets_that_runs_weights(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("weights") as events:
            trainer, worker = await stage.trainer(), await stage.connect("worker", "w1")
            await stage.make_run("second", "queued")
            await trainer.say(weights(1))
            await events.hear(version=1)
            assert await worker.hear(WeightsMessage) == weights(1)
            await stage.relay.move("second", "start")
            await stage.relay.move(RUN, "stop")
            assert await assigned(worker) == ("second", "running")
            await stage.relay.move(RUN, "start")
            await stage.relay.move("second", "stop")
            assert await assigned(worker) == (RUN, "running")
            assert await worker.hear(WeightsMessage) == weights(1)

    asyncio.run(scene())


def test_samples_of_a_run_that_has_stopped_are_stored_all_the_same(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await stage.relay.move(RUN, "stop")
            await worker.say(chunk())
            assert (await worker.hear(Ack)).numbers == [0]
            await stage.relay.move(RUN, "start")
            trainer = await stage.trainer()
            assert (await trainer.fed(1))[0].body == encoded(chunk())[0]

    asyncio.run(scene())


def test_samples_of_a_run_that_does_not_exist_are_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await worker.say(chunk(run="deleted"))
            assert await worker.hear(Ack) == Ack("w1", [0])
            assert stage.relay.transitions("deleted") == 0

    asyncio.run(scene())


def test_samples_of_a_run_that_the_worker_never_worked_for_are_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.make_run("second", "stopped")
            worker = await stage.worker()
            await worker.say(chunk(run="second"))
            assert await worker.hear(Ack) == Ack("w1", [0])
            await stage.relay.move("second", "start")
            assert stage.relay.transitions("second") == 0

    asyncio.run(scene())


def test_late_samples_count_after_a_restart_of_the_relay_too(tmp_path: Path) -> None:
    async def before() -> None:
        async with on_stage(tmp_path) as stage:
            await (await stage.worker()).hear(Assign)
            await stage.relay.move(RUN, "stop")

    async def after() -> None:
        async with on_stage(tmp_path, run="") as stage:
            worker = await stage.connect("worker", "w1")
            await worker.say(chunk())
            assert (await worker.hear(Ack)).numbers == [0]
            assert stage.relay.transitions(RUN) == 10

    asyncio.run(before())
    asyncio.run(after())


def test_samples_in_the_name_of_another_node_are_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.connect("worker", "w2")
            worker = await stage.worker("w1")
            await worker.say(chunk(0, worker="w2"))
            assert await worker.hear(Ack) == Ack("w2", [0])
            assert stage.relay.transitions(RUN) == 0
            await worker.say(chunk(1, worker="w1-before-it-joined-anew"))
            await worker.hear(Ack)
            assert stage.relay.transitions(RUN) == 10

    asyncio.run(scene())


def test_an_old_name_that_somebody_else_has_now_is_that_ones(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker("w1")
            (member,) = stage.relay._roster.members()
            member.link.peer = dataclasses.replace(member.link.peer, former=("w0", "before"))
            member.link.credential = "mine"
            await stage.connect("worker", "w0")
            stage.relay.named("w0", "another's")
            stage.relay.named("before", "mine")
            assert member.link.peer.former == ("before",)
            await worker.say(chunk(0, worker="w0"))
            await worker.hear(Ack)
            assert stage.relay.transitions(RUN) == 0

    asyncio.run(scene())


def test_a_run_is_opened_once_however_many_ask_for_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    class Counted(SampleLog):
        def __init__(self, folder: Path) -> None:
            opened.append(folder)
            super().__init__(folder)

    monkeypatch.setattr(hub, "SampleLog", Counted)

    async def scene() -> None:
        async with on_stage(tmp_path, "queued") as stage:
            workers = [await stage.connect("worker", name) for name in ("w1", "w2", "w3")]
            for name in ("w1", "w2", "w3"):
                stage.store.nodes.serves(name, "worker", RUN)
            for worker, name in zip(workers, ("w1", "w2", "w3"), strict=True):
                await worker.say(chunk(worker=name))
            moving = asyncio.create_task(stage.relay.move(RUN, "start"))
            for worker in workers:
                assert (await worker.hear(Ack)).numbers == [0]
            await moving
            assert len(opened) == 1
            assert stage.relay.transitions(RUN) == 30

    asyncio.run(scene())


def test_a_node_may_come_while_a_run_is_being_opened(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "queued") as stage:
            moving = asyncio.create_task(stage.relay.move(RUN, "start"))
            worker = await stage.connect("worker", "w1")
            await moving
            while await assigned(worker) != (RUN, "running"):
                pass

    asyncio.run(scene())


def test_active_runs_go_on_after_a_restart(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            await stage.relay.move(RUN, "pause")
        async with on_stage(tmp_path, "") as stage:
            worker = await stage.connect("worker", "w1")
            assert await assigned(worker) == (RUN, "paused")

    asyncio.run(scene())


# What people ask of a run


async def in_state(stage: Stage, state: str) -> None:
    await stage.make_run()
    stage.store.set_state(RUN, state)


@pytest.mark.parametrize("verb", MOVES)
@pytest.mark.parametrize("state", STATES)
def test_a_verb_leads_to_its_state_or_is_refused_with_what_would_do(verb: str, state: str, tmp_path: Path) -> None:
    leads_to, allowed = MOVES[verb]

    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage:
            await in_state(stage, state)
            if state in allowed:
                await stage.relay.move(RUN, verb)
                assert stage.store.get(RUN).state == leads_to
                return
            with pytest.raises(Conflict) as caught:
                await stage.relay.move(RUN, verb)
            assert (
                str(caught.value) == f"the run demo is {state}: only one that is {' or '.join(allowed)} can be asked to {verb}"
            )
            assert stage.store.get(RUN).state == state

    asyncio.run(scene())


def test_the_nodes_of_a_run_are_told_what_is_asked_of_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("run") as events:
            worker, trainer = await stage.connect("worker", "w1"), await stage.connect("trainer", "t1")
            for peer in (worker, trainer):
                assert await assigned(peer) == (RUN, "running")
            for verb, expected in (
                ("pause", (RUN, "paused")),
                ("resume", (RUN, "running")),
                ("stop", ("", "stopped")),
                ("start", (RUN, "running")),
            ):
                await stage.relay.move(RUN, verb)
                for peer in (worker, trainer):
                    assert await assigned(peer) == expected
                assert (await events.hear()).data == {"state": expected[1]}

    asyncio.run(scene())


def test_a_run_that_does_not_exist_cannot_be_told_anything(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage:
            with pytest.raises(NotFound, match="nothing"):
                await stage.relay.move("nothing", "start")

    asyncio.run(scene())


def test_a_run_is_made_once_with_a_name_and_configuration_that_can_be(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "queued") as stage:
            assert stage.store.get(RUN).state == "queued"
            with pytest.raises(Conflict, match="There is a run 'demo' already"):
                await stage.make_run()
            with pytest.raises(BadInput, match="cannot be the name of a run"):
                await stage.make_run("No Such Name")

            def refuse(_config: object) -> dict[str, object]:
                raise BadInput("algorithm.gama is not a setting")

            picky = Relay(stage.layout, stage.store, stage.relay._options, stage.feed, refuse)
            with pytest.raises(BadInput, match=r"algorithm\.gama is not a setting"):
                await picky.create_run("other", {}, "test")
            assert [run.name for run in stage.store.all()] == [RUN]

    asyncio.run(scene())


def test_spaces_are_remembered_over_restarts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await worker.say(chunk())
            await worker.hear(Ack)
        async with on_stage(tmp_path, "") as stage:
            assert stage.store.get(RUN).spec == SPEC.to_plain()

    asyncio.run(scene())
