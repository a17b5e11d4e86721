"""How long to wait before an engine is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """Doubles from ``first_s`` to ``cap_s`` with each crash in a row; a life of ``healthy_s`` makes up for all before it."""

    first_s: float
    cap_s: float
    healthy_s: float
    crashes: int = 0
    """Crashes in a row."""

    def after(self, lifetime_s: float) -> float:
        """Count a crash after a life of so many seconds; returns the seconds to wait."""
        if lifetime_s >= self.healthy_s:
            self.crashes = 0
        self.crashes += 1
        return float(min(self.cap_s, self.first_s * 2.0 ** min(self.crashes - 1, 60)))
