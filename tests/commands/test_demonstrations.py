"""Recording what is driven, and moving demonstrations and weights between files and this machine's shelf."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.protocol.test_demonstrations import SPEC
from tmrld.cli import main
from tmrld.client import Client
from tmrld.commands import demonstrations
from tmrld.commands.env import driving
from tmrld.commands.env.flags import told
from tmrld.local import shelf_of
from tmrld.payloads import WeightsManifest
from tmrld.protocol.demonstrations import unpack
from tmrld.rl.weights import pack
from tmrld.settings import load
from tmrld.storage.shelf import MAX_BYTES, Shelf

LIDAR = "tmrld/TM20Lidar-v0"
WEIGHTS = pack(WeightsManifest("teacher", 7, 900, 0, SPEC, {}, "sac"), {"w": np.ones(3, np.float32)}).data


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """This machine's shelf; the settings' data folder is one of the test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    return shelf_of(load())


def run(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    """What a command prints as JSON; for one that fails, its sentence."""
    assert main([*words, "--json"]) == status
    printed = capsys.readouterr()
    return printed.err if status else json.loads(printed.out.splitlines()[-1])


def record(*words: str, steps: int = 30) -> list[str]:
    return ["env", "run", LIDAR, "--set", f"run.environment.max_steps={steps}", *words]


def test_what_was_driven_is_saved_whole(capsys: pytest.CaptureFixture[str], shelf: Shelf) -> None:
    words = record("--policy", "scripted", "--episodes", "2", "--save", "laps", steps=250)
    saved = run(capsys, *words)["saved"]
    about = {"environment": LIDAR, "track": "default", "episodes": 2, "transitions": 500, "finished": 0}
    assert saved == [{"name": "laps", **about}]
    item, data = shelf.load("demonstrations", "laps")
    assert item.about == about
    chunks = list(unpack(data).chunks)
    assert [chunk.first_step for chunk in chunks] == [0, 100, 200] * 2
    assert {chunk.purpose for chunk in chunks} == {"train"}
    assert {int(actor) for chunk in chunks for actor in chunk.columns["actor"]} == {3}


def test_people_are_told_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(record("--episodes", "1", "--save", "laps")) == 0
    printed = capsys.readouterr().out
    assert "30 transitions of 1 episode are on this machine's shelf as 'laps'" in printed
    assert 'replay.demonstrations = ["laps"]' in printed
    assert "tmrld demonstration upload laps" in printed


@pytest.mark.parametrize("words", [["--save", "Laps"], ["--save", "taken"]])
def test_a_name_that_cannot_be_is_refused_before_anything_is_driven(
    capsys: pytest.CaptureFixture[str], shelf: Shelf, words: list[str]
) -> None:
    shelf.put("demonstrations", "taken", b"x")
    assert main(record(*words)) != 0
    printed = capsys.readouterr()
    assert "seed" not in printed.out
    assert "cannot be the name" in printed.err or "already" in printed.err


def test_more_than_a_file_can_hold_becomes_several(
    capsys: pytest.CaptureFixture[str], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = run(capsys, *record("--episodes", "4", "--save", "whole"))["saved"]
    shelf.put("demonstrations", "laps-2", b"x")
    monkeypatch.setitem(MAX_BYTES, "demonstrations", shelf.get("demonstrations", "whole").size_bytes * 2 // 3)
    saved = run(capsys, *record("--episodes", "4", "--save", "laps"))["saved"]
    assert [each["name"] for each in saved] == ["laps", "laps-3"]
    assert sum(each["transitions"] for each in saved) == whole["transitions"]


def test_it_can_be_replaced(capsys: pytest.CaptureFixture[str], shelf: Shelf) -> None:
    shelf.put("demonstrations", "laps", b"x")
    assert run(capsys, *record("--episodes", "1", "--save", "laps", "--force"))["saved"][0]["transitions"] == 30


def test_whoever_stops_keeps_what_was_driven_until_then(
    capsys: pytest.CaptureFixture[str], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_after_two(drive: Any) -> str:
        if drive.seed == 1:
            raise KeyboardInterrupt
        return told(drive)

    monkeypatch.setattr(driving, "told", stop_after_two)
    assert main(record("--episodes", "5", "--save", "laps")) == 130
    assert shelf.get("demonstrations", "laps").about["episodes"] == 2


def test_nothing_is_saved_where_nothing_was_driven(
    capsys: pytest.CaptureFixture[str], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "_drives", lambda _options: iter(()))
    assert run(capsys, *record("--save", "laps"))["saved"] == []
    assert shelf.items("demonstrations") == []


def test_demonstrations_are_listed_shown_exported_imported_and_deleted(
    capsys: pytest.CaptureFixture[str], shelf: Shelf, tmp_path: Path
) -> None:
    run(capsys, *record("--episodes", "2", "--save", "laps"))
    (item,) = run(capsys, "demonstration", "list")["items"]
    assert (item["name"], item["transitions"], item["track"]) == ("laps", 60, "default")
    episodes = run(capsys, "demonstration", "show", "laps")["episodes"]
    assert [(each["actor"], each["steps"], each["lap_time_s"]) for each in episodes] == [("random", 30, None)] * 2
    run(capsys, "demonstration", "export", "laps", "out.demonstrations")
    assert (tmp_path / "out.demonstrations").read_bytes() == shelf.read("demonstrations", "laps")
    assert "exists already" in run(capsys, "demonstration", "export", "laps", "out.demonstrations", status=1)
    run(capsys, "demonstration", "delete", "laps")
    assert "there is no demonstration 'laps'" in run(capsys, "demonstration", "show", "laps", status=1)
    assert run(capsys, "demonstration", "import", "out.demonstrations", "again")["transitions"] == 60
    run(capsys, "demonstration", "import", "out.demonstrations")
    assert [each.name for each in shelf.items("demonstrations")] == ["again", "out"]


def test_tables_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demonstration", "list"]) == 0
    assert "nothing is on this machine's shelf: `tmrld env run ID" in capsys.readouterr().out
    assert main(record("--episodes", "1", "--save", "laps")) == 0
    assert main(["demonstration", "list"]) == 0
    assert main(["demonstration", "show", "laps"]) == 0
    printed = capsys.readouterr().out
    assert "laps: 30 transitions in tmrld/TM20Lidar-v0 on default" in printed
    assert "random" in printed


def test_weights_are_imported_listed_and_exported(capsys: pytest.CaptureFixture[str], shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "Teacher.safetensors").write_bytes(WEIGHTS)
    assert run(capsys, "weights", "import", "Teacher.safetensors")["update"] == 900
    assert shelf.read("weights", "teacher") == WEIGHTS
    listed = {each["name"]: each for each in run(capsys, "weights", "list")["items"]}
    assert listed["teacher"]["run"] == "teacher"
    assert main(["weights", "list"]) == 0
    assert "teacher" in capsys.readouterr().out
    run(capsys, "weights", "export", "teacher", "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == WEIGHTS
    run(capsys, "weights", "delete", "teacher")
    assert "there are no weights 'teacher'" in run(capsys, "weights", "export", "teacher", "x", status=1)


def test_what_is_no_such_file_is_not_imported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    assert "not a safetensors file" in run(capsys, "weights", "import", "x", status=2)
    assert "not a file of demonstrations" in run(capsys, "demonstration", "import", "x", status=2)
    assert "does not exist" in run(capsys, "weights", "import", "y", status=1)


# From a run

MADE = {"run": "demo", "name": "earlier", "state": "made", "done": 1.0, "episodes": 5, "missing": 2, "detail": ""}


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> tuple[list[dict[str, Any]], list[Any]]:
    """What the relay will answer, one view after the other, and what it was asked."""
    views: list[dict[str, Any]] = []
    asked: list[Any] = []

    def answer(self: Client, method: str, path: tuple[str, ...], body: Any = None, query: Any = None) -> Any:
        asked.append((method, "/".join(path), body))
        return {"name": "earlier", "about": {"transitions": 1234}} if path[0] == "demonstrations" else views.pop(0)

    monkeypatch.setattr(Client, "ask", answer)
    monkeypatch.setattr(demonstrations, "POLL_S", 0.0)
    monkeypatch.setenv("TMRLD_TOKEN", "secret")
    return views, asked


def test_what_a_run_has_driven_is_put_on_the_relays_shelf(
    capsys: pytest.CaptureFixture[str], views: tuple[list[Any], list[Any]]
) -> None:
    making = {**MADE, "state": "making"}
    views[0][:] = [{**making, "done": done} for done in (0.0, 0.04, 0.25, 0.3, 0.9)] + [MADE]
    assert main(["demonstration", "from-run", "demo", "earlier", "--last", "7", "--finished-only"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "25% of the samples are read",
        "90% of the samples are read",
        "1,234 transitions of 5 episodes of demo (2 more are not whole in its sample log any more)",
        'earlier is on the relay\'s shelf: a run learns from them with replay.demonstrations = ["earlier"]',
    ]
    body = {"name": "earlier", "replace": False, "first": None, "last": 7, "best_laps": None, "finished_only": True}
    assert views[1][0] == ("POST", "runs/demo/demonstrations", body)
    views[0].append(MADE)
    assert run(capsys, "demonstration", "from-run", "demo", "earlier", "--best-laps", "3", "--force")["missing"] == 2
    assert views[1][-2][2] == {**body, "replace": True, "last": None, "best_laps": 3, "finished_only": False}


def test_why_they_cannot_be_made_is_said(capsys: pytest.CaptureFixture[str], views: tuple[list[Any], list[Any]]) -> None:
    views[0].append({**MADE, "state": "failed", "detail": "choose fewer: --last 3"})
    assert run(capsys, "demonstration", "from-run", "demo", "earlier", status=1) == "tmrld: choose fewer: --last 3\n"
