"""What is pressed for an action, and when a person has taken over: pure; the devices lie beside this file."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Protocol

PRESS_S = 0.1
"""How long a key or button is pressed that begins the race anew, or closes a window.  As in TMRL."""
STEER_KEY = 0.5
"""The keyboard steers when the action steers by more than this.  As in TMRL."""
ASK_S = 0.5
"""The system is not asked more often than this whether a person still holds a key."""


class Key(Enum):
    """What the keyboard can do in the game; which key of the keyboard that is, is up to the system."""

    GAS = "gas"
    BRAKE = "brake"
    LEFT = "left"
    RIGHT = "right"
    RESET = "reset"
    CONFIRM = "confirm"


class Device(Protocol):
    """Gamepad or keyboard.  Its methods raise GameError when it is lost."""

    def hold(self, gas: float, brake: float, steer: float) -> None:
        """Hold these from now on: gas and brake 0 to 1, steer -1 to 1."""

    def neutral(self) -> None:
        """Let go of everything."""

    def reset_race(self) -> None:
        """Press what begins the race anew, for `PRESS_S`, and nothing else; returns when it is released."""

    def close_pop_up(self) -> None:
        """Press what closes the window that a finish shows, likewise."""

    def close(self) -> None:
        """Let go of everything and of the device."""


def limited(gas: float, brake: float, steer: float) -> tuple[float, float, float]:
    """As a device takes it: gas and brake 0 to 1, steer -1 to 1, and 0 for what is not a number."""

    def between(least: float, value: float) -> float:
        return 0.0 if math.isnan(value) else min(max(value, least), 1.0)

    return between(0.0, gas), between(0.0, brake), between(-1.0, steer)


def keys_for(gas: float, brake: float, steer: float) -> frozenset[Key]:
    """The keys that an action holds down.  As in TMRL: any gas, any brake, and more than half of the way to a side."""
    wanted = {
        Key.GAS: gas > 0,
        Key.BRAKE: brake > 0,
        Key.LEFT: steer < -STEER_KEY,
        Key.RIGHT: steer > STEER_KEY,
    }
    return frozenset(key for key, held in wanted.items() if held)


class Takeover:
    """Whether a person drives: from a key press on, until none of the keys has been touched or held for ``hand_back_s``.

    Not every release is told: not that of a key that is let go of while the screen is locked.  So the system is asked, too.
    Times are those of one monotonic clock, in seconds; keys are whatever tells them apart.
    """

    def __init__(self, hand_back_s: float, is_down: Callable[[int], bool]) -> None:
        """``is_down`` asks the system about a key."""
        self.drives = False
        self.look_at = math.inf
        """When to look next, unless something happens."""
        self._hand_back_s = hand_back_s
        self._is_down = is_down
        self._down: set[int] = set()

    def press(self, key: int, now: float) -> None:
        """A person has pressed this key."""
        self._down.add(key)
        self.drives = True
        self._wait(now)

    def release(self, key: int, now: float) -> None:
        """A person has let go of this key; means nothing if its press was not told."""
        if key in self._down:
            self._down.remove(key)
            self._wait(now)

    def look(self, now: float) -> bool:
        """Whether the person has just handed the controls back."""
        if now < self.look_at:
            return False
        self._down = {key for key in self._down if self._is_down(key)}
        self.drives = bool(self._down)
        self._wait(now)
        return not self.drives

    def _wait(self, now: float) -> None:
        if self._down:
            self.look_at = now + max(self._hand_back_s, ASK_S)
        else:
            self.look_at = now + self._hand_back_s if self.drives else math.inf
