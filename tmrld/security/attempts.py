"""Slowing down whoever tries tokens that are none.  Pure: the time comes in as an argument."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque


class Attempts:
    """Counts failures per source: after ``limit`` of them within ``window_s`` seconds the source has to wait.

    Remembers ``most_sources`` sources at most; beyond that it forgets the one that failed longest ago.  ``now`` is monotonic
    seconds, of the same clock in all calls.
    """

    def __init__(self, limit: int = 10, window_s: float = 60.0, most_sources: int = 4096) -> None:
        self._limit = limit
        self._window_s = window_s
        self._most_sources = most_sources
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, source: str, now: float) -> float:
        """How long this source has to wait before its next attempt is looked at; 0 if it may try now."""
        failures = self._failures.get(source)
        if failures is None or len(failures) < self._limit:
            return 0.0
        return max(0.0, failures[0] + self._window_s - now)

    def failed(self, source: str, now: float) -> None:
        """Note a failure of this source."""
        self._failures.setdefault(source, deque(maxlen=self._limit)).append(now)
        self._failures.move_to_end(source)
        if len(self._failures) > self._most_sources:
            self._failures.popitem(last=False)


def source_of(address: str) -> str:
    """Whom to hold responsible for an IP address: itself, or for IPv6 the network of 64 bits that one customer usually gets.

    Anything else is returned as it is.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
