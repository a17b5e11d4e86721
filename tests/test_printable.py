"""What other machines say cannot move a terminal's cursor, nor forge a line."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tmrld import logs
from tmrld.printable import all_printable, among_lines, printable
from tmrld.progress import Progress
from tmrld.terminal import Display

EVIL = "\x1b]0;owned\x07\x1b[2Jfine\r2026-01-01 INFO forged\x9b1m\u202eback"


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    assert printable("a\x1b[31mred\x07\r\x00\x7f\x9b") == r"a\x1b[31mred\x07\r\x00\x7f\x9b"
    assert printable("abc\u202edef\u2066\ufeff") == r"abc\u202edef\u2066\ufeff"
    assert printable("a\u061cb\u200bc\u2060d\U000e0041") == r"a\u061cb\u200bc\u2060d\U000e0041"
    assert printable("Grüße, 漢字 🏁\ttab\nline") == "Grüße, 漢字 🏁\ttab\nline"
    assert all_printable({"a\x1b": ["\x1b", 1, None, {"b": "\x07"}]}) == {r"a\x1b": [r"\x1b", 1, None, {"b": r"\x07"}]}


@given(st.text())
@example(EVIL)
def test_nothing_is_left_that_is_not_shown(text: str) -> None:
    assert all(character.isprintable() or character in "\t\n" or ord(character) > 0x9F for character in printable(text))
    assert printable(printable(text)) == printable(text)


@given(st.text())
def test_what_comes_among_lines_begins_no_line_of_its_own(text: str) -> None:
    assert all(line.startswith("    ") for line in among_lines(text).split("\n")[1:])


def test_a_log_line_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    root, ours = logging.getLogger(), logging.getLogger("tmrld")
    before = root.level, list(root.handlers), ours.level
    try:
        logs.set_up("info")
        ours.warning("turned away %s: %s", "10.0.0.1", f"{EVIL}\n2026-01-01 00:00:00 INFO tmrld: all is well")
    finally:
        root.level, root.handlers[:], ours.level = before[0], before[1], before[2]
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\r" not in err
    assert [line[:4] for line in err.splitlines()[1:]] == ["    "]
    assert "turned away 10.0.0.1" in err


def test_the_terminal_of_up_obeys_no_node(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(live=False, output=sys.stdout) as display:
        display.update(Progress(problem=EVIL, recovered=EVIL, profile=EVIL), last=True)
    assert "\x1b]" not in (out := capsys.readouterr().out)
    assert r"\x1b]0;owned\x07" in out
