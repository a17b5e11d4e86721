"""The newest log lines of every node, and of the relay itself.

Bounded: `KEPT_LINES` of each of at most `KEPT_NODES` nodes, with `KEPT_BYTES`; of more nodes, the one that was silent longest goes.
Times are the relay's, at receipt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tmrld.bounded import Newest, size_of
from tmrld.node import LogLineView

KEPT_LINES = 1000
KEPT_BYTES = 4 * 2**20
"""Of one node: a thousand lines as they mostly are take a twentieth."""
KEPT_NODES = 200
MAX_TEXT = 8000
"""Characters of a line that are kept: a traceback's both ends."""
MAX_WORD = 64
"""The same of its level and source."""
OWN = "relay"
"""The name under which the relay's own lines are kept."""
_LINE_BYTES = 300
"""What a line takes in memory besides its words."""


@dataclass(frozen=True, slots=True)
class _Kept:
    number: int
    run: str
    line: LogLineView


class LogTails:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, Newest[_Kept]] = OrderedDict()
        self._number = 0

    def add(self, node: str, run: str, source: str, lines: Sequence[Any], now: float) -> list[LogLineView]:
        """Keep lines of a node that works for a run ("" for none), as `LogLines` has them.  Returns those that can be read.

        Of more lines at once than are kept at all, the first ones are left out.
        """
        tail = self._tails.setdefault(node, Newest(KEPT_LINES, KEPT_BYTES))
        self._tails.move_to_end(node)
        while len(self._tails) > KEPT_NODES:
            self._tails.popitem(last=False)
        source = source[:MAX_WORD]
        newest = lines[-KEPT_LINES:]
        added = [LogLineView(now, str(line[1])[:MAX_WORD], source, cut(str(line[3]))) for line in newest if _is_line(line)]
        for line in added:
            self._number += 1
            tail.add(_Kept(self._number, run, line), _LINE_BYTES + size_of([line.level, line.text]))
        return added

    def of_node(self, node: str, limit: int) -> list[LogLineView] | None:
        """The newest lines of a node, oldest first; None for one that never said anything."""
        tail = self._tails.get(node)
        return None if tail is None else [kept.line for kept in list(tail)[-limit:]]

    def of_run(self, run: str, limit: int) -> list[LogLineView]:
        """The newest lines of all nodes, from when they worked for this run, oldest first.  The source begins with the node."""
        found = sorted(
            ((kept.number, node, kept.line) for node, tail in self._tails.items() for kept in tail if kept.run == run),
            key=lambda item: item[0],
        )
        return [LogLineView(line.time, line.level, f"{node}: {line.source}", line.text) for _, node, line in found[-limit:]]

    def rename(self, node: str, new: str) -> None:
        """A node is called otherwise from now on."""
        if node in self._tails:
            self._tails[new] = self._tails.pop(node)


def _is_line(line: Any) -> bool:
    return isinstance(line, Sequence) and not isinstance(line, str | bytes) and len(line) == 4


def cut(text: str) -> str:
    """No more of a text than `MAX_TEXT` characters, from both its ends."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT // 2]}\n…\n{text[-MAX_TEXT // 2 :]}"
