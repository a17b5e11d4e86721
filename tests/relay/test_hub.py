"""The way of a sample through the relay, and what workers and trainers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.relay.slow_disk import HeldLog
from tests.relay.stage import RUN, FakePeer, a_summary, chunk, encoded, on_stage, weights
from tests.worker.worlds import SPEC
from tmrld.errors import DiskFull, ProtocolError, Refused
from tmrld.protocol.messages import (
    Ack,
    Allowance,
    Assign,
    CheckpointMessage,
    Consume,
    Consumed,
    Describe,
    FetchCheckpoint,
    Grant,
    Metrics,
    Resume,
    Resumed,
    Spaces,
    Stored,
    WeightsMessage,
)
from tmrld.relay import hub
from tmrld.storage.records import Record
from tmrld.storage.sample_log import Appended, SampleLog

# In, stored, acknowledged


def test_a_chunk_is_stored_then_acknowledged_and_passed_on_as_it_came(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await worker.say(chunk(0), chunk(1))
            numbers: list[int] = []
            while len(numbers) < 2:
                ack = await worker.hear(Ack)
                assert ack.incarnation == "w1"
                numbers += ack.numbers
            assert numbers == [0, 1]
            assert stage.relay.transitions(RUN) == 20
            trainer = await stage.trainer()
            first, second = await trainer.fed(2)
            assert [first.body, second.body] == encoded(chunk(0), chunk(1))
            assert (first.offset, first.next_offset) == (0, second.offset)

    asyncio.run(scene())


def test_a_chunk_is_never_acknowledged_nor_passed_on_before_it_is_stored(tmp_path: Path, held_log: type[HeldLog]) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            try:
                worker, trainer = await stage.worker(), await stage.trainer()
                await worker.hear(Assign)
                await worker.say(chunk())
                await asyncio.to_thread(held_log.reached.wait)
                await stage.nothing_more(worker, trainer)
                assert worker.all_heard(Ack) == []
                assert trainer.all_heard(Stored) == []
            finally:
                held_log.released.set()
            assert (await worker.hear(Ack)).numbers == [0]
            assert (await trainer.fed(1))[0].body == encoded(chunk())[0]

    asyncio.run(scene())


def test_a_chunk_that_comes_twice_is_acknowledged_twice_and_stored_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer = await stage.worker(), await stage.trainer()
            for number in (0, 0, 1):
                await worker.say(chunk(number))
                assert (await worker.hear(Ack)).numbers == [number]
            assert [record.body for record in await trainer.fed(2)] == encoded(chunk(0), chunk(1))
            assert stage.relay.transitions(RUN) == 20

    asyncio.run(scene())


def test_a_worker_whose_store_was_wiped_loses_nothing_of_the_new_one(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            await trainer.say(Grant(RUN, 100))
            former = await stage.worker("w1")
            await former.say(chunk(0), chunk(1))
            assert await allowed(former, 100) == "w1"
            await former.hang_up()
            worker = await stage.connect("worker", "w1")
            await worker.say(Describe(RUN, "wiped", SPEC.to_plain()))
            assert await allowed(worker, 80) == "wiped"  # it begins to count anew, and the run goes on where it was
            anew = [chunk(n, incarnation="wiped", episode=f"anew {n}") for n in range(2)]
            await worker.say(*anew)
            acknowledged: list[int] = []
            while len(acknowledged) < 2:
                ack = await worker.hear(Ack)
                assert ack.incarnation == "wiped"
                acknowledged += ack.numbers
            assert stage.relay.transitions(RUN) == 40
            assert [record.body for record in await trainer.fed(4)] == encoded(chunk(0), chunk(1), *anew)

    asyncio.run(scene())


def test_after_a_restart_of_the_relay_a_chunk_is_still_known(tmp_path: Path) -> None:
    async def scene() -> None:
        for run in ("running", ""):
            async with on_stage(tmp_path, run) as stage:
                worker = await stage.worker()
                await worker.say(chunk(steps=7))
                await worker.hear(Ack)
                assert stage.relay.transitions(RUN) == 7

    asyncio.run(scene())


def test_evaluation_is_stored_and_passed_on_but_counts_as_no_training(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer = await stage.worker(), await stage.trainer()
            await worker.say(chunk(0, purpose="evaluation", summary=a_summary()), chunk(1))
            while stage.relay.transitions(RUN) == 0:
                await worker.hear(Ack)
            assert stage.relay.transitions(RUN) == 10
            assert len(await trainer.fed(2)) == 2

    asyncio.run(scene())


def test_a_chunk_that_is_known_ends_its_own_episode_and_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            await worker.say(chunk(0))  # as after a crash between the log and the list of episodes
            await worker.hear(Ack)
            for episode in ("made up", "w1-0", "made up, too"):
                await worker.say(chunk(0, episode=episode, summary=a_summary()))
                await worker.hear(Ack)
            await worker.say(chunk(1, summary=a_summary()), chunk(1, episode="at once", summary=a_summary()))
            for _ in range(2):
                if 1 in (await worker.hear(Ack)).numbers and stage.relay.unstored(RUN)[0] == 0:
                    break
            assert [episode.episode for episode in stage.store.episodes.page(RUN)] == ["w1-1", "w1-0"]

    asyncio.run(scene())


class FullLog(SampleLog):
    """A log on a disk that is full while ``full``."""

    full = True

    def append(self, records: Sequence[Record], *, durable: bool = True) -> list[Appended]:
        if self.full:
            raise DiskFull("Cannot write: the disk is full.")
        return super().append(records, durable=durable)


def test_on_a_full_disk_nothing_is_acknowledged_and_collection_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SampleLog", FullLog)
    monkeypatch.setattr(hub, "RETRY_FULL_DISK_S", 0.0)
    monkeypatch.setattr(FullLog, "full", True)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem") as events:
            worker = await stage.worker()
            await worker.hear(Assign)
            await worker.say(chunk(0), chunk(1))
            problem = await events.hear()
            assert problem.data["detail"] == (
                trouble := "samples cannot be stored, collection waits: Cannot write: the disk is full."
            )
            await stage.nothing_more(worker)
            assert worker.all_heard(Ack) == []
            assert stage.relay.trouble(RUN) == trouble
            FullLog.full = False
            numbers: list[int] = []
            while len(numbers) < 2:
                numbers += (await worker.hear(Ack)).numbers
            assert numbers == [0, 1]
            assert stage.relay.trouble(RUN) == ""
            stage.feed.publish("problem", {"detail": "another one"}, RUN)
            assert (await events.hear()).data["detail"] == "another one"  # it was told once

    asyncio.run(scene())


def test_on_a_full_disk_a_trainer_waits_and_keeps_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "RETRY_FULL_DISK_S", 0.0)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem") as events:
            worker, trainer = await stage.worker(), await stage.trainer()
            for kind, add in (("weights", stage.store.weights.add), ("metrics", stage.store.metrics.add)):
                full = asyncio.Event()

                def add_when_there_is_room(*arguments: Any, full: asyncio.Event = full, add: Any = add) -> Any:
                    if not full.is_set():
                        raise DiskFull("Cannot write: the disk is full.")
                    return add(*arguments)

                monkeypatch.setattr(getattr(stage.store, kind), "add", add_when_there_is_room)
                await trainer.say(weights(1), Metrics(RUN, 0, 10, 20, {"loss": 1.0}))
                detail = (await events.hear()).data["detail"]
                assert detail == "what its trainer sends cannot be stored, training waits: Cannot write: the disk is full."
                assert stage.relay.trouble(RUN) == detail
                full.set()
                assert (await worker.hear(WeightsMessage)).version == 1
            await trainer.say(Grant(RUN, 5))
            await allowed(worker, 5)  # what the trainer says is heard in its order: all before that is stored
            assert stage.relay.trouble(RUN) == ""
            assert stage.store.metrics.names(RUN) == ["loss"]

    asyncio.run(scene())


def test_an_episode_that_cannot_be_entered_holds_up_the_acknowledgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RETRY_FULL_DISK_S", 0.0)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem", "episode") as events:
            add, tries = stage.store.episodes.add, iter([True, True, False])

            def full_at_first(*arguments: Any) -> int:
                if next(tries):
                    raise DiskFull("Cannot write: the disk is full.")
                return add(*arguments)

            monkeypatch.setattr(stage.store.episodes, "add", full_at_first)
            worker = await stage.worker()
            await worker.say(chunk(summary=a_summary()))
            assert (await worker.hear(Ack)).numbers == [0]
            assert [(await events.hear()).topic for _ in range(2)] == ["problem", "episode"]
            assert len(stage.store.episodes.page(RUN)) == 1

    asyncio.run(scene())


def test_an_episode_is_entered_and_told_once_however_often_its_chunk_comes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("episode") as events:
            worker = await stage.worker()
            last = chunk(0, summary=a_summary(10, lap_time_s=12.5))
            for sent in (last, last, chunk(1, summary=a_summary(20))):
                await worker.say(sent)
                await worker.hear(Ack)
            first, second = await events.hear(), await events.hear()
            assert (first.run, first.data["episode"], first.data["lap_time_s"]) == (RUN, "w1-0", 12.5)
            assert (second.data["episode"], second.data["steps"]) == ("w1-1", 20)
            assert len(stage.store.episodes.page(RUN)) == 2

    asyncio.run(scene())


# What costs a worker its link, and nobody else


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (chunk(summary={"steps": 1}), "summary"),
        (chunk(summary={**a_summary(), "trajectory": b"123"}), "summary.trajectory is b'123'"),
        (chunk(summary={**a_summary(), "actor": "ghost"}), "summary.actor is 'ghost'"),
        (chunk(episode="e" * 5000), "chunk 0 cannot be stored: The names in a record take"),
        (Describe(RUN, "i", {}), "describe.spec does not describe spaces: KeyError"),
        (Describe(RUN, "i", {**SPEC.to_plain(), "parts": [1]}), "describe.spec does not describe spaces: TypeError"),
        (Describe(RUN, "i", {**SPEC.to_plain(), "step_s": "soon"}), "describe.spec does not describe spaces: ValueError"),
    ],
)
def test_what_cannot_be_used_closes_the_link_of_its_sender_and_no_other(bad: Any, sentence: str, tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            sender = await stage.connect("worker", "w2")
            await sender.say(bad)
            trouble = await sender.ending()
            assert isinstance(trouble, ProtocolError)
            assert sentence in str(trouble)
            other = await stage.worker("w1")
            await other.say(chunk())
            assert (await other.hear(Ack)).numbers == [0]

    asyncio.run(scene())


def test_a_worker_with_other_spaces_is_refused_with_the_difference(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            first = await stage.worker("w1")
            await first.say(chunk())
            await first.hear(Ack)
            second = await stage.connect("worker", "w2")
            await second.say(Describe(RUN, "w2", {**SPEC.to_plain(), "action_size": 3}))
            trouble = await second.ending()
            assert isinstance(trouble, Refused)
            assert "the environment of w2 has other spaces than the run demo (action_size: 3 instead of 2)" in str(trouble)
            assert "give this worker the same version and environment as the others, or make a new run" in str(trouble)

    asyncio.run(scene())


# Allowances


async def allowed(worker: FakePeer, transitions: int) -> str:
    """Wait until a worker may have produced so many (what it is told before depends on who speaks first); which incarnation may."""
    while (allowance := await worker.hear(Allowance)).transitions != transitions:
        pass
    return allowance.incarnation


def test_allowances_are_absolute_numbers_of_what_was_granted(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, worker = await stage.trainer(), await stage.worker()
            assert await worker.hear(Allowance) == Allowance(RUN, "w1", 0)
            await trainer.say(Grant(RUN, 100))
            assert await worker.hear(Allowance) == Allowance(RUN, "w1", 100)
            await worker.say(chunk(steps=30))
            await worker.hear(Ack)
            await trainer.say(Grant(RUN, 150))
            assert await worker.hear(Allowance) == Allowance(RUN, "w1", 150)

    asyncio.run(scene())


def test_workers_share_what_is_left_and_together_may_collect_exactly_that(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            one, two = await stage.worker("one"), await stage.worker("two")
            await trainer.say(Grant(RUN, 101))
            await allowed(one, 51)
            await allowed(two, 50)
            await one.say(chunk(worker="one", steps=31))
            await allowed(one, 31 + 35)
            await allowed(two, 35)
            await two.hang_up()
            await allowed(one, 101)

    asyncio.run(scene())


def test_even_a_single_transition_is_given_to_somebody(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, one, two = await stage.trainer(), await stage.worker("one"), await stage.worker("two")
            await trainer.say(Grant(RUN, 1))
            await allowed(one, 1)
            await stage.nothing_more(two)
            assert {allowance.transitions for allowance in two.all_heard(Allowance)} <= {0}

    asyncio.run(scene())


def test_a_worker_that_has_collected_more_than_is_granted_now_is_not_asked_for_less(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, worker = await stage.trainer(), await stage.worker()
            await worker.say(chunk(steps=30))
            await allowed(worker, 30)
            await trainer.say(Grant(RUN, 10))
            await worker.say(chunk(1, steps=5))
            await allowed(worker, 35)
            assert sorted(told := [allowance.transitions for allowance in worker.all_heard(Allowance)]) == told

    asyncio.run(scene())


def test_a_worker_that_has_not_described_itself_has_no_allowance_and_takes_none_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, silent, worker = await stage.trainer(), await stage.connect("worker", "silent"), await stage.worker()
            await silent.hear(Assign)
            await trainer.say(Grant(RUN, 100))
            await allowed(worker, 100)
            await stage.nothing_more(silent)
            assert silent.all_heard(Allowance) == []

    asyncio.run(scene())


def test_many_workers_are_told_what_they_may_collect_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.relay.hub.SHARE_S", 30.0)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, worker = await stage.trainer(), await stage.worker()
            for granted in (100, 110, 120):
                await trainer.say(Grant(RUN, granted))
            await stage.nothing_more(trainer, worker)
            assert worker.all_heard(Allowance) == []  # those before it described itself went out a moment ago

    asyncio.run(scene())


# Feeding the trainer


def test_a_trainer_is_fed_within_its_credit_only(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            for number in range(5):
                await worker.say(chunk(number))
                await worker.hear(Ack)
            measuring = await stage.trainer("measuring")
            record_bytes = (await measuring.fed(1))[0].next_offset
            await measuring.hang_up()

            trainer = await stage.trainer("t1", credit_bytes=2 * record_bytes)
            got = await trainer.fed(2)
            await stage.nothing_more(trainer)
            assert len(trainer.all_fed) == 2
            await trainer.say(Consumed(RUN, got[0].next_offset))
            got += await trainer.fed(1)
            await stage.nothing_more(trainer)
            assert len(trainer.all_fed) == 3
            await trainer.say(Consumed(RUN, got[2].next_offset))
            got += await trainer.fed(2)
            assert [record.body for record in got] == encoded(*(chunk(number) for number in range(5)))

    asyncio.run(scene())


def test_a_trainer_whose_line_broke_goes_on_where_it_was(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer = await stage.worker(), await stage.trainer()
            for number in range(3):
                await worker.say(chunk(number))
            (first,) = await trainer.fed(1)
            await trainer.hang_up()
            again = await stage.connect("trainer", "t1")
            await again.hear(Assign)
            await again.say(Consume(RUN, first.next_offset, 2**20))
            assert [record.body for record in await again.fed(2)] == encoded(chunk(1), chunk(2))

    asyncio.run(scene())


def test_a_resume_from_an_older_update_opens_a_lineage(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer = await stage.trainer()
            assert trainer.all_heard(Resumed) == [Resumed(RUN, 0, 0)]
            async with stage.listening("weights") as events:
                await trainer.say(weights(1))
                await events.hear(version=1)
            await trainer.say(Resume(RUN, 5, 0, 2**20))
            assert await trainer.hear(Resumed) == Resumed(RUN, 1, 1)

    asyncio.run(scene())


def test_a_trainer_is_told_the_spaces_whether_it_came_before_or_after_the_worker(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            before = await stage.trainer("before")
            await stage.worker()
            assert await before.hear(Spaces) == Spaces(RUN, SPEC.to_plain())
            await before.hang_up()
            after = await stage.connect("trainer", "after")
            assert (await after.hear(Spaces)).spec == SPEC.to_plain()

    asyncio.run(scene())


# What trainers publish


def test_new_weights_reach_every_worker_and_a_late_joiner_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            trainer, worker = await stage.trainer(), await stage.worker("w1")
            await worker.hear(Assign)
            await trainer.say(weights(1))
            assert await worker.hear(WeightsMessage) == weights(1)
            late = await stage.connect("worker", "late")
            assert await late.hear(WeightsMessage) == weights(1)
            assert [type(message) for message in late.heard] == [Assign, WeightsMessage]

    asyncio.run(scene())


def test_a_restarted_relay_still_has_the_newest_weights_and_asks_for_no_evaluation_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("weights") as events:
            trainer = await stage.trainer()
            await trainer.say(weights(1), weights(2, evaluate=3))
            await events.hear(version=2)
        async with on_stage(tmp_path, "") as stage:
            worker = await stage.worker()
            assert await worker.hear(WeightsMessage) == weights(2)

    asyncio.run(scene())


def test_a_slow_worker_gets_the_newest_weights_not_all_of_them(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("weights") as events:
            trainer, worker = await stage.trainer(), await stage.connect("worker", "slow", limit=1)
            for version in range(1, 11):
                await trainer.say(weights(version, evaluate=3 if version == 9 else 0))
                await events.hear(version=version)
            got = [await worker.hear(WeightsMessage)]
            while got[-1].version < 10:
                got.append(await worker.hear(WeightsMessage))
            assert len(got) <= 3  # one in the line, one half-way, the newest
            assert got[-1] == weights(10, evaluate=3)

    asyncio.run(scene())


def test_checkpoints_are_kept_and_handed_to_whoever_takes_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("checkpoint") as events:
            trainer = await stage.trainer()
            checkpoint = CheckpointMessage(RUN, 40, 0, 300, 100, b"tensors")
            await trainer.say(checkpoint)
            await events.hear(update=40)
            await trainer.hang_up()
            heir = await stage.connect("trainer", "heir")
            assert (await heir.hear(Assign)).checkpoint_update == 40
            await heir.say(FetchCheckpoint(RUN, 40))
            assert await heir.hear(CheckpointMessage) == checkpoint

    asyncio.run(scene())


def test_metrics_are_stored_and_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("metrics") as events:
            trainer = await stage.trainer()
            await trainer.say(Metrics(RUN, 0, 100, 1000, {"loss": 0.5, "speed": 3}))
            event = await events.hear(update=100)
            assert event.data == {"update": 100, "transitions": 1000, "lineage": 0, "values": {"loss": 0.5, "speed": 3.0}}
            assert stage.store.metrics.read(RUN, ["loss"])["loss"].values.tolist() == [0.5]

    asyncio.run(scene())


class DamagedTail(SampleLog):
    """A log of which the newest record cannot be read."""

    def read(self, offset: int, max_bytes: int) -> list[Any]:
        return [record for record in super().read(offset, max_bytes) if b"w1 1" not in record.body]


def test_a_record_that_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SampleLog", DamagedTail)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.worker()
            for number in range(3):
                await worker.say(chunk(number))
                await worker.hear(Ack)
            trainer = await stage.trainer()
            assert [record.body for record in await trainer.fed(2)] == encoded(chunk(0), chunk(2))

    asyncio.run(scene())


def test_a_trainer_that_keeps_up_is_fed_without_reading_the_disk_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SampleLog", DamagedTail)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker, trainer = await stage.worker(), await stage.trainer()
            for number in range(3):
                await worker.say(chunk(number))
                assert [record.body for record in await trainer.fed(1)] == encoded(chunk(number))

    asyncio.run(scene())


def test_a_log_that_cannot_be_read_costs_the_trainer_its_link_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreadable(SampleLog):
        def read(self, offset: int, max_bytes: int) -> list[Any]:
            raise DiskFull("The disk is gone.")

    monkeypatch.setattr(hub, "SampleLog", Unreadable)

    async def scene() -> None:
        async with on_stage(tmp_path) as stage, stage.listening("problem") as events:
            worker = await stage.worker()
            await worker.say(chunk())
            await worker.hear(Ack)
            trainer = await stage.trainer()
            assert await trainer.ending() is None
            assert (await events.hear()).data["detail"] == "the sample log cannot be read: The disk is gone."

    asyncio.run(scene())


@pytest.mark.parametrize("shape", [[2**40, 2**40], [-3, -3], [0]])
def test_spaces_that_no_chunk_could_hold_are_refused(tmp_path: Path, shape: list[int]) -> None:
    spec = SPEC.to_plain()
    spec["parts"] = [{**spec["parts"][0], "shape": shape}]

    async def scene() -> None:
        async with on_stage(tmp_path) as stage:
            worker = await stage.connect("worker", "w1")
            await worker.say(Describe(RUN, "w1", spec))
            error = await worker.ending()
            assert isinstance(error, ProtocolError)
            assert "no chunk could hold one" in str(error)
            assert stage.store.get(RUN).spec is None

    asyncio.run(scene())
