"""A virtual XBox 360 gamepad, made by vgamepad: through ViGEmBus on Windows, through uinput on Linux.

The right trigger is the gas, the left one the brake, and the left stick steers; B begins the race anew, A closes what a finish
shows.  Triggers are told in 255 steps and the stick in 32767, as a real pad tells them.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tmrld.envs.trackmania.controls import PRESS_S
from tmrld.errors import GameError

_A = 0x1000
_B = 0x2000
"""XINPUT_GAMEPAD_A and _B of XInput.h, which vgamepad takes on every system."""
PLUG_IN_S = 1.0
"""How long system and game get to notice a new pad: what it tells before would be lost on them.  A guess, on the safe side."""


class Gamepad:
    """A `Device`.  It is plugged in while this object lives; the one that is gone is unplugged by the system."""

    def __init__(self, pause: Callable[[float], object] = time.sleep, plug_in_s: float = PLUG_IN_S) -> None:
        """Returns ``plug_in_s`` after it is plugged in; ``pause`` waits for so many seconds, or less when there is a hurry.

        Raises GameError where there can be no pad.
        """
        with _in_words():
            import vgamepad  # on Windows, this looks for the driver

            self._pad: Any = vgamepad.VX360Gamepad()
        self._pause = pause
        pause(plug_in_s)

    def hold(self, gas: float, brake: float, steer: float) -> None:
        with _in_words():
            self._pad.right_trigger_float(value_float=gas)
            self._pad.left_trigger_float(value_float=brake)
            self._pad.left_joystick_float(x_value_float=steer, y_value_float=0.0)
            self._pad.update()

    def neutral(self) -> None:
        with _in_words():
            self._pad.reset()
            self._pad.update()

    def reset_race(self) -> None:
        self._press(_B)

    def close_pop_up(self) -> None:
        self._press(_A)

    def close(self) -> None:
        if self._pad is not None:
            self.neutral()
            self._pad = None  # unplugs it

    def _press(self, button: int) -> None:
        with _in_words():
            self._pad.reset()
            self._pad.press_button(button)
            self._pad.update()
        self._pause(PRESS_S)
        self.neutral()


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Whatever goes wrong, vgamepad's own assertions among it, becomes a GameError that says what to do."""
    try:
        yield
    except Exception as error:  # on Windows RuntimeError and AssertionError, on Linux OSError and libevdev's own
        raise GameError(
            f"there is no virtual gamepad ({type(error).__name__}: {error}): {_advice(error)}; "
            "or set environment.trackmania.controls to 'keyboard'"
        ) from error


def _advice(error: Exception) -> str:
    """What to do about it."""
    if isinstance(error, ModuleNotFoundError):
        return 'pip install "tmrld[game]"'
    if sys.platform == "win32":
        return "install the driver ViGEmBus, whose installer comes with vgamepad (pip install --force-reinstall vgamepad)"
    if "libevdev" in str(error):
        return "install libevdev, with: sudo apt install libevdev2"
    if isinstance(error, PermissionError):
        return "let yourself write to /dev/uinput, with: sudo setfacl -m u:$USER:rw /dev/uinput"
    return "load the kernel's module for it, with: sudo modprobe uinput"
