"""Text from elsewhere on its way to a terminal or a log file: nothing in it moves the cursor, colours, or hides what was said."""

from __future__ import annotations

import re
from typing import Any

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control characters but tab and newline, marks that turn the direction of writing, what nobody sees, and what is no character."""


def printable(text: str) -> str:
    r"""The same text, with what a terminal would obey spelled out, as ``\x1b``."""
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def among_lines(text: str) -> str:
    """The same for a line among others: what comes after its first line is indented, so that it begins no line of its own."""
    return printable(text).replace("\n", "\n    ")


def all_printable(value: Any) -> Any:
    """JSON values with all their text printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [all_printable(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): all_printable(each) for key, each in value.items()}
    return value
