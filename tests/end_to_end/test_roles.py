"""A worker's and a trainer's daemon side with real engines: the test is their relay, on a link in memory."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.protocol.examples import a_chunk
from tests.support import robot
from tests.support.cluster import LEDGER_RUN
from tests.support.ledger_env import LedgerEnv
from tests.support.linked import Relay, linked
from tmrld.configuration import run_config
from tmrld.engines.entry import FAILED
from tmrld.errors import StorageError
from tmrld.events import Feed
from tmrld.fetching import FetchedFiles
from tmrld.protocol.codec import seal_chunk
from tmrld.protocol.messages import (
    Allowance,
    Assign,
    ChunkMessage,
    Command,
    Describe,
    FetchFile,
    FileMessage,
    Grant,
    LogLines,
    Message,
    Result,
    Spaces,
    Status,
)
from tmrld.storage.files import sha256
from tmrld.storage.layout import Layout
from tmrld.storage.sample_log import SampleLog
from tmrld.trainer.trainer import TrainerRole
from tmrld.worker.outbox import Outbox
from tmrld.worker.worker import WorkerRole

SCENE_S = 60.0
M = TypeVar("M", bound=Message)


def config(folder: Path) -> dict[str, Any]:
    environment = {**LEDGER_RUN["environment"], "kwargs": {"folder": str(folder)}}
    return run_config({**LEDGER_RUN, "environment": environment}).model_dump(mode="json")


def test_a_worker_that_changes_runs_may_collect_all_that_the_new_one_allows(tmp_path: Path) -> None:
    async def collect(relay: Relay, run: str, transitions: int) -> None:
        await relay.say(Assign(run, config(tmp_path), 1, "running"))
        described = await relay.hear(Describe)
        await relay.say(Allowance(run, described.incarnation, transitions))
        collected = 0
        while collected < transitions:
            chunk = await relay.hear(ChunkMessage)
            assert chunk.run == run
            collected += chunk.steps
        assert collected == transitions

    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files")
        try:
            async with linked(role, "worker", "w") as relay:
                await collect(relay, "first", 50)
                await collect(relay, "second", 30)
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_worker_with_several_cars_sends_what_is_allowed_under_one_numbering(tmp_path: Path) -> None:
    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files", environments=5)
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", config(tmp_path), 1, "running"))
                described = await relay.hear(Describe)
                chunks: list[ChunkMessage] = []
                for allowed in (33, 150):  # the first is no multiple of five
                    await relay.say(Allowance("demo", described.incarnation, allowed))
                    while sum(chunk.steps for chunk in chunks) < allowed:
                        chunks.append(await relay.hear(ChunkMessage))
                    assert sum(chunk.steps for chunk in chunks) == allowed
                assert sorted((chunk.incarnation, chunk.number) for chunk in chunks) == [
                    (described.incarnation, number) for number in range(len(chunks))
                ]
                episodes: dict[str, int] = {}
                for chunk in chunks:
                    assert chunk.first_step == episodes.get(chunk.episode, 0)
                    episodes[chunk.episode] = chunk.first_step + chunk.steps
                assert len(episodes) >= 5
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_run_that_was_made_anew_while_the_worker_was_down_gets_nothing_that_was_driven_for_the_one_before(
    tmp_path: Path,
) -> None:
    def an_outbox() -> Outbox:
        return Outbox(SampleLog(tmp_path / "spool"), 0, tmp_path / "spool" / "made")

    async def sent_of(waiting: int, created: float) -> list[str]:
        """The episodes of what a new process sends to a relay whose run was made then, with one chunk that is driven for it."""
        outbox = an_outbox()
        assert len(outbox) == waiting
        role = WorkerRole("w", outbox, Feed(), files=tmp_path / "files")
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign(a_chunk().run, {}, 1, "stopped", created=created))
                await relay.say(Command(7, "restart"))
                heard = [await relay.hear_any()]
                while not any(isinstance(message, Result) for message in heard):
                    heard.append(await relay.hear_any())
                await role._from_engine(replace(seal_chunk(a_chunk()), episode="now"))  # it knows of the run by now
                while True:
                    sent = [message.episode for message in heard if isinstance(message, ChunkMessage)]
                    if "now" in sent:
                        return sent
                    heard.append(await relay.hear_any())
        finally:
            await role.close()

    with closing(an_outbox()) as before:
        before.belongs(a_chunk().run, 1.0)
        before.put(replace(seal_chunk(a_chunk()), episode="before"))
    assert asyncio.run(asyncio.wait_for(sent_of(1, 1.0), SCENE_S)) == ["before", "now"]
    assert asyncio.run(asyncio.wait_for(sent_of(2, 2.0), SCENE_S)) == ["now"]


def test_a_run_that_was_made_anew_while_the_line_was_down_hears_of_its_own_world_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files")
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", config(tmp_path), 1, "running", created=1.0))
                await relay.hear(Describe)
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", config(tmp_path), 1, "running", created=2.0))
                described = await relay.hear(Describe)
                await relay.say(Allowance("demo", described.incarnation, 50))
                while not isinstance(message := await relay.hear_any(), ChunkMessage):
                    assert not isinstance(message, Describe), "the world of the run before was told, too"
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_what_happens_now_is_told_while_a_long_backlog_is_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        outbox = Outbox(SampleLog(tmp_path / "spool"), 0)
        for number in range(500):
            outbox.put(replace(seal_chunk(a_chunk()), episode=f"before {number // 10}"))
        role = WorkerRole("w", outbox, Feed(), files=tmp_path / "files")
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("", {}, 0, "stopped"))
                await relay.hear(ChunkMessage)
                outbox.put(replace(seal_chunk(a_chunk()), episode="now"))
                role.tell_lines(LogLines("daemon", [["INFO", "now"]]))
                heard: list[Message] = []
                while not any(isinstance(message, LogLines) for message in heard):
                    heard.append(await relay.hear_any())
                assert len(heard) < 50  # what was on the line, and little more
                while not any(isinstance(message, ChunkMessage) and message.episode == "now" for message in heard):
                    heard.append(await relay.hear_any())
                assert len(heard) < 50
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_worker_with_several_cars_says_why_it_cannot_drive_in_real_time(tmp_path: Path) -> None:
    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files", environments=2)
        plain = config(tmp_path)
        plain["environment"]["clock"] = "realtime"
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", plain, 1, "running"))
                status = await relay.hear(Status)
                assert status.state == FAILED
                assert "worker.environments is 2 on this machine" in status.detail
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_trainer_repeats_its_grant_on_a_new_link_though_it_still_waits_for_a_worker(tmp_path: Path) -> None:
    async def scene() -> None:
        role = TrainerRole(Layout(tmp_path), "cpu", Feed())
        assign = Assign("demo", config(tmp_path), 1, "running")
        try:
            async with linked(role, "trainer", "t") as relay:
                await relay.say(assign)
                granted = await relay.hear(Grant)
            async with linked(role, "trainer", "t") as relay:
                assert await relay.hear(Grant) == granted
                await relay.say(assign, Spaces("demo", LedgerEnv.tmrld_spec.to_plain()))
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_trainer_that_another_has_taken_over_from_says_why_and_stops_computing(tmp_path: Path) -> None:
    reason = "t2 has taken over the run demo"

    async def scene() -> None:
        feed = Feed()
        role = TrainerRole(Layout(tmp_path), "cpu", feed)
        try:
            with feed.subscribe(("engine", "problem")) as events:
                async with linked(role, "trainer", "t") as relay:
                    await relay.say(Assign("demo", config(tmp_path), 1, "running"))
                    await relay.hear(Grant)
                    await relay.say(Assign("", {}, 0, "stopped", reason=reason))
                    while ((status := await relay.hear(Status)).state, status.detail) != ("waiting", reason):
                        pass
                    told: list[tuple[str, Any]] = []
                    while ("engine", "stopped") not in told:
                        event = await events.get()
                        told.append((event.topic, event.data.get("kind", event.data["detail"])))
                    assert ("problem", reason) in told
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


FILES = [["tracks", "monza", sha256(b"points"), 6], ["weights", "expert", sha256(b"tensors"), 7]]
CONTENT = {"monza": b"points", "expert": b"tensors"}


async def hand_out(relay: Relay) -> str:
    """Answer the next question for a file; returns its name."""
    wanted = await relay.hear(FetchFile)
    assert [wanted.kind, wanted.name, wanted.sha256] in [file[:3] for file in FILES]
    await relay.say(FileMessage(wanted.kind, wanted.name, wanted.sha256, CONTENT[wanted.name]))
    return wanted.name


def test_a_worker_starts_its_engine_when_it_has_the_files_and_asks_for_each_once(tmp_path: Path) -> None:
    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files")
        assign = Assign("demo", config(tmp_path), 1, "running", files=FILES)
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(assign)
                wanted = await relay.hear(FetchFile)
            async with linked(role, "worker", "w") as relay:  # the line broke: it asks again
                await relay.say(assign)
                assert await relay.hear(FetchFile) == wanted
                await relay.say(FileMessage(wanted.kind, wanted.name, "", b""))  # it cannot be had now
                await relay.say(assign)
                assert [await hand_out(relay), await hand_out(relay)] == ["monza", "expert"]
                await relay.hear(Describe)
                await relay.say(replace(assign, files=FILES[:1]))  # another engine, and nothing is missing
                await relay.hear(Describe)
                assert {path.name for path in (tmp_path / "files").glob("*/*/*")} == {"monza.npy"}
                await relay.say(assign)
                assert await hand_out(relay) == "expert"
                await relay.hear(Describe)
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_worker_that_cannot_keep_a_file_says_so_and_asks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.fetching.RETRY_DISK_S", 0.01)
    (tmp_path / "files").write_bytes(b"")  # where a folder should be

    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files")
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", config(tmp_path), 1, "running", files=FILES[:1]))
                await hand_out(relay)
                while (status := await relay.hear(Status)).state != "problem":
                    pass
                assert "driving waits for room for a file" in status.detail
                (tmp_path / "files").unlink()
                await hand_out(relay)
                await relay.hear(Describe)
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


ROLES: dict[str, Callable[[Path], WorkerRole | TrainerRole]] = {
    "worker": lambda folder: WorkerRole(
        "n", Outbox(SampleLog(folder / "spool"), 2**20), Feed(), files=folder / "worker" / "files"
    ),
    "trainer": lambda folder: TrainerRole(Layout(folder), "cpu", Feed()),
}


@pytest.mark.parametrize("kind", ROLES)
def test_a_file_that_was_not_handed_out_because_the_run_was_stopped_is_asked_for_again(tmp_path: Path, kind: str) -> None:
    async def scene() -> None:
        role = ROLES[kind](tmp_path)
        assign = Assign("demo", config(tmp_path), 1, "running", files=FILES[:1])
        try:
            async with linked(role, kind, "n") as relay:
                await relay.say(assign)
                wanted = await relay.hear(FetchFile)
                await relay.say(Assign("", {}, 0, "stopped"), assign)  # the relay answers no question of a run before
                assert await relay.hear(FetchFile) == wanted
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


class CountedEngine:
    """Stands in for an engine: only that it was made counts."""

    made = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        type(self).made += 1

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def send(self, message: Message) -> None:
        """Nobody hears it."""


@pytest.mark.parametrize("kind", ROLES)
def test_a_role_that_is_about_to_start_its_engine_twice_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """When it looks again for a file that there was no room for, while the relay tells it anew what to do."""
    monkeypatch.setattr(f"tmrld.{kind}.{kind}.Engine", CountedEngine)
    monkeypatch.setattr("tmrld.fetching.RETRY_DISK_S", 0.0)
    monkeypatch.setattr(CountedEngine, "made", 0)
    both, looked = threading.Barrier(2), itertools.count()

    def missing(*_: Any) -> None:
        if next(looked) == 0:
            raise StorageError("there is no room")

    monkeypatch.setattr(FetchedFiles, "missing", missing)
    monkeypatch.setattr(FetchedFiles, "keep_only", lambda *_: both.wait(SCENE_S))

    async def scene() -> None:
        role = ROLES[kind](tmp_path)
        assign = Assign("demo", config(tmp_path), 1, "running", files=FILES[:1])
        try:
            async with linked(role, kind, "n") as relay:
                await relay.say(assign, assign, Command(1, "start"))
                await relay.hear(Result)
                for task in asyncio.all_tasks():
                    if getattr(task.get_coro(), "__name__", "") == "_start_when_equipped":
                        await task
                assert CountedEngine.made == 1
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_trainer_starts_its_engine_when_it_has_the_files(tmp_path: Path) -> None:
    async def scene() -> None:
        role = TrainerRole(Layout(tmp_path), "cpu", Feed())
        assign = Assign("demo", config(tmp_path), 1, "running", files=FILES)
        try:
            async with linked(role, "trainer", "t") as relay:
                await relay.say(assign)
                assert await hand_out(relay) == "monza"
                wanted = await relay.hear(FetchFile)
            async with linked(role, "trainer", "t") as relay:
                await relay.say(assign)
                assert await relay.hear(FetchFile) == wanted
                await relay.say(FileMessage(wanted.kind, wanted.name, wanted.sha256, CONTENT[wanted.name]))
                await relay.hear(Grant)
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_worker_that_is_told_to_lets_go_of_the_controls_while_the_relay_is_lost(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    environment = {"id": robot.ID, "kwargs": {"diary": str(diary)}, "clock": "realtime", "max_steps": 100_000}
    plain = run_config({"environment": environment}).model_dump(mode="json")

    async def until(condition: Callable[[list[str]], bool]) -> None:
        await asyncio.to_thread(robot.await_diary, diary, condition)

    async def scene() -> None:
        role = WorkerRole(
            "w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files", on_relay_lost="pause"
        )
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", plain, 1, "running"))
                await until(lambda done: done.count("control") > 3)
                assert "release" not in robot.diary(diary)
            await until(lambda done: done[-1] == "release")
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", plain, 1, "running"))
                await until(lambda done: done[-1] == "control")
        finally:
            await role.close()
        assert robot.diary(diary)[-1] == "close"

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_worker_drives_on_while_the_relay_is_lost(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    environment = {"id": robot.ID, "kwargs": {"diary": str(diary)}, "clock": "realtime", "max_steps": 100_000}
    plain = run_config({"environment": environment}).model_dump(mode="json")

    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files")
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", plain, 1, "running"))
                await relay.hear(ChunkMessage)
            driven = robot.diary(diary).count("control")
            await asyncio.to_thread(robot.await_diary, diary, lambda done: done.count("control") > driven + 20)
            assert "release" not in robot.diary(diary)
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))
