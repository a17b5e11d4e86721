"""The keyboard as a device to drive with: gas, brake and steering are on or off.

What a finish shows is closed with Enter.  TMRL clicks on its button with the mouse, which would take the pointer away from whoever
sits there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol

from tmrld.envs.trackmania.controls import PRESS_S, Key, keys_for

NOTHING: frozenset[Key] = frozenset()


class Keys(Protocol):
    """What a system lets us press; GameError when it does so no more."""

    def press(self, key: Key) -> None:
        """Press this key; it stays down."""

    def release(self, key: Key) -> None:
        """Let go of this key, whoever pressed it."""

    def flush(self) -> None:
        """Returns when the system has it all."""

    def watch(self, touched: Callable[[int, bool], None], ended: Callable[[Exception], None]) -> None:
        """From now on, tell of every key that others press or release, if it is one with which the game is driven.

        ``touched`` is called from a thread of its own, with what tells the key apart and whether it went down; so is ``ended``,
        with the reason, when no more will be told.  Raises GameError where nothing can be watched.
        """

    def is_down(self, key: int) -> bool:
        """Whether a key that `watch` has told of is down now; False when the system does not say."""

    def close(self) -> None:
        """Let go of the system."""


def system_keys() -> Keys:
    """Those of this system.  Raises GameError where keys cannot be pressed."""
    if sys.platform == "win32":
        from tmrld.envs.trackmania.keys_win32 import Win32Keys

        return Win32Keys()
    from tmrld.envs.trackmania.keys_x11 import X11Keys

    return X11Keys()


class Keyboard:
    """A `Device`.  Only what changes is pressed or released."""

    def __init__(self, keys: Keys, pause: Callable[[float], object] = time.sleep) -> None:
        """Lets go of every key that it may press: one who was here before may have died on it.

        ``pause`` waits for that many seconds, or less when there is a hurry.
        """
        self._keys = keys
        self._pause = pause
        self._held = frozenset(Key)
        self.neutral()

    def hold(self, gas: float, brake: float, steer: float) -> None:
        self._hold(keys_for(gas, brake, steer))

    def neutral(self) -> None:
        self._hold(NOTHING)

    def reset_race(self) -> None:
        self._press(Key.RESET)

    def close_pop_up(self) -> None:
        self._press(Key.CONFIRM)

    def close(self) -> None:
        self.neutral()
        self._keys.close()

    def _press(self, key: Key) -> None:
        self._hold(frozenset({key}))
        self._pause(PRESS_S)
        self.neutral()

    def _hold(self, wanted: frozenset[Key]) -> None:
        """Releases come first, so that left and right are never down together."""
        if wanted == self._held:
            return
        for key in Key:
            if key in self._held - wanted:
                self._keys.release(key)
        for key in Key:
            if key in wanted - self._held:
                self._keys.press(key)
        self._keys.flush()
        self._held = wanted
