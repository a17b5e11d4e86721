"""What tests of the doctor's look at the game share: a plugin that tells what it is told to, records, and diagnoses by their "
"code."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tmrld.doctor import game
from tmrld.doctor.diagnosis import Diagnosis
from tmrld.envs.trackmania.telemetry import Record, pack

PATIENCE_S = 30.0


def by_code(found: Iterable[Diagnosis]) -> dict[str, Diagnosis]:
    """What is not well, by its code; each must say what to do, and its code must be known."""
    codes: dict[str, Diagnosis] = {}
    for each in found:
        assert each.text
        assert not each.text.endswith(".")
        if each.state == "ok":
            assert not each.code
            continue
        assert each.code in game.CODES, each
        assert each.mend, each
        codes[each.code] = each
    return codes


def until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s"
        time.sleep(0.005)


STILL = Record(0.0, 0.0, 10.0, 5.0, 20.0, 0.0, 0.0, 0.0, False, 1.0, 900.0, 0.0)
"""A car that stands at the start."""


def record(**values: Any) -> Record:
    """`STILL`, but for what is said."""
    return replace(STILL, **values)


def told(
    seconds: float = 3.0, rate: float = 60.0, first_s: float = 0.5, **values: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Records as the doctor keeps them: so many per second, from ``first_s`` on; a value may be an array, of as many as there "
    "are."""
    times = first_s + np.arange(round(seconds * rate)) / rate
    names = ("speed", "distance", "x", "y", "z", "steer", "gas", "braking", "finished", "gear", "rpm")
    columns = [np.broadcast_to(values.get(name, getattr(STILL, name)), times.shape) for name in names]
    return np.column_stack([*columns, times]).astype(np.float64)


class Plugin:
    """Listens as TMRL's plugin does: it takes one client, and tells it what ``tell`` returns, so many times per second.

    None is told nothing of; b"" hangs up.
    """

    def __init__(self, tell: Callable[[], bytes | None], rate: float = 200.0) -> None:
        self._tell = tell
        self._pause_s = 1.0 / rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            with client:
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not self._ended.is_set():
            data = self._tell()
            if data == b"":
                return
            try:
                if data is not None:
                    client.sendall(data)
            except OSError:
                return
            time.sleep(self._pause_s)


def telling(tell: Callable[[], Record]) -> Plugin:
    """A plugin whose every record is what ``tell`` returns."""
    return Plugin(lambda: pack(tell()))


def free_port() -> int:
    """One on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
