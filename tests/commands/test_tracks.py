"""What `tmrld track` prints and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tmrld.cli import main
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.tracks import BUNDLED, named
from tmrld.envs.trackmania.tracks import read


def test_a_new_track_is_presented_with_the_name_that_settings_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "new", "--seed", "17", "--length", "400", "--difficulty", "easy"]) == 0
    printed = capsys.readouterr().out

    assert printed.startswith("easy-400-17: 400 m, ")
    assert "run.environment.track = 'easy-400-17'" in printed
    assert printed.count("S") == 1
    assert printed.count("F") == 1
    assert EnvironmentOptions(track="easy-400-17").track == "easy-400-17"


def test_scripts_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "new", "--seed", "3", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {
        "name": "medium-650-3",
        "length_m": 650.0,
        "corners": 5,
        "tightest_radius_m": 32.8,
        "narrowest_m": 15.2,
        "widest_m": 15.2,
        "crossings": 1,
    }


def test_without_a_seed_one_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "new", "--length", "200", "--json"]) == 0

    assert named(json.loads(capsys.readouterr().out)["name"]).length == pytest.approx(200)


def test_the_list_has_every_track_that_is_brought(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["track", "list", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]

    assert [line.split()[0] for line in lines[1:]] == list(BUNDLED)
    assert [item["name"] for item in items] == list(BUNDLED)


@pytest.mark.parametrize("file", ["line.npy", "line.txt"])
def test_the_line_can_be_read_as_a_recorded_one(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "show", "default", "--line", str(tmp_path / file)]) == 0
    line = read(tmp_path / file)

    printed = capsys.readouterr().out
    assert "8 corners" in printed
    assert f"its line is in {tmp_path / file}: for the game or `tmrld sim`, set run.environment.track to that path\n" in printed
    assert "to drive it in the simulator, set run.environment.track = 'default'\n" in printed
    assert line[0].tolist() == [0, 0, 0]
    assert np.abs(line[-1] - BUNDLED["default"].line[-1]).max() < 1e-5
    assert len(line) == pytest.approx(len(BUNDLED["default"].line), abs=1)


def test_a_map_that_was_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "map.png"
    assert main(["track", "new", "--seed", "17", "--length", "200", "--png", str(file)]) == 0
    assert f"its map is in {file}\nto drive it, set run.environment.track = " in capsys.readouterr().out
    assert file.is_file()


def test_a_file_is_replaced_only_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "line.npy"
    file.write_text("mine")

    assert main(["track", "show", "short", "--line", str(file)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main(["track", "show", "short", "--line", str(file), "--force"]) == 0
    assert len(read(file)) > 3000


def test_a_line_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "show", "short", "--line", str(tmp_path / "nowhere" / "line.npy")]) == 1
    assert "cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "defualt"], "did you mean 'default'"),
        (["new", "--difficulty", "hrad"], "did you mean 'hard'"),
        (["new", "--length", "100"], "its length must be from 200 to 20,000 m"),
    ],
)
def test_bad_input_is_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_settings_are_checked_without_a_learner_or_a_camera() -> None:
    code = (
        "from tmrld.envs.options import EnvironmentOptions; EnvironmentOptions(track='hard-650-any'); import sys; "
        "print(*{'torch', 'rtgym', 'PIL'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
