"""What the plugin tells on its port: whether it answers, whether its records make sense, and how often they come.

`tmrld.envs.trackmania.telemetry` leaves out what is no record; here that is evidence, too, so the bytes are taken as they come.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import Field

from tmrld.doctor.arrays import Told
from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.installation import INSTALL, LOAD, RELOAD, TELLING, TMRLS
from tmrld.doctor.patient import Evidence
from tmrld.envs.trackmania.telemetry import ANSWER_S, RECORD_BYTES, parse
from tmrld.errors import GameError

AREA = "plugin"
MOST_BYTES = 1 << 22
"""So much is listened to at most: some minutes of the game at 400 frames per second."""
CALLS, AGAIN_S = 5, 0.2
"""So often a plugin is called that hangs up without a word, and so long it is left alone in between."""
LOOK_S = 0.1
"""How often it is looked whether to go on."""
HEAD_BYTES = 32
MOST_PIECES = 64
SILENT_S = 1.0
"""A silence of this length, when records came before, is a stop."""
MOST_NONSENSE = 0.02
"""A larger share of records that are none is another program's, or another plugin's."""
MOVED_M = 0.01
"""From one record to the next; a car that stands trembles by less."""
MOVING_M_S = 2.0
"""Slower movements do not tell in which unit a speed is told."""
FASTEST_M_S = 300.0
"""A movement faster than this is a reset; 1000 km/h is the most that the game lets a car drive."""
SPAN_S = 0.25
"""Positions are compared over this long: times of arrival jitter."""

SPEED, X, Y, Z, GAS, FINISHED, RPM, TIME = 0, 2, 3, 4, 6, 8, 10, 11
"""Columns of `Telemetry.told`."""

Answer = Literal["no host", "refused", "unreachable", "connected"]
_RECORD = struct.Struct("<11f")


class Telemetry(Evidence):
    """What came of a call to the plugin at ``host``:``port``.

    ``detail`` is what the system said of a call that failed, or of a connection that broke.  ``told`` are the records, ``came_bytes``
    how much came, ``head`` its first bytes, ``pieces`` in which sizes it came.  ``called_s`` is when the call was answered, and
    ``listened_s`` how long it was listened to; times count from when the doctor began to look.  ``hung_up`` is whether the other
    side ended it.  ``holders`` are other programs here that are connected to the port, ``listener`` is the one that listens there:
    "name (number)".
    """

    host: str
    port: int
    answer: Answer
    detail: str = ""
    told: Told
    came_bytes: int = 0
    head: bytes = b""
    pieces: list[int] = Field([])
    called_s: float = 0.0
    listened_s: float = 0.0
    hung_up: bool = False
    holders: list[str] = Field([])
    listener: str = ""

    def moves(self) -> NDArray[np.float64]:
        """The times of the records at which the car's place had changed since the one before: (n,)."""
        changed = (np.abs(np.diff(self.told[:, X : Z + 1], axis=0)) > MOVED_M).any(axis=1)
        moves: NDArray[np.float64] = self.told[1:, TIME][changed]
        return moves


# Looking


