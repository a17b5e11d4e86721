"""Saying a thing once, not each time that it is found out again."""

from __future__ import annotations

import re


class Once:
    """Knows what was said."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def is_new(self, sentence: str) -> bool:
        """Whether it was not said yet; a number in it that has changed, such as of seconds, is nothing new."""
        words = re.sub(r"\d[\d.]*", "", sentence)
        if words in self._said:
            return False
        self._said.add(words)
        return True

    def forget(self) -> None:
        """What comes next is news."""
        self._said.clear()
