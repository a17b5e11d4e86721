"""`tmrld env` with the game, for which `tmrld sim` stands in: checked, driven by hand, and watched."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Xlib import X

from tests.support import uinput
from tests.support.display import virtual_display
from tests.support.standin import StandIn, standing_in, until
from tests.support.x11 import Person, connected
from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, OURS, EnvironmentOptions, TrackmaniaOptions
from tmrld.envs.registry import describe, make
from tmrld.envs.sim.tracks import SHORT, named
from tmrld.envs.trackmania import windows
from tmrld.envs.trackmania.eyes import eye_of
from tmrld.worker.driving import BEGIN, GO

pytestmark = pytest.mark.slow

PATIENCE_S = 100
TRACK = "easy-200-3"
"""So short that two laps take no half minute."""


@pytest.fixture
def wide(display: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A display with room for another window beside the game's."""
    with virtual_display(1920, 1080) as name:
        monkeypatch.setenv("DISPLAY", name)
        monkeypatch.setenv("SDL_VIDEO_WINDOW_POS", "0,0")  # of the stand-in; ours goes where it wants
        yield name


@pytest.fixture
def game(wide: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with standing_in("--track", "short", "--countdown", "0.2") as game:
        monkeypatch.delenv("SDL_VIDEO_WINDOW_POS")
        yield game


@pytest.fixture
def flags(game: StandIn, tmp_path: Path) -> list[str]:
    """What has this game driven."""
    np.save(tmp_path / "line.npy", SHORT.line)
    chosen = {
        "game": "trackmania",
        "clock": "realtime",
        "track": tmp_path / "line.npy",
        "trackmania.telemetry_port": game.ready["telemetry_port"],
        "trackmania.controls": "keyboard",
        "trackmania.sleep_at_reset_s": 0.5,
    }
    return [flag for name, value in chosen.items() for flag in ("--set", f"run.environment.{name}={value}")]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tmrld", "env", *arguments]


@pytest.mark.parametrize("id", OURS)
def test_nothing_is_wrong_with_the_game(id: str, flags: list[str]) -> None:
    checked = command("check", id, "--steps", "60", "--json", *flags)
    done = subprocess.run(checked, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    found = json.loads(done.stdout)
    assert [each for each in found["checks"] if each["state"] == "wrong"] == []
    assert (done.returncode, found["ok"]) == (0, True)
    assert {"observations", "rewards", "info", "pace", "picture"} <= {each["check"] for each in found["checks"]}


def test_a_person_drives_in_the_game_and_is_reported(game: StandIn, flags: list[str]) -> None:
    """Straight on until the car leaves the road."""
    driving = command("run", LIDAR_ID, "--policy", "human", "--episodes", "1", "--json", *flags)
    with Person() as person, game.hear() as hearing:
        game.focus()
        person.press("Up")
        hearing.until(lambda record: record.z > 40.0, "the car drives")
        person.release("Up")
    stray = ("--set", "run.environment.reward.max_stray=15")
    with subprocess.Popen([*driving, *stray], stdout=subprocess.PIPE, text=True) as program, Person() as person:
        assert program.stdout is not None
        assert program.stdout.readline() == f"{BEGIN}\n"
        game.focus()
        person.press("BackSpace")
        person.release("BackSpace")
        person.press("Up")
        go, line, result = program.stdout.read().splitlines()
        assert program.wait(PATIENCE_S) == 0
    assert go == GO
    assert line.startswith("seed 0: no lap (")
    found = json.loads(result)
    assert (found["policy"], found["episodes"], found["taken_over"]) == ("human", 1, 0)
    assert found["mean_return"] > 3.0


def test_the_game_is_watched_in_a_window_beside_it(game: StandIn, flags: list[str]) -> None:
    watching = command("view", LIDAR_ID, "--policy", "scripted", *flags)
    with (
        subprocess.Popen(watching, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program,
        connected() as display,
    ):
        root = display.screen().root
        try:
            until(lambda: sky_at(root, 960 + 100, 540 + 60), "the window shows the game's sky")
            with contextlib.closing(windows.find(f"tmrld · {LIDAR_ID}")) as window:
                window.focus()
            with Person() as person:
                person.press("q")
                person.release("q")
            assert program.wait(PATIENCE_S) == 0
        finally:
            program.kill()
        assert program.stderr is not None
        assert "Traceback" not in program.stderr.read()


@pytest.fixture
def pad(tmp_path: Path) -> Path:
    """Where a gamepad tells its events: the stand-in reads there."""
    os.mkfifo(tmp_path / "pad")
    return tmp_path / "pad"


@pytest.mark.parametrize(("id", "grayscale"), [(FULL_ID, True), (FULL_ID, False), (LIDAR_ID, True), (LIDAR_PROGRESS_ID, True)])
def test_each_flavour_sees_the_window_and_drives_with_a_gamepad(
    id: str,
    grayscale: bool,
    display: str,
    pad: Path,
    uinput_library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two episodes: what is seen is what the window shows, a replay is saved of each, and the pad alone goes back to the start."""
    folder = tmp_path / "replays"
    np.save(tmp_path / "line.npy", SHORT.line)
    flags = ("--track", "short", "--countdown", "0.2", "--replays", str(folder), "--gamepad", str(pad))
    with standing_in(*flags) as game:
        for name, value in uinput.environment(uinput_library, pad).items():
            monkeypatch.setenv(name, value)
        options = EnvironmentOptions(
            id=id,
            game="trackmania",
            clock="realtime",
            track=str(tmp_path / "line.npy"),
            grayscale=grayscale,
            max_steps=20,
            trackmania=TrackmaniaOptions(
                telemetry_port=game.ready["telemetry_port"],
                replay_port=game.ready["replay_port"],
                save_replays=True,
                sleep_at_reset_s=0.5,
            ),
        )
        with contextlib.closing(make(options, "rgb_array")) as env:
            eye = eye_of(options)
            part = next(number for number, each in enumerate(describe(env, options).parts) if each.name in ("images", "lidar"))
            for episode in (1, 2):
                observation, info = env.reset()
                assert env.observation_space.contains(observation)
                start = observation[part][-1]
                assert np.ptp(start) > 0.1 * start.max(), "nothing is seen"
                assert np.array_equal(start, eye(game.picture())), "something else is seen than what the window shows"
                assert math.dist((info["x"], info["z"]), (SHORT.line[0, 0], SHORT.line[0, 2])) < 1.0
                while env.unwrapped.running:  # type: ignore[attr-defined]  # rtgym's
                    observation, _, _, truncated, info = env.step(np.array((1.0, 0.0, 0.0), np.float32))
                    assert env.observation_space.contains(observation)
                assert (truncated, info["finished"], info["user_drives"]) == (True, False, False)
                assert info["z"] - SHORT.line[0, 2] > 1.0
                end = observation[part][-1]
                assert np.array_equal(end, eye(blue_first(env.render())))
                assert not np.array_equal(end, start), "the picture stands still"
                told = game.told()
                assert told["replays"] == episode
                assert json.loads(Path(told["file"]).read_text("utf-8"))["lap_time_s"] is None


def test_a_finish_is_left_by_gamepad_and_its_replay_is_saved(
    display: str, pad: Path, uinput_library: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "replays"
    np.save(tmp_path / "line.npy", named(TRACK).line)
    with standing_in("--track", TRACK, "--replays", str(folder), "--gamepad", str(pad)) as game:
        chosen = {
            "game": "trackmania",
            "clock": "realtime",
            "track": tmp_path / "line.npy",
            "trackmania.telemetry_port": game.ready["telemetry_port"],
            "trackmania.replay_port": game.ready["replay_port"],
            "trackmania.save_replays": "true",
        }
        flags = [flag for name, value in chosen.items() for flag in ("--set", f"run.environment.{name}={value}")]
        done = subprocess.run(
            command("run", LIDAR_ID, "--policy", "scripted", "--episodes", "2", "--json", *flags),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**os.environ, **uinput.environment(uinput_library, pad)},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["finished"] == 2
        for _ in range(2):
            assert json.loads(Path(game.told()["file"]).read_text("utf-8"))["lap_time_s"] > 3.0


def blue_first(picture: Any) -> Any:
    """An RGB picture as screens are captured."""
    return np.dstack((picture[:, :, ::-1], np.zeros(picture.shape[:2], np.uint8)))


def sky_at(root: object, x: int, y: int) -> bool:
    """Whether that pixel of the screen is light blue."""
    pixel = root.get_image(x, y, 1, 1, X.ZPixmap, 0xFFFFFFFF).data  # type: ignore[attr-defined]
    blue, green, red = pixel[:3]
    return bool(blue > 180 and green > 120 and red < blue)