class Listening:
    """A call to the plugin, which is listened to by a thread of its own until `heard` is asked.

    A plugin that hangs up before it has told anything is called again, a few times: one that has just lost another listener does so.
    """

    def __init__(self, host: str, port: int, began: float) -> None:
        """Returns when it is known whether the call is answered.  Times count from ``began``, as `time.perf_counter` tells time."""
        self._host, self._port, self._began = host, port, began
        self._answer: Answer = "connected"
        self._detail = ""
        self._data = bytearray()
        self._pieces: list[tuple[int, float]] = []
        self._ended = threading.Event()
        self.hung_up = False
        """Whether the other side has ended it for good."""
        self._thread: threading.Thread | None = None
        self._over_at: float | None = None
        line = self._call() or self._call_again()
        self._called_at = time.perf_counter()
        if line is not None:
            self._thread = threading.Thread(target=self._listen, args=(line,), name="listen to the plugin", daemon=True)
            self._thread.start()
        self._listener, self._holders = who_has(port) if is_here(host) else ("", [])

    @property
    def answered(self) -> bool:
        """Whether the call was."""
        return self._thread is not None

    @property
    def listened_s(self) -> float:
        """For how many seconds it was listened to by now."""
        return (self._over_at or time.perf_counter()) - self._called_at if self.answered else 0.0

    def heard(self) -> Telemetry:
        """Hang up; what was heard until now."""
        listened_s = self.listened_s
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        return Telemetry(
            host=self._host,
            port=self._port,
            answer=self._answer,
            detail=self._detail,
            told=self._records(),
            came_bytes=len(self._data),
            head=bytes(self._data[:HEAD_BYTES]),
            pieces=[size for size, _ in self._pieces[:MOST_PIECES]],
            called_s=self._called_at - self._began,
            listened_s=listened_s,
            hung_up=self.hung_up,
            holders=self._holders,
            listener=self._listener,
        )

    def _call(self) -> socket.socket | None:
        self._answer, self._detail = "connected", ""
        try:
            line = socket.create_connection((self._host, self._port), ANSWER_S)
        except (socket.gaierror, UnicodeError) as error:
            self._answer, self._detail = "no host", getattr(error, "strerror", None) or "it is no name of a host"
        except ConnectionRefusedError:
            self._answer = "refused"
        except OSError as error:
            self._answer, self._detail = "unreachable", error.strerror or "timed out"
        else:
            line.settimeout(LOOK_S)
            return line
        return None

    def _call_again(self) -> socket.socket | None:
        """If nobody listens there: a plugin may just begin to listen anew."""
        if self._answer != "refused":
            return None
        time.sleep(AGAIN_S)
        return self._call()

    def _listen(self, first: socket.socket) -> None:
        """Thread: until it is ended here, or there for good."""
        line: socket.socket | None = first
        broke = False
        for call in range(CALLS):
            if call:
                said, line = self._detail, self._call()
                self._answer, self._detail = "connected", self._detail or said  # the first call was answered
            if line is not None:
                with line:
                    broke = self._read(line)
            if self._data or self._ended.wait(AGAIN_S):
                break
        self.hung_up, self._over_at = broke, time.perf_counter()

    def _read(self, line: socket.socket) -> bool:
        """Read until it is ended; whether the other side did so."""
        while not self._ended.is_set() and len(self._data) < MOST_BYTES:
            try:
                data = line.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                self._detail = error.strerror or "the connection broke"
                return True
            if not data:
                return True
            self._pieces.append((len(data), time.perf_counter() - self._began))
            self._data += data
        return False

    def _records(self) -> NDArray[np.float64]:
        """Each with the time at which its last byte came."""
        count = len(self._data) // RECORD_BYTES
        told = np.zeros((count, TIME + 1))
        told[:, :TIME] = np.frombuffer(bytes(self._data[: count * RECORD_BYTES]), "<f4").reshape(count, TIME)
        ends = np.cumsum([size for size, _ in self._pieces])
        times = np.array([when for _, when in self._pieces])
        told[:, TIME] = times[np.searchsorted(ends, RECORD_BYTES * np.arange(1, count + 1))] if count else 0.0
        return told


def who_has(port: int) -> tuple[str, list[str]]:
    """Who listens at a port of this machine, and which other programs are connected to it, as far as the system tells."""
    listener, holders = "", []
    with contextlib.suppress(psutil.Error, OSError):
        for line in psutil.net_connections("tcp"):
            if line.pid is None or not line.laddr:
                continue
            if line.status == psutil.CONN_LISTEN and line.laddr.port == port:
                listener = _named(line.pid)
            elif line.raddr and line.raddr.port == port and line.pid != os.getpid() and line.status == psutil.CONN_ESTABLISHED:
                holders.append(_named(line.pid))
    return listener, sorted(set(holders))


def _named(number: int) -> str:
    try:
        return f"{psutil.Process(number).name()} ({number})"
    except psutil.Error:
        return f"process {number}"


def is_here(host: str) -> bool:
    """Whether that host is this machine, by its own name or number."""
    return host == "localhost" or host.startswith("127.") or host == "::1"


# Judging

CODES = frozenset(
    {
        "plugin-no-host",
        "plugin-port-closed",
        "plugin-unreachable",
        "plugin-hangs-up",
        "plugin-held",
        "plugin-silent",
        "plugin-stops",
        "plugin-another-program",
        "plugin-nonsense",
        "telemetry-frozen",
        "telemetry-zero",
        "telemetry-slow",
        "telemetry-too-slow",
        "speed-unit",
        "race-finished",
    }
)


def judge_telemetry(seen: Telemetry, *, time_step_s: float, speed_unit: str, picture_moves: bool) -> Iterator[Diagnosis]:
    """``picture_moves`` says that the game's pictures differed from one to the next meanwhile."""
    where = f"{seen.host}:{seen.port}"
    if seen.answer != "connected":
        yield _judge_call(seen, where)
    elif not seen.came_bytes:
        yield _judge_silence(seen, where)
    elif (senseless := _judge_sense(seen, where)) is not None:
        yield senseless
    else:
        yield from _judge_records(seen, where, time_step_s, speed_unit, picture_moves=picture_moves)


def talks(seen: Telemetry) -> bool:
    """Whether records came that are some."""
    return len(seen.told) > 0 and _nonsense(seen.told)[0] <= MOST_NONSENSE


