"""Memory with an end: what is kept of what others say is bounded in number, and in bytes.

What a few bytes on the wire become here may be a hundred times larger: an empty map is one of them there.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def size_of(value: Any) -> int:
    """About how many bytes JSON values take in memory, with all that is in them."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        size += sum(size_of(key) + size_of(element) for key, element in value.items())
    elif isinstance(value, list | tuple):
        size += sum(map(size_of, value))
    return size


class Newest(Generic[T]):
    """The newest things, at most ``most`` of them, and with ``most_bytes`` together; the very newest is kept however large it is."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: deque[tuple[T, int]] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[T]:
        """The oldest first."""
        return (thing for thing, _ in self._kept)

    def add(self, thing: T, size_bytes: int) -> T | None:
        """Keep one more; returns the newest of those that had to go for it, if any."""
        self._kept.append((thing, size_bytes))
        self.size_bytes += size_bytes
        gone: T | None = None
        while len(self._kept) > self._most or (self.size_bytes > self._most_bytes and len(self._kept) > 1):
            gone, size = self._kept.popleft()
            self.size_bytes -= size
        return gone
