"""The doctor of a worker's machine: asked for by the relay, by people at the API, and in front of the game."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import robot
from tests.support.cluster import LEDGER_RUN, Cluster, await_that
from tests.support.linked import linked
from tests.support.standin import standing_in
from tmrld.cli import main
from tmrld.client import Client
from tmrld.configuration import run_config
from tmrld.doctor import apart
from tmrld.doctor.apart import examined
from tmrld.envs.sim.tracks import SHORT
from tmrld.errors import NotFound
from tmrld.events import Feed
from tmrld.protocol.messages import Assign, Command, Result
from tmrld.settings import Settings
from tmrld.storage.layout import Layout
from tmrld.storage.sample_log import SampleLog
from tmrld.trainer.trainer import TrainerRole
from tmrld.worker.outbox import Outbox
from tmrld.worker.worker import Doctor, WorkerRole

SCENE_S = 60.0
OF_A_BUSY_MACHINE = {"late-steps", "capture-too-slow"}


def worker(folder: Path, doctor: Doctor | None) -> WorkerRole:
    return WorkerRole("w", Outbox(SampleLog(folder / "spool"), 2**20), Feed(), files=folder / "files", doctor=doctor)


def robots_world(folder: Path, game: str) -> dict[str, Any]:
    environment = {
        "id": robot.ID,
        "kwargs": {"diary": str(folder / "diary")},
        "clock": "realtime",
        "max_steps": 100_000,
        "game": game,
    }
    return run_config({"environment": environment}).model_dump(mode="json")


class Looking:
    """A doctor who looks until he is let."""

    def __init__(self) -> None:
        self.worlds: list[dict[str, Any]] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, environment: dict[str, Any]) -> dict[str, Any]:
        self.worlds.append(environment)
        self.begun.set()
        await self.may_end.wait()
        return {"diagnoses": [], "picture": b"jpeg"}


async def until(diary: Path, last: str) -> None:
    await asyncio.to_thread(robot.await_diary, diary, lambda done: done[-1:] == [last])


# The worker


@pytest.mark.parametrize("game", ["trackmania", "sim"])
def test_a_worker_lets_go_of_the_game_while_it_is_looked_at(tmp_path: Path, game: str) -> None:
    """With the simulator it drives on."""
    diary = tmp_path / "diary"

    async def scene() -> None:
        looking = Looking()
        role = worker(tmp_path, looking)
        try:
            async with linked(role, "worker", "w") as relay:
                await relay.say(Assign("demo", robots_world(tmp_path, game), 1, "running"))
                await until(diary, "control")
                await relay.say(Command(7, "doctor"))
                await looking.begun.wait()
                if game == "trackmania":
                    assert robot.diary(diary)[-1] == "close"
                    await relay.say(Assign("demo", robots_world(tmp_path, game), 2, "running"))  # no reason to begin
                await relay.say(Command(8, "doctor"))
                assert await relay.hear(Result) == Result(8, "it is being looked at already")
                driven = robot.diary(diary)
                if game == "trackmania":
                    assert driven[-1] == "close"
                else:
                    assert "close" not in driven
                looking.may_end.set()
                assert await relay.hear(Result) == Result(7, value={"diagnoses": [], "picture": b"jpeg"})
                await until(diary, "control")
                assert [world["game"] for world in looking.worlds] == [game]
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_worker_that_ends_does_not_wait_for_the_doctor(tmp_path: Path) -> None:
    async def scene() -> None:
        looking = Looking()
        role = worker(tmp_path, looking)
        async with linked(role, "worker", "w") as relay:
            await relay.say(Command(7, "doctor"))
            await looking.begun.wait()
            assert looking.worlds == [{}]  # there is no run
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


def test_a_trainer_has_its_machine_examined_beside_its_work(tmp_path: Path) -> None:
    async def scene() -> None:
        looking = Looking()
        role = TrainerRole(Layout(tmp_path), "cpu", Feed(), looking)
        try:
            async with linked(role, "trainer", "t") as relay:
                await relay.say(Command(7, "doctor"), Command(8, "doctor"))
                assert await relay.hear(Result) == Result(8, "it is being looked at already")
                looking.may_end.set()
                assert await relay.hear(Result) == Result(7, value={"diagnoses": [], "picture": b"jpeg"})
                assert looking.worlds == [{}]
                looking.may_end.clear()
                await relay.say(Command(9, "doctor"))
                await looking.begun.wait()
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), SCENE_S))


# The process apart


def test_an_examination_that_hangs_or_fails_is_a_diagnosis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"data": str(tmp_path), "roles": ["worker"]})
    late = asyncio.run(examined(settings, {}, longest_s=0.2))
    assert [each["code"] for each in late["diagnoses"]] == ["examination-failed"]
    assert "ended after 0.2 s" in late["diagnoses"][0]["text"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    assert "no process could be started" in asyncio.run(examined(settings, {}))["diagnoses"][0]["text"]
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "its process ended with" in asyncio.run(examined(settings, {}))["diagnoses"][0]["text"]


# All of it


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_people_have_a_machine_examined_from_the_relay(tmp_path: Path) -> None:
    with Cluster(tmp_path, LEDGER_RUN) as cluster:
        relay = cluster.start_relay()
        url, folder = relay.said("control"), cluster.data("relay")
        client = Client(url, (folder / "control.token").read_text().strip())
        cluster.start("worker", "w")
        await_that(lambda: [node for node in client.get("nodes")["items"] if node["name"] == "w"], "the worker is linked")

        def do(*arguments: str) -> tuple[int, str, str]:
            with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
                status = main(["node", "doctor", "w", *arguments, "--api", url, "--data", str(folder)])
            return status, out.getvalue(), err.getvalue()

        with pytest.raises(NotFound, match="was not examined"):
            client.get("nodes", "w", "doctor")
        status, out, err = do("--json")
        found = json.loads(out)
        assert status == (found["state"] == "wrong"), err
        looks = {(each["area"], each["check"]): each for each in found["diagnoses"]}
        assert "its daemon is linked, for the run demo" in looks["network", "relay"]["text"]
        assert looks["disk", "data folder"]["state"] == "ok"  # its own daemon uses it
        assert cluster.token("worker", "w") not in out
        assert client.get("nodes", "w", "doctor") == found
        status, out, _ = do("--newest")
        assert "  ok    data folder: " in out
        assert re.match(r"nothing is wrong \(|\d+ wrong, ", out.splitlines()[-1])


@pytest.fixture
def game(display: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SDL_VIDEO_WINDOW_POS", "0,0")
    with standing_in("--track", "short", "--countdown", "0.2") as game:
        yield game


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_game_is_looked_at_kept_and_judged_again(game: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", SHORT.line)
    chosen = {
        "roles": '["worker"]',
        "run.environment.track": tmp_path / "line.npy",
        "run.environment.trackmania.telemetry_port": game.ready["telemetry_port"],
        "run.environment.trackmania.controls": "keyboard",
        "peers.token": "tmrld_worker_c2VjcmV0",
    }
    flags = [flag for name, value in chosen.items() for flag in ("--set", f"{name}={value}")]
    seen, picture = tmp_path / "seen", tmp_path / "seen.jpg"
    command = [sys.executable, "-m", "tmrld", "doctor"]
    look = [*command, "--game", "trackmania", "--data", str(tmp_path / "data"), "--seconds", "3", *flags]
    done = subprocess.run(
        [*look, "--record", str(seen), "--jpeg", str(picture), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = json.loads(done.stdout)
    wrong = {each["code"] for each in found["diagnoses"] if each["state"] == "wrong"}
    assert wrong - OF_A_BUSY_MACHINE == {"no-trust"}, done.stdout  # the one thing that was left out
    assert done.returncode == 1
    with Image.open(picture) as shown:
        assert shown.size == (958, 488)
    assert picture.stat().st_size <= apart.MOST_PICTURE_BYTES
    again = subprocess.run(
        [*command, "--replay", str(seen), "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (again.returncode, again.stdout) == (1, done.stdout)
    assert seen.stat().st_size < 20e6
    data = seen.read_bytes()
    assert b"c2VjcmV0" not in data


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_s_daemon_sees_the_game_and_sends_the_picture(game: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", SHORT.line)
    environment = {
        "game": "trackmania",
        "clock": "realtime",
        "track": str(tmp_path / "line.npy"),
        "trackmania": {"telemetry_port": game.ready["telemetry_port"], "controls": "keyboard"},
    }
    settings = Settings.model_validate({"data": str(tmp_path / "data"), "roles": ["worker"]})
    report = asyncio.run(examined(settings, environment))
    assert "plugin" in {each["area"] for each in report["diagnoses"]}
    assert "examination-failed" not in {each["code"] for each in report["diagnoses"]}
    assert len(report["picture"]) <= apart.MOST_PICTURE_BYTES
    with Image.open(io.BytesIO(report["picture"])) as shown:
        assert shown.format == "JPEG"