def _judge_call(seen: Telemetry, where: str) -> Diagnosis:
    if seen.answer == "no host":
        return wrong(
            AREA,
            "connection",
            f"there is no host {seen.host!r} ({seen.detail}), where the plugin should listen",
            'set trackmania.telemetry_host to where the game runs; "127.0.0.1" is this machine',
            code="plugin-no-host",
        )
    if seen.answer == "refused":
        return wrong(
            AREA,
            "connection",
            f"nothing listens at {where}: the plugin is not loaded, or the game does not run",
            f"start the game, then {LOAD} ({' or '.join(TELLING)}); where there is none, `{INSTALL}`",
            code="plugin-port-closed",
        )
    return wrong(
        AREA,
        "connection",
        f"{where}, where the plugin should listen, does not answer ({seen.detail})",
        "look whether that machine runs, and whether a firewall stands between; where the game runs on this machine, set "
        'trackmania.telemetry_host = "127.0.0.1"',
        code="plugin-unreachable",
    )


def _judge_silence(seen: Telemetry, where: str) -> Diagnosis:
    if seen.holders:
        return wrong(
            AREA,
            "records",
            f"the plugin at {where} tells us nothing, and {', '.join(seen.holders)} listens to it: {TMRLS} tells one program "
            "at a time",
            "end that program (another tmrld, or TMRL), then look again",
            code="plugin-held",
        )
    if seen.hung_up:
        return wrong(
            AREA,
            "records",
            f"{where} takes the call and hangs up at once ({seen.detail or 'without a word'})",
            f"{RELOAD}; if it stays so, another program has this port: choose another one in the plugin's settings and in "
            "trackmania.telemetry_port",
            code="plugin-hangs-up",
        )
    return wrong(
        AREA,
        "records",
        f"the plugin at {where} takes the call, but sent nothing in {seen.listened_s:.1f} s: it tells nothing in menus, and "
        f"{TMRLS} tells only one program at a time",
        "load a map and begin to drive, close the game's menu, and end other programs that listen to the plugin; then look "
        "again. "
        f"If it stays silent: {RELOAD}",
        code="plugin-silent",
    )


def _nonsense(told: NDArray[np.float64]) -> tuple[float, str]:
    """Which share of the records is none, and why the first of them is none."""
    count, reason = 0, ""
    for row in told:
        try:
            with np.errstate(over="ignore"):
                parse(_RECORD.pack(*row[:TIME].astype(np.float32)), 0.0)
        except GameError as error:
            count += 1
            reason = reason or str(error)
    return count / max(1, len(told)), reason


def _judge_sense(seen: Telemetry, where: str) -> Diagnosis | None:
    share, reason = _nonsense(seen.told)
    if len(seen.told) and share <= MOST_NONSENSE:
        return None
    text = _as_text(seen.head)
    size = statistics.mode(seen.pieces)
    by = f" by {seen.listener}" if seen.listener else ""
    if text or not len(seen.told) or (size != RECORD_BYTES and size % RECORD_BYTES):
        sent = f"“{text}”" if text else f"pieces of {size} bytes"
        return wrong(
            AREA,
            "records",
            f"what is sent at {where}{by} is not the plugin's: {sent}, and a record has {RECORD_BYTES} bytes",
            f"end the program that has port {seen.port}, or unload the other plugin, and load {' or '.join(TELLING)}; or "
            "choose another "
            "port in the plugin's settings and in trackmania.telemetry_port",
            code="plugin-another-program",
        )
    return wrong(
        AREA,
        "records",
        f"{share:.0%} of the {len(seen.told):,} records that {where} sent make no sense: {reason}",
        f"`{INSTALL}` for the version of the plugin that fits, then {RELOAD}",
        code="plugin-nonsense",
    )


def _as_text(head: bytes) -> str:
    """The first bytes, if they are text."""
    if len(head) < 4 or not all(32 <= byte < 127 or byte in b"\r\n\t" for byte in head):
        return ""
    return " ".join(head.decode("ascii").split())


def _judge_records(
    seen: Telemetry, where: str, time_step_s: float, speed_unit: str, *, picture_moves: bool
) -> Iterator[Diagnosis]:
    told = seen.told
    silent_s = seen.called_s + seen.listened_s - float(told[-1, TIME])
    if seen.hung_up:
        yield wrong(
            AREA,
            "records",
            f"the plugin at {where} hung up after {len(told):,} records ({seen.detail or 'without a word'})",
            f"look whether the game has ended; else {RELOAD}",
            code="plugin-hangs-up",
        )
    elif silent_s > SILENT_S:
        yield wrong(
            AREA,
            "records",
            f"the plugin told {len(told):,} records, and then nothing for {silent_s:.1f} s",
            "close the game's menu and leave its window open: nothing is told while the game is paused or minimised, or a map "
            "is loaded",
            code="plugin-stops",
        )
    else:
        yield _judge_rate(told, time_step_s)
    yield from _judge_values(told, speed_unit, picture_moves=picture_moves)


