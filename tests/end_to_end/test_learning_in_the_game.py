"""The game's boundary end to end, with the stand-in for the game: real windows, keys, gamepads, telemetry, processes.

The programs here are those that people use: `tmrld sim` in place of the game, `tmrld env run` and `tmrld up` as for the game.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import uinput
from tests.support.linked import linked
from tests.support.standin import standing_in
from tmrld.configuration import run_config
from tmrld.envs.options import LIDAR_ID
from tmrld.events import Feed
from tmrld.protocol.messages import Assign, ChunkMessage, Status
from tmrld.storage.sample_log import SampleLog
from tmrld.worker.outbox import Outbox
from tmrld.worker.worker import WorkerRole

SPEED = 3
"""The stand-in runs three times as fast as the game would: a time step is a third as long."""


def line_of(track: str, folder: Path) -> Path:
    """The reward line of a track of the simulator, as a player would have recorded it."""
    path = folder / "line.npy"
    tmrld("track", "show", track, "--line", str(path))
    return path


def tmrld(*arguments: str, limit_s: float = 120.0, variables: dict[str, str] | None = None) -> str:
    """What the program prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tmrld", *arguments],
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={**os.environ, **(variables or {})},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings(line: Path, telemetry_port: int, **more: Any) -> list[str]:
    """Flags that have the game driven."""
    chosen = {
        "game": "trackmania",
        "clock": "realtime",
        "track": str(line),
        "trackmania.telemetry_port": telemetry_port,
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return [flag for name, value in chosen.items() for flag in ("--set", f"run.environment.{name}={value}")]


@pytest.mark.slow
def test_a_lap_is_driven_by_screen_telemetry_and_keys(display: str, tmp_path: Path) -> None:
    line = line_of("short", tmp_path)
    with standing_in("--track", "short") as standin:
        flags = settings(line, standin.ready["telemetry_port"], trackmania__controls="keyboard")
        output = tmrld("env", "run", LIDAR_ID, "--policy", "scripted", "--episodes", "2", "--json", *flags)
    result = json.loads(output.splitlines()[-1])

    assert result["finished"] == 2
    assert all(10.0 < lap < 40.0 for lap in result["lap_times_s"])


@pytest.mark.slow
def test_a_lap_is_driven_with_a_gamepad(display: str, tmp_path: Path, uinput_library: Path) -> None:
    """vgamepad makes the pad; its events are all that the stand-in hears of it."""
    line, events = line_of("short", tmp_path), tmp_path / "pad"
    os.mkfifo(events)
    with standing_in("--track", "short", "--gamepad", str(events)) as standin:
        flags = settings(line, standin.ready["telemetry_port"])
        shim = uinput.environment(uinput_library, events)
        output = tmrld("env", "run", LIDAR_ID, "--policy", "scripted", "--episodes", "1", "--json", *flags, variables=shim)
    assert json.loads(output.splitlines()[-1])["finished"] == 1


@pytest.mark.slow
def test_training_in_the_game_learns_to_finish(display: str, tmp_path: Path) -> None:
    """The share of episodes that finish rises, in a few minutes, from nothing learned."""
    track, step_s = "easy-200-3", 0.05 / SPEED
    line = line_of(track, tmp_path)
    with standing_in("--track", track, "--speed", str(SPEED), "--size", "320x163", "--fps", "100") as standin:
        flags = settings(
            line,
            standin.ready["telemetry_port"],
            trackmania__controls="keyboard",
            trackmania__sleep_at_reset_s=1.5 / SPEED + 0.05,
            window_width=320,
            window_height=163,
            time_step_s=step_s,
            start_obs_capture_s=0.8 * step_s,
            max_steps=400,
        )
        flags += ["--set", "run.algorithm.update_to_data=0.3", "--set", "run.training.evaluation_episodes=0"]
        flags += ["--set", "relay.port=0", "--set", "control.port=0", "--data", str(tmp_path / "data"), "--headless", "--json"]

        def train(updates: int) -> dict[str, Any]:
            """Go on until there were so many updates."""
            output = tmrld("up", "--until", f"updates={updates}", *flags, limit_s=600.0)
            summary: dict[str, Any] = json.loads(output.splitlines()[-1])
            return summary

        first = train(600)
        then = train(2500)
    assert first["problem"] == then["problem"] == ""
    share_first, share_then = (summary["laps"] / max(1, summary["episodes"]) for summary in (first, then))
    assert share_then > share_first + 0.2, f"finished at first {share_first:.0%}, then {share_then:.0%}"


@pytest.mark.slow
def test_a_game_that_is_closed_and_started_again_is_driven_on_by_the_same_engine(display: str, tmp_path: Path) -> None:
    line = line_of("short", tmp_path)

    async def scene() -> None:
        role = WorkerRole("w", Outbox(SampleLog(tmp_path / "spool"), 2**20), Feed(), files=tmp_path / "files")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        ports = ("--telemetry-port", str(port))
        game = {"controls": "keyboard", "telemetry_port": port, "sleep_at_reset_s": 0.2}
        environment = {"game": "trackmania", "clock": "realtime", "track": str(line), "trackmania": game}
        config = run_config({"environment": environment}).model_dump(mode="json")
        try:
            async with linked(role, "worker", "w") as relay:
                with standing_in("--track", "short", "--countdown", "0.1", *ports):
                    await relay.say(Assign("demo", config, 1, "running"))
                    before = await relay.hear(ChunkMessage)
                status = await relay.hear(Status)
                while status.state != "problem":
                    status = await relay.hear(Status)
                assert "the game cannot be driven, trying again" in status.detail
                with standing_in("--track", "short", "--countdown", "0.1", *ports):
                    after = await relay.hear(ChunkMessage)
                    while after.first_step or after.episode == before.episode:
                        after = await relay.hear(ChunkMessage)
        finally:
            await role.close()

    asyncio.run(asyncio.wait_for(scene(), 120.0))
