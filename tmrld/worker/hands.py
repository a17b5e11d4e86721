"""What a person's keys mean to the car: pedals at once, and a wheel that takes its time.  Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

DRIVING: Final = ("gas", "brake", "left", "right")
"""What is driven with, as `Hands.move` knows it."""
TURN_S = 0.25
"""From straight ahead to full lock, while a key is held."""
RETURN_S = 0.12
"""From full lock to straight ahead, when none is, or the other one."""


class Hands:
    """Two hands on one wheel; they remember how far it is turned."""

    def __init__(self) -> None:
        self._steer = 0.0

    def move(self, held: Collection[str], seconds: float) -> tuple[float, float, float]:
        """Gas, brake and steer after keys were held for so long: 0 or 1, and -1 to 1 (+1 is right)."""
        wanted = float(("right" in held) - ("left" in held))
        way = wanted - self._steer
        back = self._steer * way < 0.0
        reach = seconds / (RETURN_S if back else TURN_S)
        if back:
            reach = min(reach, abs(self._steer))  # further than straight ahead it goes with the next move
        self._steer += max(-reach, min(reach, way))
        return float("gas" in held), float("brake" in held), self._steer
