"""Gamepads without a kernel that makes them: what a program does with /dev/uinput, as a test sees it.

`uinput_shim.c` is built with gcc and put before the program's libraries; the events come out of a FIFO.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("uinput_shim.c")
EVENT = struct.Struct("llHHi")
"""`struct input_event` of linux/input.h: seconds, microseconds, type, code, value."""

EV_KEY, EV_ABS = 1, 3
ABS_X, ABS_Y, ABS_Z, ABS_RZ = 0, 1, 2, 5
"""Left stick to the right and down, left trigger, right trigger."""
BTN_SOUTH, BTN_EAST = 0x130, 0x131
"""A and B of an XBox pad.  All of these are from linux/input-event-codes.h."""


def build(folder: Path) -> Path:
    """The library, in that folder."""
    library = folder / "uinput_shim.so"
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True, timeout=60
    )
    return library


def environment(library: Path, events: Path, setup: Path | None = None, error: int | None = None) -> dict[str, str]:
    """What a program's environment must hold: its pads tell ``events``; with ``error`` it cannot have any."""
    variables = {"LD_PRELOAD": str(library), "UINPUT_SHIM_EVENTS": str(events)}
    if setup is not None:
        variables["UINPUT_SHIM_SETUP"] = str(setup)
    if error is not None:
        variables["UINPUT_SHIM_ERRNO"] = str(error)
    return variables


@pytest.fixture(scope="session")
def uinput_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built once."""
    if shutil.which("gcc") is None:
        advice = "there is no gcc to build a stand-in for /dev/uinput: apt-get install gcc libc6-dev"
        if os.environ.get("CI") == "true":
            pytest.fail(advice)
        pytest.skip(advice)
    return build(tmp_path_factory.mktemp("uinput"))


class PadState:
    """What is held, after the events so far: bytes go in, in pieces of any size."""

    def __init__(self) -> None:
        self.axes: defaultdict[int, int] = defaultdict(int)
        self.buttons: set[int] = set()
        self.changes: list[tuple[float, int, int, int]] = []
        """When it was told, as time.time() tells time, and kind, code and value: of each event that has changed something."""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take these in."""
        self._rest += data
        whole = len(self._rest) // EVENT.size * EVENT.size
        for seconds, microseconds, kind, code, value in EVENT.iter_unpack(self._rest[:whole]):
            before = self.axes[code] if kind == EV_ABS else int(code in self.buttons)
            if kind in (EV_ABS, EV_KEY) and before != value:
                self.changes.append((seconds + microseconds / 1e6, kind, code, value))
            if kind == EV_ABS:
                self.axes[code] = value
            elif kind == EV_KEY and value:
                self.buttons.add(code)
            elif kind == EV_KEY:
                self.buttons.discard(code)
        self._rest = self._rest[whole:]

    @property
    def is_neutral(self) -> bool:
        """Whether nothing is held."""
        return not self.buttons and not any(self.axes[axis] for axis in (ABS_X, ABS_Z, ABS_RZ))


def new_fifo(path: Path) -> int:
    """Its reading end, which waits for nobody."""
    if sys.platform == "win32":
        pytest.skip("Windows has no FIFOs")
    os.mkfifo(path)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


class Pad(PadState):
    """The reading end of a FIFO to which a program's pad tells its events."""

    def __init__(self, fifo: Path) -> None:
        super().__init__()
        self._descriptor = new_fifo(fifo)
        self.plugged = False
        """Whether a program's pad is there; known from its first event on."""

    def look(self) -> None:
        """Take in what was told until now."""
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:  # there is a pad, and it is silent
                self.plugged = True
                return
            if not data:  # nobody has it open for writing
                self.plugged = False
                return
            self.feed(data)

    def await_that(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        """Return when it holds; fails the test when it does not in the end."""
        deadline = time.monotonic() + within_s
        while True:
            self.look()
            if condition():
                return
            assert time.monotonic() < deadline, f"axes {dict(self.axes)}, buttons {self.buttons}, plugged {self.plugged}"
            time.sleep(0.001)

    def close(self) -> None:
        """Closing again is an error."""
        os.close(self._descriptor)
