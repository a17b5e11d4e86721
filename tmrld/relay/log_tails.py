"""The newest log lines of every node, and of the relay itself.

Bounded: `KEPT_LINES` of each of at most `KEPT_NODES` nodes; of more, the one that was silent longest goes.  Times are the relay's,
at receipt.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tmrld.node import LogLineView

KEPT_LINES = 1000
KEPT_NODES = 200
MAX_TEXT = 8000
"""Characters of a line that are kept: a traceback's both ends."""
OWN = "relay"
"""The name under which the relay's own lines are kept."""


@dataclass(frozen=True, slots=True)
class _Kept:
    number: int
    run: str
    line: LogLineView


class LogTails:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, deque[_Kept]] = OrderedDict()
        self._number = 0

    def add(self, node: str, run: str, source: str, lines: Iterable[Any], now: float) -> list[LogLineView]:
        """Keep lines of a node that works for a run ("" for none), as `LogLines` has them.  Returns those that can be read."""
        tail = self._tails.setdefault(node, deque(maxlen=KEPT_LINES))
        self._tails.move_to_end(node)
        while len(self._tails) > KEPT_NODES:
            self._tails.popitem(last=False)
        added = [LogLineView(now, str(line[1]), source, _cut(str(line[3]))) for line in lines if _is_line(line)]
        for line in added:
            self._number += 1
            tail.append(_Kept(self._number, run, line))
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


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT // 2]}\n…\n{text[-MAX_TEXT // 2 :]}"
