"""`SECURITY.md`: every promise has tests, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
POLICY = ROOT / "SECURITY.md"

OF_THE_DESIGN = (
    "always TLS",
    "its own key and certificate",
    "works once, and runs out",
    "a credential of that machine's own",
    "before the first byte that carries a secret",
    "a renewed certificate keeps the pin, and dates do not matter",
    "asks for a token on loopback too",
    "a one-time address signs a browser in once",
    "needs TLS or trusted proxies, or the start is refused",
    "256-bit random",
    "stored hashed",
    "constant time",
    "revocable",
    "have a scope",
    "rate-limited",
    "nothing secret is ever logged",
    "HttpOnly and SameSite=Strict",
    "origin is checked on WebSockets and unsafe methods",
    "Content-Security-Policy is strict",
    "no third-party requests",
    "strict parsers with size limits",
    "admits numbers and arrays and nothing else",
    "checked before they are allotted",
)
"""What the design promises of security, each in words of its promise in the table."""

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def promises(text: str) -> dict[str, list[tuple[str, str]]]:
    """File and name of each test by the promise that it stands beside; rows are those of tables with the head *promise*."""
    found: dict[str, list[tuple[str, str]]] = {}
    in_table = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            in_table = False
        elif cells[0] == "promise":
            in_table = True
        elif in_table and not cells[0].startswith("---"):
            found[cells[0]] = _TEST.findall(cells[1]) if len(cells) > 1 else []
    return found


def faults(text: str) -> list[str]:
    """What is wrong with a policy."""
    found = promises(text)
    wrong = [
        f"nothing is promised of {words!r}" for words in OF_THE_DESIGN if not any(words.lower() in p.lower() for p in found)
    ]
    for promise, tests in found.items():
        if not tests:
            wrong.append(f"no test stands beside {promise!r}")
        wrong += [f"{file}::{name} does not exist" for file, name in tests if name not in functions_of(file)]
    return wrong


def functions_of(file: str) -> set[str]:
    path = ROOT / file
    if not path.is_file():
        return set()
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_promise_has_tests_that_exist() -> None:
    text = POLICY.read_text("utf-8")
    assert len(promises(text)) >= 30
    assert faults(text) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ((r"`tests/control/test_gate.py::test_a_name_that_could_be_rebound_is_refused`", "none"), "no test stands beside"),
        (("test_a_name_that_could_be_rebound_is_refused", "test_of_nothing"), "test_of_nothing does not exist"),
        (("tests/control/test_gate.py", "tests/control/test_gates.py"), "test_gates.py::"),
        (("always TLS", "mostly TLS"), "nothing is promised of 'always TLS'"),
    ],
)
def test_a_promise_without_a_test_is_found(change: tuple[str, str], fault: str) -> None:
    wrong = faults(POLICY.read_text("utf-8").replace(*change))
    assert any(fault in line for line in wrong)


def test_readers_are_led_to_it() -> None:
    assert "](SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "`SECURITY.md`" in (ROOT / "docs" / "security.md").read_text("utf-8")
    assert '"SECURITY.md"' in (ROOT / "pyproject.toml").read_text("utf-8")
