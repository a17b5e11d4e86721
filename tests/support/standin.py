"""`tmrld sim` as a process of its own, and what a test does with it: look at its window, hear its telemetry, hold its gamepad."""

from __future__ import annotations

import json
import math
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from Xlib import X
from Xlib import display as xlib
from Xlib.ext import xtest
from Xlib.protocol import event as xevent

from tmrld.envs.sim.track import Track
from tmrld.envs.standin.evdev import ABS_RZ, ABS_X, ABS_Z, BTN_EAST, BTN_SOUTH, EV_ABS, EV_KEY, EV_SYN, EVENT, SYN_REPORT
from tmrld.envs.trackmania.telemetry import RECORD_BYTES, Record, parse

PATIENCE_S = 60.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s"
        time.sleep(0.01)


class Hearing:
    """A client of the telemetry port."""

    def __init__(self, port: int) -> None:
        self.line = socket.create_connection(("127.0.0.1", port), PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.line.close()

    def next(self) -> Record:
        """The record that follows the last one."""
        data = b""
        while len(data) < RECORD_BYTES:
            more = self.line.recv(RECORD_BYTES - len(data))
            assert more, "the stand-in has hung up"
            data += more
        return parse(data, time.perf_counter())

    def until(self, condition: Callable[[Record], bool], what: str) -> Record:
        """The first record from now on for which that is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(record := self.next()):
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s; the last record is {record}"
        return record


class Pad:
    """A gamepad that is a FIFO; made before the stand-in is, and opened when that runs."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._file = -1

    def plug_in(self) -> None:
        """Begin to write."""
        self._file = os.open(self.path, os.O_WRONLY)

    def unplug(self) -> None:
        """Go away, with whatever was held; again does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def hold(self, gas: float = 0.0, brake: float = 0.0, steer: float = 0.0) -> None:
        """Hold these."""
        self._report(
            (EV_ABS, ABS_RZ, round(gas * 255)), (EV_ABS, ABS_Z, round(brake * 255)), (EV_ABS, ABS_X, round(steer * 32767))
        )

    def tap(self, button: str) -> None:
        """Press A or B, and let go of it."""
        code = {"A": BTN_SOUTH, "B": BTN_EAST}[button]
        self._report((EV_KEY, code, 1))
        self._report((EV_KEY, code, 0))

    def _report(self, *events: tuple[int, int, int]) -> None:
        os.write(self._file, b"".join(EVENT.pack(0, 0, *each) for each in (*events, (EV_SYN, SYN_REPORT, 0))))


class StandIn:
    """The program, on the display that DISPLAY names."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "tmrld", "sim", "--json", "--telemetry-port", "0", "--replay-port", "0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._display: Any = None

    def await_window(self) -> None:
        """Return when it is ready."""
        self.ready = self.told()
        self._display = xlib.Display()
        self.window = self._display.create_resource_object("window", self.ready["window"])

    def told(self) -> dict[str, Any]:
        """The next line that it prints."""
        line = self._lines.get(timeout=PATIENCE_S)
        assert line, f"it ended instead of telling something: {self.process.stderr and self.process.stderr.read()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def hear(self) -> Hearing:
        """Listen to its telemetry."""
        return Hearing(self.ready["telemetry_port"])

    def focus(self) -> None:
        """Keys go to it from now on."""
        self.window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self._display.sync()

    def picture(self) -> NDArray[np.uint8]:
        """What its window shows: (height, width, 4) in blue, green, red, nothing."""
        size = self.window.get_geometry()
        image = self.window.get_image(0, 0, size.width, size.height, X.ZPixmap, 0xFFFFFFFF)
        return np.frombuffer(image.data, np.uint8).reshape(size.height, size.width, 4)

    def resize(self, width: int, height: int) -> None:
        """As another program may."""
        self.window.configure(width=width, height=height)
        self._display.sync()

    def click(self, across: float, down: float) -> None:
        """Press the left button of the mouse there, as shares of the window's sides."""
        size = self.window.get_geometry()
        place = self.window.translate_coords(self._display.screen().root, 0, 0)
        x, y = round(size.width * across) - place.x, round(size.height * down) - place.y
        xtest.fake_input(self._display, X.MotionNotify, x=x, y=y)
        for kind in (X.ButtonPress, X.ButtonRelease):
            xtest.fake_input(self._display, kind, 1)
        self._display.sync()

    def ask_to_close(self) -> None:
        """As a window manager does when somebody clicks on the cross."""
        protocols, delete = (self._display.intern_atom(name) for name in ("WM_PROTOCOLS", "WM_DELETE_WINDOW"))
        message = xevent.ClientMessage(window=self.window, client_type=protocols, data=(32, [delete, 0, 0, 0, 0]))
        self.window.send_event(message)
        self._display.sync()

    def call_for_replay(self) -> None:
        """Connect and close."""
        socket.create_connection(("127.0.0.1", self.ready["replay_port"]), PATIENCE_S).close()

    def close(self) -> None:
        """End it, however it is."""
        if self._display is not None:
            self._display.close()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")


@contextmanager
def standing_in(*flags: str) -> Iterator[StandIn]:
    """A stand-in with these flags, on ports of its own."""
    program = StandIn(*flags)
    try:
        program.await_window()
        yield program
    finally:
        program.close()


def is_at_start(record: Record) -> bool:
    """Whether the car stands where every track begins."""
    return (record.x, record.z, record.speed, record.finished) == (0.0, 0.0, 0.0, False)


def drive_along(track: Track, hearing: Hearing, pad: Pad, metres: float = math.inf) -> Record:
    """Follow a road with the gamepad, to the finish or until so many metres lie behind.

    On a computer too busy for that the car leaves the road, and begins the race anew.
    """
    line = track.line[:, [0, 2]]
    before = hearing.next()
    heading = 0.0

    def steered(record: Record) -> bool:
        nonlocal before, heading
        if math.hypot(record.x - before.x, record.z - before.z) > 0.3:
            heading = math.atan2(record.x - before.x, record.z - before.z)
            before = record
        apart_m = np.linalg.norm(line - (record.x, record.z), axis=1)
        nearest = int(apart_m.argmin())
        if apart_m[nearest] > 15.0 and not record.finished:
            pad.hold()
            pad.tap("B")
            before, heading = hearing.until(is_at_start, "B resets"), 0.0
        x, z = line[min(nearest + 100, len(line) - 1)]
        turn = (math.atan2(x - record.x, z - record.z) - heading + math.pi) % math.tau - math.pi
        pad.hold(gas=0.6 * (record.speed < 14.0), steer=min(max(2.0 * turn, -1.0), 1.0))
        return record.finished or 0.1 * nearest > metres

    return hearing.until(steered, "the car gets there")
