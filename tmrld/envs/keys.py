"""The keys to drive with, wherever a window of ours hears them: the arrows, and W A S D on an American keyboard.

Keys are numbered by their place, as USB keyboards number them (HID usage tables, page 7), which is also how SDL does it.
"""

from __future__ import annotations

from collections.abc import Set

PLACES = {"gas": {82, 26}, "brake": {81, 22}, "left": {80, 4}, "right": {79, 7}}
"""Up and W, Down and S, Left and A, Right and D."""


def driven(down: Set[int]) -> frozenset[str]:
    """What the keys that are down drive: names of `PLACES`."""
    return frozenset(what for what, places in PLACES.items() if places & down)
