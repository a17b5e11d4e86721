"""What `tmrld run` asks of the API, and what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.cli import main
from tmrld.client import Client
from tmrld.commands.runs import difference
from tmrld.configuration import checked, patched

RUN = {
    "name": "demo",
    "state": "queued",
    "queued_position": 1,
    "update": 1234,
    "updates_per_s": 5.0,
    "transitions": 10,
    "episodes": 2,
    "best_lap_s": 21.5,
    "trainer": None,
    "workers": ["w1", "w2"],
    "problem": None,
}
EDIT = {"revision": 2, "changes": [{"path": "algorithm.gamma", "before": 0.98, "after": 0.5, "applies": "live"}]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What was asked of the API, which answers as if it had done it."""
    asked: list[tuple[Any, ...]] = []

    def answer(self: Client, method: str, path: tuple[str, ...], body: Any = None, query: Any = None) -> Any:
        asked.append((method, "/".join(path), body, query or {}))
        if path == ("runs",) and method == "GET":
            return {"items": [RUN]}
        if path[-1] == "config":
            return EDIT if method == "PATCH" else {"revision": 1, "config": {"algorithm": {"gamma": 0.98, "tau": 0.1}}}
        return EDIT if path[-1] == "rollback" else RUN

    monkeypatch.setattr(Client, "ask", answer)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_API", "https://relay.example:7400")
    monkeypatch.setenv("TMRLD_TOKEN", "secret")
    return asked


def test_runs_are_listed_for_people_and_for_scripts(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("demo", "queued (1)", "1,234", "21.50 s", "w1, w2"))
    assert main(["run", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == [RUN]


def test_what_is_wrong_with_a_run_is_listed_and_shown(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {
        "state": "running",
        "queued_position": None,
        "created": 0.0,
        "revision": 1,
        "last_return": None,
        "weights_version": None,
    }
    problem = "trainer desk: the training cannot begin: the replay memory needs 900 GiB"
    for key, value in {**facts, "config": checked({}), "problem": problem}.items():
        monkeypatch.setitem(RUN, key, value)
    assert main(["run", "list"]) == 0
    listed = capsys.readouterr().out
    assert "running, with a problem" in listed
    assert f"demo has a problem: {problem}" in listed
    assert main(["run", "show", "demo"]) == 0
    assert problem in capsys.readouterr().out


def test_a_run_is_made_with_what_the_flags_say(asked: list[Any]) -> None:
    assert (
        main(["run", "new", "x", "--preset", "demo", "--set", "algorithm.gamma=0.5", "--set", "network.hidden=[8]", "--queue"])
        == 0
    )
    config = {"algorithm": {"gamma": 0.5}, "network": {"hidden": [8]}}
    assert asked == [("POST", "runs", {"name": "x", "preset": "demo", "config": config, "start": "queue"}, {})]


def test_a_new_run_that_waits_for_its_owner_says_how_it_starts(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RUN, "state", "stopped")
    monkeypatch.setitem(RUN, "queued_position", None)
    assert main(["run", "new", "demo"]) == 0
    assert capsys.readouterr().out == "demo is stopped: `tmrld run start demo` starts it\n"
    assert main(["run", "stop", "demo"]) == 0
    assert capsys.readouterr().out == "demo is stopped\n"


@pytest.mark.parametrize(
    ("works_for", "said"),
    [
        ({"local-trainer": "demo"}, "second is started and waits for a trainer: local-trainer works for demo"),
        ({"local-trainer": "demo", "other": ""}, "second is running"),
        ({"local-trainer": "second"}, "second is running"),
        ({}, "second is started and waits for a trainer: none is connected"),
    ],
)
def test_a_run_that_no_trainer_takes_says_what_it_waits_for(
    works_for: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [{"name": name, "role": "trainer", "connected": True, "run": run} for name, run in works_for.items()]
    nodes.append({"name": "w", "role": "worker", "connected": True, "run": ""})
    run = {**RUN, "name": "second", "state": "running", "queued_position": None}

    def answer(self: Client, method: str, path: tuple[str, ...], body: Any = None, query: Any = None) -> Any:
        return {"items": nodes} if path == ("nodes",) else run

    monkeypatch.setattr(Client, "ask", answer)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "new", "second", "--start", "--api", "http://127.0.0.1:9"]) == 0
    assert capsys.readouterr().out == f"{said}\n"


def test_a_run_shows_the_files_that_it_names_and_what_it_waits_for(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "training": {"start_from": "bundled-default"},
        "collection": {"policy": "expert"},
        "replay": {"demonstrations": ["laps", "more"], "demonstration_share": 0.25},
    }
    facts = {"state": "running", "created": 0.0, "revision": 1, "last_return": None, "weights_version": None}
    for key, value in {**facts, "config": checked(files)}.items():
        monkeypatch.setitem(RUN, key, value)
    assert main(["run", "show", "demo"]) == 0
    shown = capsys.readouterr().out
    for words in ("bundled-default", "expert", "laps, more: 25% of each batch", "none yet: `tmrld node list`"):
        assert words in shown


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "stop", "queue"])
def test_a_run_is_steered(asked: list[Any], verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", verb, "demo"]) == 0
    assert asked == [("POST", f"runs/demo/{verb}", None, {})]
    assert capsys.readouterr().out == "demo is queued, number 1 in the queue\n"


def test_a_field_is_set_against_the_newest_revision(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "config", "set", "demo", "algorithm.gamma=0.5", "environment.track=long", "--dry-run"]) == 0
    patch = {"algorithm": {"gamma": 0.5}, "environment": {"track": "long"}}
    assert asked[-1] == ("PATCH", "runs/demo/config", patch, {"revision": 1, "dry_run": True})
    shown = capsys.readouterr().out
    assert "algorithm.gamma: 0.98 → 0.5 (at once)" in shown
    assert "dry run" in shown


def test_what_is_no_field_and_value_is_said(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "config", "set", "demo", "gamma"]) == 2
    assert "'gamma' is not KEY=VALUE" in capsys.readouterr().err


def test_only_what_was_edited_is_sent(asked: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "editor.py"
    script.write_text("import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text().replace('0.98', '0.5'))")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    assert main(["run", "config", "edit", "demo"]) == 0
    assert asked[-1] == ("PATCH", "runs/demo/config", {"algorithm": {"gamma": 0.5}}, {"revision": 1})


def test_an_edit_that_is_not_json_changes_nothing(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "editor.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('{')")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    assert main(["run", "config", "edit", "demo"]) == 2
    assert "what you saved is not JSON" in capsys.readouterr().err
    assert [method for method, *_ in asked] == ["GET"]


DOCUMENTS = st.recursive(
    st.one_of(st.integers(), st.text(max_size=2), st.lists(st.integers(), max_size=2)),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), DOCUMENTS, max_size=3)


@given(OBJECTS, OBJECTS)
def test_the_difference_of_two_documents_makes_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert patched(before, difference(before, after)) == after
