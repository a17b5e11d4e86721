"""`tmrld env` with the game, for which `tmrld sim` stands in: checked, driven by hand, and watched."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from Xlib import X

from tests.support.display import virtual_display
from tests.support.standin import StandIn, standing_in, until
from tests.support.x11 import Person, connected
from tmrld.envs.options import LIDAR_ID
from tmrld.envs.sim.tracks import SHORT
from tmrld.envs.trackmania import windows

pytestmark = pytest.mark.slow

PATIENCE_S = 100


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


def test_nothing_is_wrong_with_the_game(flags: list[str]) -> None:
    checked = command("check", LIDAR_ID, "--steps", "60", "--json", *flags)
    done = subprocess.run(checked, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    found = json.loads(done.stdout)
    assert [each for each in found["checks"] if each["state"] == "wrong"] == []
    assert (done.returncode, found["ok"]) == (0, True)


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
        assert program.stdout.readline() == "begin the race in the game: the episode begins when the car stands at the start\n"
        game.focus()
        person.press("BackSpace")
        person.release("BackSpace")
        person.press("Up")
        line, result = program.stdout.read().splitlines()
        assert program.wait(PATIENCE_S) == 0
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


def sky_at(root: object, x: int, y: int) -> bool:
    """Whether that pixel of the screen is light blue."""
    pixel = root.get_image(x, y, 1, 1, X.ZPixmap, 0xFFFFFFFF).data  # type: ignore[attr-defined]
    blue, green, red = pixel[:3]
    return bool(blue > 180 and green > 120 and red < blue)
