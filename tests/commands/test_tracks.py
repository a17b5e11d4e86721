"""What `tmrld track` prints and writes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from email.message import Message
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tmrld.cli import main
from tmrld.client import Client
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.drawing import PANEL
from tmrld.envs.sim.tracks import BUNDLED, named
from tmrld.envs.trackmania.tracks import parse, read, resampled
from tmrld.local import shelf_of
from tmrld.settings import load
from tmrld.storage.shelf import Shelf


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """This machine's shelf; the settings' data folder is one of the test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    return shelf_of(load())


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
    found = json.loads(capsys.readouterr().out)

    assert "`tmrld track record NAME`" in lines[0]
    assert lines[1:3] == ["", "of the simulator:"]
    assert [line.split()[0] for line in lines[4:]] == list(BUNDLED)
    assert [item["name"] for item in found["simulator"]] == list(BUNDLED)
    assert found["shelf"] == []


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
        (["show", "default-"], "there is no track 'default-' on the shelf"),
        (["new", "--difficulty", "hrad"], "did you mean 'hard'"),
        (["new", "--length", "100"], "its length must be from 200 to 20,000 m"),
    ],
)
def test_bad_input_is_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", *arguments]) == 2
    assert sentence in capsys.readouterr().err


# The shelf

BEND = np.array([(0.0, 8.0, 0.0), (0.0, 8.0, 200.0), (80.0, 12.0, 200.0)])


@pytest.fixture
def bend(tmp_path: Path) -> Path:
    """A file with a line."""
    np.save(tmp_path / "Bend 01.npy", BEND)
    return tmp_path / "Bend 01.npy"


@pytest.mark.parametrize("name", ["line.npy", "line.csv", "line.txt"])
def test_what_was_imported_is_exported_as_it_is(name: str, bend: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "import", str(bend), "curve"]) == 0
    assert "curve is on the shelf: 280 m, 2,802 points" in capsys.readouterr().out
    assert main(["track", "export", "curve", name]) == 0
    assert np.allclose(read(Path(name)), resampled(BEND), atol=1e-5)
    assert main(["track", "import", name, "again"]) == 0
    assert np.allclose(read(Path(name)), resampled(BEND), atol=1e-5)


def test_a_track_that_is_its_own_export_keeps_its_bytes(bend: Path, shelf: Shelf) -> None:
    assert main(["track", "import", str(bend), "curve"]) == 0
    assert main(["track", "export", "curve", "line.npy"]) == 0
    assert main(["track", "import", "line.npy", "again"]) == 0
    assert shelf.get("tracks", "again").sha256 == shelf.get("tracks", "curve").sha256


