"""A gamepad of Linux as a file: ``/dev/input/event…``, or a FIFO into which a program writes what such a file tells.

Both are a stream of ``struct input_event`` (linux/input.h): time, type, code and value, 24 bytes on 64-bit systems.  What they
say holds from the next report event on.  Axes and buttons are those of an XBox 360 pad.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tmrld.envs.standin.inputs import NOTHING_HELD, Held, Press
from tmrld.errors import BadInput

EVENT = struct.Struct("=qqHHi")
"""Seconds, microseconds, type, code, value."""
EV_SYN, EV_KEY, EV_ABS = 0, 1, 3
SYN_REPORT, SYN_DROPPED = 0, 3
ABS_X, ABS_Z, ABS_RZ = 0, 2, 5
"""The left stick from left to right, the left and the right trigger."""
BTN_SOUTH, BTN_EAST = 304, 305
"""A and B."""
BUTTONS = {BTN_SOUTH: Press.CONFIRM, BTN_EAST: Press.GIVE_UP}
READ_BYTES = 64 * EVENT.size
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # Windows has none


@dataclass(frozen=True)
class Axis:
    """What an axis can say, and what it says before it says anything."""

    low: int
    high: int
    value: int = 0

    def share(self, value: int) -> float:
        """0 to 1 along its range."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def from_middle(self, value: int) -> float:
        """-1 to 1.  Where its range reaches one further to the left than to the right, 0 is the middle all the same."""
        middle = (self.low + self.high + 1) // 2
        return min(max((value - middle) / (self.high - middle), -1.0), 1.0)


PAD: Mapping[int, Axis] = {ABS_X: Axis(-32768, 32767), ABS_Z: Axis(0, 255), ABS_RZ: Axis(0, 255)}
"""The axes of the pads that vgamepad makes: they hold where a file does not tell its own."""


class Decoder:
    """Turns the bytes of such a stream, cut anywhere, into what is held and pressed."""

    def __init__(self, axes: Mapping[int, Axis] = PAD) -> None:
        self._axes = axes
        self._rest = b""
        self._values = {code: axis.value for code, axis in axes.items()}
        self._pressed: list[Press] = []
        self._down: set[int] = set()
        self.held = self._report()
        """As the last report has it."""
        self.lost = False
        """Whether the kernel has dropped events: then nothing is told any more, and the file must be opened anew."""

    def feed(self, data: bytes) -> list[Press]:
        """Take these bytes; returns what was pressed in the reports that they complete."""
        data = self._rest + data
        end = len(data) - len(data) % EVENT.size
        self._rest = data[end:]
        presses: list[Press] = []
        for _, _, kind, code, value in EVENT.iter_unpack(data[:end]):
            if kind == EV_SYN and code == SYN_DROPPED:
                self.lost = True
            elif self.lost:
                break
            elif kind == EV_SYN and code == SYN_REPORT:
                self.held = self._report()
                presses += self._pressed
                self._pressed = []
            elif kind == EV_ABS and code in self._axes:
                self._values[code] = value
            elif kind == EV_KEY and code in BUTTONS:
                self._turn(code, down=value != 0)
        return presses

    def _turn(self, button: int, *, down: bool) -> None:
        """A button held for long says again that it is down: that is no press."""
        if not down:
            self._down.discard(button)
        elif button not in self._down:
            self._down.add(button)
            self._pressed.append(BUTTONS[button])

    def _report(self) -> Held:
        axes, values = self._axes, self._values
        return Held(
            gas=axes[ABS_RZ].share(values[ABS_RZ]),
            brake=axes[ABS_Z].share(values[ABS_Z]),
            steer=axes[ABS_X].from_middle(values[ABS_X]),
        )


class EvdevPad:
    """The pad at a path, read without waiting.  Unplugged, or with nobody who writes into the FIFO, it holds nothing."""

    def __init__(self, path: Path) -> None:
        """Raises BadInput where there is nothing that can be read."""
        self._path = path
        if sys.platform != "linux":
            raise BadInput(
                "--gamepad reads the files that gamepads have on Linux: here, plug one in, and it is found by itself"
            )
        self._descriptor: int | None = None
        self._decoder: Decoder | None = None
        try:
            self._open()
        except OSError as error:
            raise BadInput(
                f"the gamepad {path} cannot be read ({error.strerror}): expected a device that you may read, such as "
                "/dev/input/event5, or a FIFO (make one with mkfifo)"
            ) from error

    @property
    def held(self) -> Held:
        """What it holds now."""
        return self._decoder.held if self._decoder is not None else NOTHING_HELD

    def presses(self) -> list[Press]:
        """Read what has come since the last call; returns what was pressed."""
        presses: list[Press] = []
        if self._descriptor is None:
            with contextlib.suppress(OSError):  # still unplugged
                self._open()
        for data in self._arrived():
            if self._decoder is None:
                self._decoder = Decoder()
            presses += self._decoder.feed(data)
        if self._decoder is not None and self._decoder.lost:
            self.close()
        return presses

    def close(self) -> None:
        """Let go of the file; closing again does nothing."""
        self._decoder = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _arrived(self) -> Iterator[bytes]:
        while self._descriptor is not None:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
                self.close()
            if not data:
                self._decoder = None
                return
            yield data

    def _open(self) -> None:
        """Raises OSError."""
        kind = self._path.stat().st_mode
        if not (stat.S_ISCHR(kind) or stat.S_ISFIFO(kind)):
            raise OSError(0, "it is neither a device nor a FIFO")
        self._descriptor = os.open(self._path, os.O_RDONLY | _NONBLOCK)
        axes = {code: _axis(self._descriptor, code) or axis for code, axis in PAD.items()}
        self._decoder = Decoder(axes)


_ABSINFO = struct.Struct("=6i")
"""Value, minimum, maximum, fuzz, flat, resolution (``struct input_absinfo``)."""
_EVIOCGABS = 0x80184540


def _axis(descriptor: int, code: int) -> Axis | None:
    """What the kernel knows of an axis; None where this is no input device, or has no such axis."""
    if sys.platform != "linux":
        return None
    import fcntl

    answer = bytearray(_ABSINFO.size)
    try:
        fcntl.ioctl(descriptor, _EVIOCGABS + code, answer)
    except OSError:
        return None
    value, low, high, *_ = _ABSINFO.unpack(answer)
    return Axis(low, high, value) if low < high else None
