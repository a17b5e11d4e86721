"""What `tmrld storage` asks of the API, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tmrld.cli import main
from tmrld.client import Client
from tmrld.commands.storage import size

GIB = 2**30
STORAGE = {
    "runs": [{"run": "demo", "log_bytes": 3 * GIB, "weights_bytes": 2**21, "checkpoints_bytes": 512, "total_bytes": 4 * GIB}],
    "database_bytes": 2**20,
    "shelf_bytes": 0,
    "leftovers_bytes": 7,
    "logs_bytes": 2048,
    "spool_bytes": 0,
    "cache_bytes": 0,
    "files_bytes": 0,
    "used_bytes": 5 * GIB,
    "quota_bytes": 100 * GIB,
    "log_quota_bytes": 20 * GIB,
    "free_bytes": 50 * GIB,
}
FREED = [
    {"run": "", "kind": "leftovers", "what": "relay/x.damaged", "size_bytes": 7},
    {"run": "demo", "kind": "weights", "what": "version 3", "size_bytes": 2**20},
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str, Any]]:
    """What was asked of the API; of a run called "tidy" nothing can go."""
    asked: list[tuple[str, str, Any]] = []

    def answer(self: Client, method: str, path: tuple[str, ...], body: Any = None, query: Any = None) -> Any:
        asked.append((method, "/".join(path), body))
        if method == "GET":
            return STORAGE
        items = [] if body["run"] == "tidy" else FREED
        return {"items": items, "freed_bytes": sum(each["size_bytes"] for each in items), "dry_run": body["dry_run"]}

    monkeypatch.setattr(Client, "ask", answer)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_API", "https://relay.example:7400")
    monkeypatch.setenv("TMRLD_TOKEN", "secret")
    return asked


def test_what_each_run_takes_is_listed_with_what_else_takes_room(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["storage"]) == 0
    _, demo, *others, _, last = capsys.readouterr().out.splitlines()
    assert demo.split() == ["demo", "3.0", "GiB", "2.0", "MiB", "512", "B", "4.0", "GiB"]
    assert [line.split("  ")[0] for line in others] == ["(database)", "(leftovers)", "(log files)"]
    assert last == "5.0 GiB of 100.0 GiB that all runs may take (relay.total_bytes); 50.0 GiB are free on the disk"
    assert main(["storage", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STORAGE
    assert asked == [("GET", "storage", None)] * 2


def test_cleaning_says_what_has_gone(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["storage", "clean"]) == 0
    _, leftover, weights, _, last = capsys.readouterr().out.splitlines()
    assert leftover.split() == ["–", "leftovers", "relay/x.damaged", "7", "B"]
    assert weights.split() == ["demo", "weights", "version", "3", "1.0", "MiB"]
    assert last == "1.0 MiB are free again"
    assert asked == [("POST", "storage/clean", {"run": None, "dry_run": False})]


def test_a_dry_run_of_one_run_says_what_would(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["storage", "clean", "demo", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("1.0 MiB would be free again\n")
    assert main(["storage", "clean", "demo", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == FREED
    assert asked == [("POST", "storage/clean", {"run": "demo", "dry_run": True})] * 2
    assert main(["storage", "clean", "tidy"]) == 0
    assert capsys.readouterr().out.strip() == "everything that is here is pinned or needed"


def test_sizes_are_written_for_people() -> None:
    assert [size(count) for count in (0, 1023, 1024, 2**20, 20 * GIB)] == ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "20.0 GiB"]
