"""What was said, is not said again."""

from __future__ import annotations

from tmrld.worker.once import Once


def test_a_sentence_is_new_once_whatever_its_numbers_until_all_is_forgotten() -> None:
    once = Once()
    assert once.is_new("silent for 1.5 s: close the menu")
    assert not once.is_new("silent for 12 s: close the menu")
    assert once.is_new("the connection was refused")
    assert not once.is_new("silent for 3 s: close the menu")
    once.forget()
    assert once.is_new("silent for 4 s: close the menu")
