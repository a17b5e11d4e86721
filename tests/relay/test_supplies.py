"""Files of the shelf: a run names them, its nodes are told of them and fetch them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.relay.stage import RUN, FakePeer, Stage, on_stage
from tmrld.errors import Conflict, NotFound
from tmrld.protocol.messages import Assign, FetchFile, FileMessage, Plain
from tmrld.storage.shelf import Shelf

CONFIG: Plain = {
    "environment": {"id": "tmrld/TM20Lidar-v0", "game": "trackmania", "track": "monza"},
    "collection": {"policy": "expert"},
    "training": {"start_from": "expert"},
    "replay": {"demonstrations": ["mine", "yours", "mine"]},
}
FILES = {
    ("tracks", "monza"): b"points",
    ("weights", "expert"): b"tensors",
    ("demonstrations", "mine"): b"laps",
    ("demonstrations", "yours"): b"other laps",
}


@contextlib.asynccontextmanager
async def supplied(folder: Path, *, without: tuple[str, str] | None = None) -> AsyncIterator[tuple[Stage, Shelf]]:
    """A relay with a run that needs all `FILES`, of which one may be missing."""
    async with on_stage(folder, "") as stage:
        shelf = Shelf(stage.layout.shelf)
        for (kind, name), data in FILES.items():
            if (kind, name) != without:
                shelf.put(kind, name, data)
        await stage.make_run(config=CONFIG)
        yield stage, shelf


async def fetch(peer: FakePeer, files: list[list[object]]) -> dict[str, bytes]:
    """Every file that an assignment names."""
    found = {}
    for kind, name, checksum, size in files:
        await peer.say(FetchFile(str(kind), str(name), str(checksum)))
        answer = await peer.hear(FileMessage)
        assert (answer.kind, answer.name, answer.sha256, len(answer.payload)) == (kind, name, checksum, size)
        found[f"{kind}/{name}"] = answer.payload
    return found


def test_each_role_is_told_what_it_needs_and_gets_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with supplied(tmp_path) as (stage, _):
            worker, trainer = await stage.connect("worker", "w1"), await stage.connect("trainer", "t1")
            found = await fetch(worker, (await worker.hear(Assign)).files)
            assert found == {"tracks/monza": b"points", "weights/expert": b"tensors"}
            found = await fetch(trainer, (await trainer.hear(Assign)).files)
            assert found == {
                "weights/expert": b"tensors",
                "demonstrations/mine": b"laps",
                "demonstrations/yours": b"other laps",
            }

    asyncio.run(scene())


def test_nobody_gets_what_he_was_not_told_to_fetch(tmp_path: Path) -> None:
    async def scene() -> None:
        async with supplied(tmp_path) as (stage, shelf):
            worker = await stage.connect("worker", "w1")
            files = (await worker.hear(Assign)).files
            secret = shelf.put("demonstrations", "secret", b"secret")
            await worker.say(FetchFile("demonstrations", "secret", secret.sha256))
            await worker.say(FetchFile("demonstrations", "mine", shelf.get("demonstrations", "mine").sha256))
            await worker.say(FetchFile("tracks", "../../relay/key", "5f" * 32))
            assert await fetch(worker, files)
            assert {answer.kind for answer in worker.all_heard(FileMessage)} == {"tracks", "weights"}

    asyncio.run(scene())


@pytest.mark.parametrize("without", list(FILES))
def test_a_run_waits_for_a_file_and_goes_on_when_it_comes(tmp_path: Path, without: tuple[str, str]) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage, stage.listening("problem") as problems:
            shelf = Shelf(stage.layout.shelf)
            for (kind, name), data in FILES.items():
                if (kind, name) != without:
                    shelf.put(kind, name, data)
            await stage.make_run(config=CONFIG)
            worker = await stage.connect("worker", "w1")
            assert (await worker.hear(Assign)).run == ""
            kind, name = without
            assert f"{name!r} on the shelf" in (await problems.hear()).data["detail"]
            shelf.put(kind, name, b"at last")
            stage.relay.shelf_changed()
            assert (await worker.hear(Assign)).run == RUN

    asyncio.run(scene())


def test_a_file_that_a_command_has_put_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmrld.relay.relay.SHELF_LOOK_S", 0.01)

    async def scene() -> None:
        async with supplied(tmp_path, without=("tracks", "monza")) as (stage, shelf):
            worker = await stage.connect("worker", "w1")
            assert (await worker.hear(Assign)).run == ""
            shelf.put("tracks", "monza", b"points")
            assert (await worker.hear(Assign)).run == RUN

    asyncio.run(scene())


def test_it_is_said_once_that_a_file_is_missing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with supplied(tmp_path, without=("tracks", "monza")) as (stage, _), stage.listening("problem", "node") as events:
            for name in ("w1", "w2"):
                await stage.connect("worker", name)
            await stage.relay.assign("w1", None)
            await events.hear(name="w2", state="connected")
            assert (await events.hear()).topic == "node"

    asyncio.run(scene())


def test_a_run_that_lacks_a_file_cannot_be_started_by_hand(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage:
            await stage.make_run(state="stopped", config=CONFIG)
            with pytest.raises(Conflict, match="the run demo cannot start: there is no track 'monza' on the shelf"):
                await stage.relay.move(RUN, "start")
            assert stage.store.get(RUN).state == "stopped"

    asyncio.run(scene())


def test_a_queued_run_that_lacks_a_file_leaves_the_trainer_to_the_next(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage:
            await stage.make_run("first", "queued", CONFIG)
            await stage.make_run("second", "queued")
            trainer = await stage.connect("trainer", "t1")
            while (await trainer.hear(Assign)).run != "second":
                pass

    asyncio.run(scene())


def test_another_file_of_the_same_name_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with supplied(tmp_path) as (stage, shelf):
            worker = await stage.connect("worker", "w1")
            before = (await worker.hear(Assign)).files
            shelf.put("tracks", "monza", b"better points", replace=True)
            await worker.say(FetchFile("tracks", "monza", str(before[0][2])))  # which is gone
            after = (await worker.hear(Assign)).files
            assert (await fetch(worker, after))["tracks/monza"] == b"better points"

    asyncio.run(scene())


def test_a_file_that_was_damaged_is_told_again_when_it_is_whole(tmp_path: Path) -> None:
    async def scene() -> None:
        async with supplied(tmp_path) as (stage, shelf), stage.listening("problem") as problems:
            worker = await stage.connect("worker", "w1")
            told = await worker.hear(Assign)
            (path,) = (stage.layout.shelf / "tracks" / "monza").glob("*.npy")
            path.write_bytes(b"paints")
            await worker.say(FetchFile("tracks", "monza", str(told.files[0][2])))
            assert (await worker.hear(FileMessage)).sha256 == ""
            assert "does not match its checksum" in (await problems.hear()).data["detail"]
            shelf.put("tracks", "monza", b"points")
            stage.relay.shelf_changed()
            assert await worker.hear(Assign) == told
            assert (await fetch(worker, told.files))["tracks/monza"] == b"points"

    asyncio.run(scene())


def test_weights_to_start_from_are_needed_until_there_is_a_checkpoint(tmp_path: Path) -> None:
    async def scene() -> None:
        async with supplied(tmp_path) as (stage, shelf):
            shelf.delete("weights", "expert")
            await stage.relay.change_config(RUN, {**CONFIG, "collection": {}}, 1, "test")
            trainer = await stage.connect("trainer", "t1")
            assert (await trainer.hear(Assign)).run == ""
            stage.store.checkpoints.add(RUN, 10, 0, 0, 0, b"state", 1000.0)
            stage.relay.shelf_changed()
            kinds = {file[0] for file in (await trainer.hear(Assign)).files}
            assert kinds == {"demonstrations"}

    asyncio.run(scene())


def test_a_run_that_does_not_exist_cannot_be_started(tmp_path: Path) -> None:
    async def scene() -> None:
        async with on_stage(tmp_path, "") as stage:
            with pytest.raises(NotFound):
                await stage.relay.move("nothing", "start")

    asyncio.run(scene())