def _judge_rate(told: NDArray[np.float64], time_step_s: float) -> Diagnosis:
    span_s = float(told[-1, TIME] - told[0, TIME])
    rate = (len(told) - 1) / span_s if span_s > 0 else math.inf
    steps = 1.0 / time_step_s
    text = f"the plugin tells {rate:.0f} records per second, one for each frame of the game"
    if rate < 0.95 * steps:
        return wrong(
            AREA,
            "rate",
            f"{text}, fewer than the {steps:g} time steps: the car would be driven by old news",
            "lower the game's graphics settings and end other programs; in the game's display settings let the frame rate be "
            "no lower "
            f"than {2 * steps:g}; or make time_step_s longer",
            code="telemetry-too-slow",
        )
    if rate < 2.0 * steps * 0.95:
        return note(
            AREA,
            "rate",
            f"{text}; what a time step knows is up to {1000 / max(rate, 1e-9):.0f} ms old",
            f"for {2 * steps:g} and more: the game's frame limit and vertical synchronisation (display settings), or less "
            "graphics. 30 are "
            "enough on a slow machine",
            code="telemetry-slow",
        )
    return ok(AREA, "rate", text)


def _judge_values(told: NDArray[np.float64], speed_unit: str, *, picture_moves: bool) -> Iterator[Diagnosis]:
    if (told[:, FINISHED] > 0).all():
        yield note(
            AREA,
            "finish",
            "the game says that the race is finished",
            "nothing, if a lap was just driven: the next reset begins a new race. Else begin one by hand (Improve, or the key "
            "for "
            "'give up'), and look again",
            code="race-finished",
        )
    if not told[:, :TIME].any():
        yield wrong(
            AREA,
            "values",
            f"all numbers in all {len(told):,} records are zero",
            f"load a map and drive; if it stays so, `{INSTALL}` for a plugin that fits this version of the game, then {RELOAD}",
            code="telemetry-zero",
        )
    elif len(told) > 1 and picture_moves and not np.diff(told[:, : RPM + 1], axis=0).any():
        yield wrong(
            AREA,
            "values",
            f"the game's picture moves, but all {len(told):,} records are the same",
            f"{RELOAD}; and look whether the car in the picture is yours, and no replay's or other player's",
            code="telemetry-frozen",
        )
    ratio = speed_ratio(told)
    if ratio is None:
        yield ok(AREA, "values", _summary(told, speed_unit))
        return
    unit = "km/h" if abs(ratio - 3.6) < abs(ratio - 1.0) else "m/s"
    fits = 0.75 < ratio / {"km/h": 3.6, "m/s": 1.0}[unit] < 1.33
    if fits and unit == speed_unit:
        yield ok(AREA, "values", f"{_summary(told, speed_unit)}; the speed fits the car's movement")
    elif fits:
        yield wrong(
            AREA,
            "speed",
            f"the plugin tells speeds in {unit}, by the car's movement ({ratio:.2f} times as many as metres per second), and "
            f"trackmania.speed_unit is {speed_unit}",
            f'set trackmania.speed_unit = "{unit}"',
            code="speed-unit",
        )
    else:
        yield wrong(
            AREA,
            "speed",
            f"the speed that the plugin tells is {ratio:.2f} times what the car's movement says, neither m/s (1) nor km/h (3.6)",
            f"`{INSTALL}` for a plugin that fits this version of the game, then {RELOAD}",
            code="plugin-nonsense",
        )


def _summary(told: NDArray[np.float64], speed_unit: str) -> str:
    speed, x, y, z = told[-1, [SPEED, X, Y, Z]]
    return f"the car is at {x:.0f}, {y:.0f}, {z:.0f} m, and drives {speed:.1f} {speed_unit}"


def speed_ratio(told: NDArray[np.float64]) -> float | None:
    """How many times the speed that is told is the one that places and times of arrival tell, in m/s; None while the car
    stands."""
    if len(told) < 3:
        return None
    times = told[:, TIME]
    first = np.arange(len(times))
    later = np.searchsorted(times, times + SPAN_S)
    pairs = later < len(times)
    first, later = first[pairs], later[pairs]
    if not len(first):
        return None
    took_s = times[later] - times[first]
    moved = np.linalg.norm(told[later, X : Z + 1] - told[first, X : Z + 1], axis=1) / took_s
    sums = np.concatenate([[0.0], np.cumsum(np.abs(told[:, SPEED]))])
    mean_told = (sums[later + 1] - sums[first]) / (later + 1 - first)
    counts = (moved > MOVING_M_S) & (moved < FASTEST_M_S)
    if counts.sum() < 3:
        return None
    return float(np.median(mean_told[counts] / moved[counts]))