def test_the_name_is_that_of_the_file_unless_one_is_given(bend: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "import", str(bend), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert (found["name"], found["source"], found["points"]) == ("bend-01", "imported", 2802)
    assert found["length_m"] == pytest.approx(280.1, abs=0.1)


def test_tmrls_reward_file_keeps_its_very_points(tmp_path: Path, shelf: Shelf) -> None:
    points = walked(BEND)
    (tmp_path / "reward.pkl").write_bytes(pickle.dumps(points))

    assert main(["track", "import", "reward.pkl", "mine"]) == 0
    assert np.array_equal(parse(shelf.read("tracks", "mine"), "mine", as_it_is=True), points)


def test_a_pickle_that_runs_something_is_refused_and_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reward.pkl").write_bytes(b"cos\nsystem\n(S'touch " + bytes(tmp_path / "hit") + b"'\ntR.")

    assert main(["track", "import", "reward.pkl"]) == 2
    assert "the file reward.pkl asks for 'os.system'" in capsys.readouterr().err
    assert not (tmp_path / "hit").exists()


def test_the_list_and_a_sketch_show_a_track_of_the_shelf(
    bend: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["track", "import", str(bend), "curve"])
    capsys.readouterr()

    assert main(["track", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:5] == ["curve", "280", "m", "2,802", "–"]
    assert main(["track", "show", "curve", "--png", "curve.png", "--line", "line.csv"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("curve: 280 m, 2,802 points, imported ")
    assert "set run.environment.track = 'curve'" in printed
    sketch = printed.splitlines()[printed.splitlines().index("") + 1 :]
    assert sketch[0].endswith("F")
    assert sketch[-1] == "S"
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size[0] == 960
        assert picture.getpixel((0, 0)) == PANEL
        assert len(set(picture.get_flattened_data() if hasattr(picture, "get_flattened_data") else picture.getdata())) > 50
    assert len(read(tmp_path / "line.csv")) == pytest.approx(2802, abs=1)


def test_a_track_of_the_shelf_comes_before_one_of_the_simulator(bend: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["track", "import", str(bend), "default"])
    capsys.readouterr()

    assert main(["track", "show", "default"]) == 0
    assert capsys.readouterr().out.startswith("default: 280 m, 2,802 points")


def test_a_name_is_taken_once_unless_forced_and_free_when_deleted(bend: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["track", "import", str(bend), "curve"])
    np.savetxt("other.txt", BEND / 2)

    assert main(["track", "import", "other.txt", "curve"]) == 1
    assert "choose another name" in capsys.readouterr().err
    assert main(["track", "import", "other.txt", "curve", "--force"]) == 0
    assert main(["track", "delete", "curve"]) == 0
    assert main(["track", "delete", "curve"]) == 1
    assert "there is no track 'curve' on the shelf" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["import", "nowhere.npy"], "Cannot read nowhere.npy: it does not exist"),
        (["import", "two.txt"], "too short"),
        (["import", "text.txt"], "is not a line of points"),
        (["export", "curve", "line.pkl"], "pickles are never written"),
        (["export", "curve", "two.txt"], "two.txt exists already: name another file, or replace it with --force"),
        (["export", "curv", "line.npy"], "did you mean 'curve'"),
        (["import", "two.txt", "Über"], "cannot be the name of a track"),
        (["record", "curve"], "there is a track 'curve' already"),
        (["record", "Curve"], "cannot be the name of a track"),
    ],
)
def test_what_cannot_be_done_with_the_shelf_is_said(
    arguments: list[str], sentence: str, bend: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["track", "import", str(bend), "curve"])
    Path("two.txt").write_text("0 0 0\n0 0 0.1\n" if arguments[-1] == "two.txt" else "0 0 0\n0 0 50\n")
    Path("text.txt").write_text("hello\n")

    assert main(["track", *arguments]) in (1, 2)
    assert sentence in capsys.readouterr().err


# A relay


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A relay's shelf: what was put there, by name."""
    there: dict[str, Any] = {}

    def exchange(_: Client, method: str, path: tuple[str, ...], body: Any, query: Mapping[str, Any]) -> tuple[bytes, Message]:
        item = {
            "name": path[-1],
            "made": 1.0,
            "about": {"length_m": 280.1, "points": 2802, "source": "recorded", "lap_time_s": 9.5},
        }
        if method == "PUT":
            there[path[1]] = body, {name: value for name, value in query.items() if value is not None}
        elif path == ("tracks",):
            item = {"items": [{**item, "name": name} for name in there]}
        elif path[-1] == "file":
            return there[path[1]][0], Message()
        return json.dumps(item).encode(), Message()

    monkeypatch.setattr(Client, "_exchange", exchange)
    return there


def test_a_track_goes_to_the_relay_and_comes_back(
    relay: dict[str, Any], bend: Path, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["track", "import", str(bend), "curve"])
    before = shelf.read("tracks", "curve")

    assert main(["track", "upload", "curve", "--force"]) == 0
    assert relay == {"curve": (before, {"replace": True, "source": "imported"})}
    assert main(["track", "delete", "curve"]) == 0
    capsys.readouterr()
    assert main(["track", "list", "--relay"]) == 0
    assert "9.50 s" in capsys.readouterr().out
    assert main(["track", "download", "curve", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["lap_time_s"], found["source"]) == (9.5, "recorded")
    assert shelf.read("tracks", "curve") == before


def walked(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """As TMRL lays points: a tenth of a metre further on from each, and none at the end."""
    points = [corners[0]]
    left = 0.1
    for start, end in pairwise(corners):
        place, ahead = start, (end - start) / np.linalg.norm(end - start)
        while (rest := float(np.linalg.norm(end - place))) >= left:
            place = place + ahead * left
            points.append(place)
            left = 0.1
        left -= rest
    return np.array(points)


def test_settings_are_checked_without_a_learner_or_a_camera() -> None:
    code = (
        "from tmrld.envs.options import EnvironmentOptions; EnvironmentOptions(track='hard-650-any'); import sys; "
        "print(*{'torch', 'rtgym', 'PIL'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
