"""The newest log lines of every node."""

from __future__ import annotations

from tmrld.relay.log_tails import KEPT_BYTES, KEPT_LINES, KEPT_NODES, MAX_TEXT, MAX_WORD, LogTails


def line(text: str) -> list[object]:
    return [0.5, "INFO", "tmrld", text]


def test_a_tail_keeps_the_newest_lines() -> None:
    tails = LogTails()
    for number in range(KEPT_LINES + 5):
        tails.add("w1", "", "worker", [line(str(number))], 1.0)
    kept = tails.of_node("w1", 10_000) or []
    assert (len(kept), kept[0].text, kept[-1].text) == (KEPT_LINES, "5", str(KEPT_LINES + 4))
    assert [each.text for each in tails.of_node("w1", 2) or []] == [str(KEPT_LINES + 3), str(KEPT_LINES + 4)]


def test_the_node_that_was_silent_longest_is_forgotten() -> None:
    tails = LogTails()
    for number in range(KEPT_NODES):
        tails.add(f"w{number}", "", "worker", [line("hello")], 1.0)
    tails.add("w0", "", "worker", [line("still here")], 2.0)
    tails.add("new", "", "worker", [line("hello")], 3.0)
    assert tails.of_node("w1", 10) is None
    assert len(tails.of_node("w0", 10) or []) == 2


def test_a_run_has_the_lines_from_when_its_nodes_worked_for_it() -> None:
    tails = LogTails()
    tails.add("w1", "a", "worker", [line("one")], 1.0)
    tails.add("t1", "a", "trainer", [line("two")], 1.0)
    tails.add("w1", "b", "worker", [line("of another run")], 2.0)
    tails.add("w1", "a", "worker", [line("three")], 3.0)
    assert [(each.source, each.text) for each in tails.of_run("a", 10)] == [
        ("w1: worker", "one"),
        ("t1: trainer", "two"),
        ("w1: worker", "three"),
    ]
    assert [each.text for each in tails.of_run("a", 1)] == ["three"]


def test_what_is_no_line_is_left_out_and_long_ones_are_cut() -> None:
    tails = LogTails()
    added = tails.add("w1", "", "worker", ["text", [1, 2], 5, line("x" * (2 * MAX_TEXT))], 1.0)
    assert len(added) == 1
    assert len(added[0].text) < MAX_TEXT + 10


def test_what_is_no_word_is_cut_to_one_and_long_lines_are_forgotten_sooner() -> None:
    tails = LogTails()
    for _ in range(KEPT_LINES):
        tails.add("w1", "", "s" * 200_000, [[0.5, "x" * 200_000, "tmrld", "\U0001f3c1" * MAX_TEXT]], 1.0)
    kept = tails.of_node("w1", KEPT_LINES) or []
    assert {(len(each.level), len(each.source)) for each in kept} == {(MAX_WORD, MAX_WORD)}
    assert KEPT_BYTES // 2 < sum(4 * len(each.text) for each in kept) <= KEPT_BYTES


def test_of_very_many_lines_at_once_the_last_ones_are_taken() -> None:
    added = LogTails().add("w1", "", "worker", [line(str(number)) for number in range(KEPT_LINES + 5)], 1.0)
    assert (len(added), added[0].text) == (KEPT_LINES, "5")


def test_a_renamed_node_keeps_its_lines() -> None:
    tails = LogTails()
    tails.add("old", "", "worker", [line("hello")], 1.0)
    tails.rename("old", "new")
    assert tails.of_node("old", 10) is None
    assert [each.text for each in tails.of_node("new", 10) or []] == ["hello"]
