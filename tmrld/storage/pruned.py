"""What must be known of records that are no longer there: which they were, and what they counted for.

A resent copy of a pruned record must still be recognised, or it would enter training twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmrld.errors import Damaged
from tmrld.storage.files import read_manifest, write_manifest
from tmrld.storage.records import Key
from tmrld.storage.sample_index import Row

_KIND = "tmrld pruned records"
_VERSION = 1

Range = tuple[int, int]
"""First and last of a row of numbers without a gap."""

Transitions = dict[tuple[str, str, str], int]
"""How many transitions there are of each (worker, incarnation, purpose)."""


@dataclass(frozen=True)
class Pruned:
    """All records before the offset ``before`` are gone.

    ``numbers`` holds, per (worker, incarnation), which numbers they had, as sorted ranges; ``transitions`` what
    they counted for.
    """

    before: int = 0
    numbers: dict[tuple[str, str], tuple[Range, ...]] = field(default_factory=dict)
    transitions: Transitions = field(default_factory=dict)

    def has(self, key: Key) -> bool:
        """Whether the record with this key is among them."""
        worker, incarnation, number = key
        ranges = self.numbers.get((worker, incarnation), ())
        at = bisect_right(ranges, number, key=lambda found: found[0])
        return at > 0 and ranges[at - 1][1] >= number

    def plus(self, rows: Iterable[Row], before: int) -> Pruned:
        """The same with more records, and up to a higher offset."""
        rows = list(rows)
        fresh: dict[tuple[str, str], list[Range]] = {}
        for row in rows:
            fresh.setdefault((row.worker, row.incarnation), []).append((row.number, row.number))
        numbers = dict(self.numbers)
        for stream, ranges in fresh.items():
            numbers[stream] = joined([*numbers.get(stream, ()), *ranges])
        return Pruned(before, numbers, with_steps(self.transitions, rows))

    def save(self, path: Path) -> None:
        """Write it, durably."""
        content = {
            "before": self.before,
            "numbers": [[*stream, [list(pair) for pair in ranges]] for stream, ranges in sorted(self.numbers.items())],
            "transitions": [[*counted, total] for counted, total in sorted(self.transitions.items())],
        }
        write_manifest(path, _KIND, _VERSION, content)

    @classmethod
    def load(cls, path: Path) -> Pruned:
        """What `save` wrote; nothing where there is no such file.  Raises Damaged."""
        return cls._from_plain(read_manifest(path, _KIND, _VERSION), path) if path.exists() else cls()

    @classmethod
    def _from_plain(cls, content: dict[str, Any], path: Path) -> Pruned:
        try:
            return cls(
                int(content["before"]),
                {
                    (str(worker), str(incarnation)): tuple((int(low), int(high)) for low, high in ranges)
                    for worker, incarnation, ranges in content["numbers"]
                },
                {
                    (str(worker), str(incarnation), str(purpose)): int(total)
                    for worker, incarnation, purpose, total in content["transitions"]
                },
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{path} lacks what it should say of pruned records. Restore it from a backup.") from error


def with_steps(transitions: Transitions, rows: Iterable[Row]) -> Transitions:
    """The same counts and those of more records."""
    total = dict(transitions)
    for row in rows:
        counted = row.worker, row.incarnation, row.purpose
        total[counted] = total.get(counted, 0) + row.steps
    return total


def joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges in order, with those that touch or overlap made one."""
    result: list[Range] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)
