"""What a driver does: pedals and wheel, which are held, and presses, which happen once.  From any keyboard, by its keys' places.

Keys are numbered as in `tmrld.envs.keys`.  TMRL's keys on Linux are the arrows and BackSpace, on Windows W, A, S, D and Delete: all
of them are accepted everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from tmrld.envs.keys import driven


class Press(Enum):
    """What happens once."""

    GIVE_UP = auto()
    CONFIRM = auto()
    MENU = auto()


PRESSES = {42: Press.GIVE_UP, 76: Press.GIVE_UP, 40: Press.CONFIRM, 88: Press.CONFIRM, 41: Press.MENU}
"""BackSpace and Delete; both Enter keys; Escape."""


@dataclass(frozen=True)
class Held:
    """What is held: gas and brake 0 to 1, steer -1 (left) to 1."""

    gas: float = 0.0
    brake: float = 0.0
    steer: float = 0.0


NOTHING_HELD = Held()


def strongest(*devices: Held) -> Held:
    """What several devices hold together: of each pedal and of the wheel, what the one holds that moves it furthest."""
    return Held(
        max((each.gas for each in devices), default=0.0),
        max((each.brake for each in devices), default=0.0),
        max((each.steer for each in devices), key=abs, default=0.0),
    )


class Keys:
    """The keys of a keyboard that are down."""

    def __init__(self) -> None:
        self._down: set[int] = set()

    def press(self, key: int) -> Press | None:
        """A key goes down; what happens once by that, if anything.  Held down, it does not happen again."""
        if key in self._down:
            return None
        self._down.add(key)
        return PRESSES.get(key)

    def release(self, key: int) -> None:
        """A key goes up."""
        self._down.discard(key)

    def release_all(self) -> None:
        """The keyboard belongs to another window now."""
        self._down.clear()

    @property
    def held(self) -> Held:
        """What the keys that are down hold.  Left and right together are neither."""
        what = driven(self._down)
        return Held(float("gas" in what), float("brake" in what), float("right" in what) - float("left" in what))
