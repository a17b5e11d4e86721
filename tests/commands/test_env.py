"""`tmrld env list`, `show`, `check`, `run` by hand and `bench`: what they print, and what they say of mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import robot
from tests.worker.test_evaluating import learned
from tmrld.cli import main
from tmrld.envs.options import FULL_ID, LIDAR_ID, OURS, EnvironmentOptions
from tmrld.envs.trackmania.spec import flavour_spec

GAME = ("--set", "run.environment.game=trackmania", "--set", "run.environment.clock=realtime")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes settings and data of whoever runs it, or finds a display."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TMRLD_CONFIG", "TMRLD_DATA", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What the command prints."""
    assert main(["env", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The sentence that the command prints instead of doing anything."""
    assert main(["env", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tmrld: ")
    return captured.err.removeprefix("tmrld: ").rstrip("\n")


def on_a_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines that the command prints on a terminal so wide, without colours."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")} | {
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    command = [sys.executable, "-m", "tmrld", "env", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment) as program:
        os.close(theirs)
        text = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
            if not more:
                break
            text += more
        os.close(ours)
        assert program.wait(60) == 0, program.stderr and program.stderr.read()
    return [line.rstrip() for line in text.decode().replace("\r\n", "\n").splitlines()]


# list and show


def test_our_environments_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "list")
    assert all(id in text for id in OURS)
    assert 'pip install "tmrld[worker]"' in text
    assert 'pip install "tmrld[game]"' in text
    assert "Any id of Gymnasium works as well, and module:attribute" in text
    items = json.loads(said(capsys, "list", "--json"))["items"]
    assert [item["id"] for item in items] == list(OURS)
    assert set(items[0]["needs"]) == {"sim", "trackmania"}


def test_an_environment_is_shown_with_units_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "show", FULL_ID).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert rows["speed"][:7] == ["speed", "1", "float32", "0", "to", "1000", "km/h"]
    assert rows["images"][:6] == ["images", "4×64×64", "uint8", "0", "to", "255"]
    assert rows["actions"][:3] == ["actions", "2×3", "float32"]
    assert rows["step"][1:3] == ["0.05", "s,"]
    assert rows["delay"][1:3] == ["0.06", "s"]
    assert rows["telemetry_stall_s"][1:3] == ["1", "s"]
    assert rows["check_forward"][1:5] == ["500", "×", "0.1", "m"]
    assert {"terminated", "truncated", "progress", "finish", "penalty"} <= set(rows)


def test_a_setting_that_was_changed_is_shown_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "show", LIDAR_ID, "--set", "run.environment.history=2", "--set", "run.environment.kwargs={}")
    (line,) = [line for line in text.splitlines() if line.startswith("history ")]
    assert "2 frames" in line
    assert line.rstrip().endswith("Default: 4 frames.")
    assert [line.split()[1] for line in text.splitlines() if line.startswith("lidar ")] == ["2×19"]


@pytest.mark.parametrize("id", [LIDAR_ID, "Pendulum-v1"])
def test_what_is_shown_is_told_to_scripts(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(said(capsys, "show", id, "--json"))
    assert found["id"] == id
    assert {"observation", "action", "rewards", "terminated", "truncated", "options", "step_s"} <= set(found)


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_tables_fit_the_terminal_and_break_no_name(columns: int) -> None:
    lines = on_a_terminal(columns, "show", FULL_ID)
    assert max(len(line) for line in lines) <= columns
    names = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert {"start_obs_capture_s", "telemetry_stall_s", "start_heading_deg", "failure_countdown", "observation"} <= names


def test_an_environment_that_there_is_not_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'Pendulum-v1'?" in complaint(capsys, "show", "Pendulun-v1")


@pytest.mark.parametrize("arguments", [("list",), ("show", LIDAR_ID), ("show", LIDAR_ID, *GAME), ("--help",)])
def test_to_show_something_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import contextlib, sys\nfrom tmrld.cli import main\n"
        f"with contextlib.suppress(SystemExit):\n    main(['env', *{arguments!r}])\n"
        "print(*{'torch', 'pygame', 'mss', 'cv2', 'av', 'vgamepad', 'Xlib'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == ""


# check


def test_ours_are_well(capsys: pytest.CaptureFixture[str]) -> None:
    *lines, last = said(capsys, "check", LIDAR_ID, "--steps", "20").splitlines()
    assert last == "all is well"
    assert {line.split()[0] for line in lines} == {"ok", "note"}


def test_what_is_wrong_is_told_and_ends_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    fault = "tests.envs.test_checks:LeavesItsSpace"
    text = said(capsys, "check", fault, "--steps", "5", status=1)
    assert "wrong observations: step 1 returned the observation with values from 101 to 101: its space says -100 to 100" in text
    assert text.splitlines()[-1].endswith("checks found something wrong")
    found = json.loads(said(capsys, "check", fault, "--steps", "5", "--json", status=1))
    assert (found["id"], found["ok"]) == (fault, False)
    assert "wrong" in {each["state"] for each in found["checks"]}


def test_a_game_that_is_not_there_cannot_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "show", "short", "--line", "line.csv"]) == 0
    capsys.readouterr()
    assert main(["env", "check", LIDAR_ID, *GAME, "--track", "line.csv"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("tmrld: ")
    assert "wrong" not in captured.out


# run by hand


def test_without_a_display_nobody_can_drive(capsys: pytest.CaptureFixture[str]) -> None:
    told = complaint(capsys, "run", LIDAR_ID, "--policy", "human")
    assert told == (
        "there is no display here to open a window on (DISPLAY is not set): run it on a desktop, or let a policy drive: "
        "--policy scripted"
    )


def test_who_gives_up_at_once_has_driven_nothing(
    display: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tmrld.worker.window import Keys, PictureWindow

    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(PictureWindow, "keys", lambda _window: Keys(frozenset(), frozenset({"end"}), 0.01))
    assert said(capsys, "run", LIDAR_ID, "--policy", "human") == "no episode was driven to its end\n"
    result = json.loads(said(capsys, "run", LIDAR_ID, "--policy", "human", "--json"))
    assert (result["policy"], result["episodes"], result["mean_return"]) == ("human", 0, None)


# view in a window


def test_what_the_ai_sees_is_shown_in_a_window(
    display: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    fast = ("--set", "run.environment.time_step_s=0.02", "--set", "run.environment.start_obs_capture_s=0.01")
    text = said(capsys, "view", "--seconds", "0.5", *fast, "--set", "run.environment.max_steps=10")
    first, second = text.splitlines()
    assert first.startswith("seed 0: no lap (0% of the track), return ")
    assert second.startswith("seed 1: ")
    assert "steps/s" not in text


# bench


def test_a_bench_tells_whether_time_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "bench", LIDAR_ID, "--steps", "20", "--png", "bench.png")
    rows = [line.split()[0] for line in text.splitlines() if line]
    assert rows[:5] == ["ms", "step", "capture", "inference", "control"]
    table = {line.split()[0]: line for line in text.splitlines() if line}
    assert "±" not in table["step"]
    assert "±" in table["capture"]
    assert re.match(r"rtgym's own time step: \d+\.\d{3} ± \d+\.\d{3} ms$", table["rtgym's"])
    assert "20 steps in 1 episode, " in text
    assert "This machine" in text
    assert "20 Hz" in text
    with Image.open("bench.png") as image:
        assert (image.format, image.size) == ("PNG", (1280, 720))


def test_a_bench_is_told_to_scripts_with_rtgyms_own_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    fast = ("--set", "run.environment.time_step_s=0.02", "--set", "run.environment.start_obs_capture_s=0.01")
    short = ("--set", "run.environment.max_steps=10")
    found = json.loads(said(capsys, "bench", FULL_ID, "--steps", "25", "--json", *fast, *short))
    assert (found["policy"], found["steps"], found["episodes"]) == ("random", 25, 3)
    assert set(found["seconds"]) == set(found["rtgym_seconds"]) == {"step", "capture", "inference", "control"}
    assert 0.0 < found["seconds"]["capture"]["p50"] <= found["seconds"]["capture"]["max"]
    assert found["rtgym_seconds"]["capture"]["mean"] > 0.0
    assert isinstance(found["keeps_time"], bool)


def test_in_lockstep_there_is_no_time_to_keep(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "bench", LIDAR_ID, "--lockstep", "--steps", "50", "--policy", "random", "--json"))
    assert (found["seconds"]["step"], found["keeps_time"], found["late_steps"]) == (None, True, 0)
    assert found["verdict"] == "in lockstep no step can be late"
    text = said(capsys, "bench", LIDAR_ID, "--lockstep", "--steps", "50", "--png", "bench.png")
    assert "In lockstep no step can be late." in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["Pendulum-v1"], "Pendulum-v1 goes by no clock that could be measured: ours do, and rtgym interfaces of your own"),
        ([LIDAR_ID, "--policy", "human"], "a person is not measured: let random, scripted or a weights file drive"),
        ([LIDAR_ID, "--lockstep", *GAME], "--lockstep lets the world wait, and the game waits for nobody"),
        ([LIDAR_ID, "--png", "bench.jpg"], "--png 'bench.jpg' does not end in .png: histograms are written as PNG alone"),
        (
            [LIDAR_ID, "--png", "gone/bench.png"],
            "--png 'gone/bench.png' is to be written into 'gone', which is no folder: make it",
        ),
        (
            [FULL_ID, "--policy", "scripted"],
            "the scripted policy drives by speed and lidar, which tmrld/TM20Full-v0 does not show",
        ),
    ],
)
def test_what_cannot_be_measured_is_told_why(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in complaint(capsys, "bench", *arguments)


def test_an_interface_of_ones_own_is_measured_in_real_time_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kwargs = json.dumps({"diary": str(tmp_path / "diary")})
    mine = ("bench", robot.ID, "--steps", "5", "--set", f"run.environment.kwargs={kwargs}")
    assert complaint(capsys, *mine, "--lockstep") == (
        f"--lockstep lets the world wait, and {robot.ID} goes by the wall clock alone: leave it out"
    )
    assert robot.diary(tmp_path / "diary") == ["close"]
    assert "20 Hz" in said(capsys, *mine)


@pytest.mark.parametrize("command", [("run", LIDAR_ID), ("bench", LIDAR_ID), ("view", LIDAR_ID), ("view", "--out", "lap.png")])
def test_a_start_in_the_game_cannot_be_perturbed(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, *command, "--perturbed", *GAME) == (
        "a start in the game cannot be perturbed: leave --perturbed out, or drive the simulator"
    )


def test_the_game_is_meant_by_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    simulator, game = said(capsys, "show", LIDAR_ID), said(capsys, "show", LIDAR_ID, *GAME)
    assert said(capsys, "show", LIDAR_ID, "--game", "trackmania") == game != simulator
    assert said(capsys, "show", LIDAR_ID, "--game", "sim") == simulator
    assert said(capsys, "show", LIDAR_ID, "--game", "sim", *GAME) == game  # what is said in full wins


def test_weights_drive_what_they_were_made_to_see_and_that_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = flavour_spec(EnvironmentOptions(history=2, action_buffer=1))
    path = tmp_path / "short.safetensors"
    path.write_bytes(learned(spec, spec.observation_size))
    brief = ("--episodes", "1", "--set", "run.environment.max_steps=3")
    assert main(["env", "run", LIDAR_ID, "--policy", str(path), *brief]) == 0
    captured = capsys.readouterr()
    assert "3 steps" in captured.out
    assert captured.err == f"the environment is as {path} was made to see it: history 2, action_buffer 1\n"
