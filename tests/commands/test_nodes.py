"""``tmrld node assign``: what the relay is asked."""

from __future__ import annotations

from typing import Any

import pytest

from tmrld.cli import main
from tmrld.client import Client


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["demo"], {"run": "demo", "take_over": False}),
        (["demo", "--take-over"], {"run": "demo", "take_over": True}),
        (["auto"], {"run": None, "take_over": False}),
    ],
)
def test_a_trainer_is_assigned_and_takes_over_only_when_told_to(
    monkeypatch: pytest.MonkeyPatch, words: list[str], body: dict[str, Any]
) -> None:
    asked: list[Any] = []

    def answer(self: Client, method: str, path: tuple[str, ...], body: Any = None, query: Any = None) -> Any:
        asked.append((method, path, body))
        return {}

    monkeypatch.setattr(Client, "ask", answer)
    monkeypatch.setenv("TMRLD_API", "https://relay.example:7400")
    monkeypatch.setenv("TMRLD_TOKEN", "secret")
    assert main(["node", "assign", "gpu", *words]) == 0
    assert asked == [("PUT", ("nodes", "gpu", "assignment"), body)]
