"""Every trouble with the game that is known leads to a diagnosis that a test brings about, or says why it cannot happen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tmrld.doctor import game, known

DOCTOR = Path(game.__file__).parent
PARTS = ("installation", "telemetry", "window", "pictures", "controls", "replays", "course", "game")


def texts(file: Path) -> Iterator[str]:
    """All texts in a file of Python."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def said(file: Path) -> set[str]:
    """The codes of the diagnoses that a module makes."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "code":
            found |= {each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "told" and node.args:
            found |= {each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant) and each.value != "VIGEM"}
    return {code for code in found if isinstance(code, str)}


def test_the_codes_are_those_that_are_said() -> None:
    assert {code for part in PARTS for code in said(DOCTOR / f"{part}.py")} == game.CODES


def test_every_code_is_brought_about_by_a_test() -> None:
    here = Path(__file__)
    tested = {text for file in here.parent.glob("test_game*.py") if file != here for text in texts(file)}
    assert tested >= game.CODES


def test_every_known_trouble_with_the_game_has_its_diagnosis_or_a_reason() -> None:
    for each in known.GAME:
        assert bool(each.codes) != bool(each.never), each.symptom
        assert set(each.codes) <= game.CODES, each.symptom


def test_every_code_is_there_for_a_trouble_that_somebody_had() -> None:
    assert {code for each in known.GAME for code in each.codes} == game.CODES
