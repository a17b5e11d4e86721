"""What `tmrld checkpoint` asks of the API, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tmrld.cli import main
from tmrld.client import Client

BEST = {
    "update": 12000,
    "lineage": 1,
    "size_bytes": 3 * 2**20,
    "sha256": "5f" * 32,
    "created": 0.0,
    "best": True,
    "pinned": True,
    "damaged": False,
}
NEWEST = {**BEST, "update": 14000, "best": False, "pinned": False}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """What was asked of the API, which answers as if it had done it."""
    asked: list[tuple[str, str]] = []

    def answer(self: Client, method: str, path: tuple[str, ...], body: Any = None, query: Any = None) -> Any:
        asked.append((method, "/".join(path) + ("?fewer_samples" if query and query["fewer_samples"] else "")))
        return BEST if method == "POST" else {"items": [] if "new" in path else [NEWEST, BEST]}

    monkeypatch.setattr(Client, "ask", answer)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_API", "https://relay.example:7400")
    monkeypatch.setenv("TMRLD_TOKEN", "secret")
    return asked


def test_checkpoints_are_listed_with_why_they_are_kept(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "list", "demo"]) == 0
    _, newest, best = capsys.readouterr().out.splitlines()
    assert newest.split()[:5] == ["14,000", "–", "1", "3.0", "MiB"]
    assert best.split()[:6] == ["12,000", "best,", "pinned", "1", "3.0", "MiB"]
    assert main(["checkpoint", "list", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": [NEWEST, BEST]}
    assert asked == [("GET", "runs/demo/checkpoints")] * 2


def test_where_there_is_none_that_is_said(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "list", "new"]) == 0
    assert capsys.readouterr().out == "new has no checkpoint yet\n"


@pytest.mark.parametrize("verb", ["pin", "unpin"])
def test_a_checkpoint_is_kept_for_good_or_no_longer(asked: list[Any], verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", verb, "demo", "12000"]) == 0
    assert asked == [("POST", f"runs/demo/checkpoints/12000/{verb}")]
    assert capsys.readouterr().out == f"the checkpoint at update 12,000 is {verb}ned\n"
    assert main(["checkpoint", verb, "demo", "12000", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == BEST


@pytest.mark.parametrize(
    ("named", "update"), [("12,000", 12000), ("12_000", 12000), ("012000", 12000), ("best", 12000), ("latest", 14000)]
)
def test_a_checkpoint_is_named_as_the_list_shows_it(
    asked: list[Any], named: str, update: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoint", "pin", "demo", named]) == 0
    assert capsys.readouterr().out == f"the checkpoint at update {update:,} is pinned\n"
    assert main(["checkpoint", "resume", "demo", named]) == 0
    told = [path for method, path in asked if method == "POST"]
    assert told == [f"runs/demo/checkpoints/{update}/pin", f"runs/demo/checkpoints/{update}/resume"]


def test_what_names_no_checkpoint_is_told_what_does(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    for nonsense in ("newest", "1.5", "-3", ","):
        with pytest.raises(SystemExit):
            main(["checkpoint", "pin", "demo", "--", nonsense])
        assert "names no checkpoint: give the update at which it was taken, latest or best" in capsys.readouterr().err
    assert main(["checkpoint", "pin", "new", "best"]) == 1
    assert "new has no best checkpoint yet: `tmrld checkpoint list new`" in capsys.readouterr().err
    assert all(method == "GET" for method, _ in asked)


def test_a_run_is_led_back_to_a_checkpoint(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "resume", "demo", "12000"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(
        "demo goes on from its checkpoint at update 12,000, in lineage 1, as soon as it runs and has a trainer"
    )
    assert "hidden, not deleted" in told
    assert main(["checkpoint", "resume", "demo", "12000", "--fewer-samples", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == BEST
    asked_for = "runs/demo/checkpoints/12000/resume"
    assert asked == [("POST", asked_for), ("POST", f"{asked_for}?fewer_samples")]
