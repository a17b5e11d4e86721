"""Which relay a command asks, and which token it sends there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tmrld.cli import main
from tmrld.client import Client
from tmrld.storage.layout import Layout


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """Where commands connected to, and with which token; this machine has a relay with a token of its own."""
    made: list[tuple[str, str]] = []

    def connect(self: Client, url: str, token: str) -> None:
        made.append((url, token))

    def answer(self: Client, *_: Any, **__: Any) -> Any:
        return {"items": []}

    monkeypatch.setattr(Client, "__init__", connect)
    monkeypatch.setattr(Client, "ask", answer)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMRLD_DATA", str(tmp_path / "data"))
    Layout(tmp_path / "data").control_token.parent.mkdir(parents=True)
    Layout(tmp_path / "data").control_token.write_text("local secret")
    return made


def test_the_relay_of_this_machine_is_asked_with_its_own_token(tokens: list[tuple[str, str]]) -> None:
    assert main(["run", "list"]) == 0
    assert main(["run", "list", "--api", "http://localhost:7444"]) == 0
    assert tokens == [("http://127.0.0.1:7400", "local secret"), ("http://localhost:7444", "local secret")]


def test_another_machine_never_gets_it(tokens: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["run", "list", "--api", "https://relay.example"]) == 0
    monkeypatch.setenv("TMRLD_API", "https://relay.example")
    assert main(["run", "list"]) == 0
    assert main(["run", "list", "--token", "mine"]) == 0
    assert [token for _, token in tokens] == ["", "", "mine"]
