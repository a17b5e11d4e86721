"""What the plugin in the game tells: its records, and a thread that receives them.

The plugin for OpenPlanet, ours (in `plugin/`) or TMRL's ``TMRL_GrabData``, listens, and sends one record per frame of the game while
a race is on the screen: 11 floats of 32 bits, little-endian, in the order of `Record`.  When a write fails, it hangs up and listens
again.  Ours tells several programs at a time, TMRL's one.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import astuple, dataclass
from enum import Enum, auto

from tmrld.errors import GameError

RECORD_BYTES = 44
PLUGIN = "tmrld"

FRESH_S = 5.0
"""`Receiver.fresh` waits at least so long: a race that begins anew is silent for a while."""
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 2.0
"""The wait between two attempts to connect grows from the first to the last; who asks for a fresh record ends it at once."""
ANSWER_S = 3.0
"""How long an attempt may take: Windows tries a closed port of its own for two seconds."""
KEEP_ALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
"""After so many seconds without a record the system asks the other one whether it is still there, every so many seconds and so
many times; then the connection is over.  A machine that lost its power is given up so, and a game in a menu is not."""
POLL_S = 0.25
"""A connection that has told nothing for this long is called silent."""
CLOSE_S = 1.0
"""`Receiver.close` waits no longer for the thread, which may hang in a look-up of the host's name."""
MAX_NONSENSE = 100
"""So many records in a row that are none end the connection: on a new one, records begin where they should."""

_FLOATS = struct.Struct("<11f")
_LIMITS = (
    ("speed", -10_000.0, 10_000.0),
    ("distance", -1e9, 1e9),
    ("x", -1e6, 1e6),
    ("y", -1e6, 1e6),
    ("z", -1e6, 1e6),
    ("steer", -2.0, 2.0),
    ("gas", -2.0, 2.0),
    ("braking", -2.0, 2.0),
    ("finished", 0.0, 1.0),
    ("gear", -2.0, 20.0),
    ("rpm", -1000.0, 100_000.0),
)
"""Of each float: its name, and bounds far beyond what the game can tell; they are there to tell a record from other bytes."""
_WHOLE = ("finished", "gear")


@dataclass(frozen=True, slots=True)
class Record:
    """One frame of the game, as the plugin tells it."""

    speed: float  # m/s, or km/h with other versions of the plugin
    distance: float  # m since the start
    x: float  # m
    y: float  # m, up
    z: float  # m
    steer: float  # -1 to 1
    gas: float  # 0 to 1
    braking: float  # 0 or 1
    finished: bool
    gear: float  # a whole number; 0 is reverse
    rpm: float
    received: float  # s, time.perf_counter() when it came


def parse(data: bytes, received: float) -> Record:
    """The record in these 44 bytes.  Raises GameError when a number in it is none, or none that the game can mean."""
    values: tuple[float, ...] = _FLOATS.unpack(data)
    for (name, low, high), value in zip(_LIMITS, values, strict=True):
        if not low <= value <= high or (name in _WHOLE and value != int(value)):
            raise GameError(f"{value:g} is no value of {name!r} in a record of the plugin")
    speed, distance, x, y, z, steer, gas, braking, finished, gear, rpm = values
    return Record(speed, distance, x, y, z, steer, gas, braking, bool(finished), gear, rpm, received)


def pack(record: Record) -> bytes:
    """The 44 bytes that the plugin sends for it."""
    return _FLOATS.pack(*astuple(record)[:11])


class State(Enum):
    """How it stands with the connection."""

    TRYING = auto()
    UNKNOWN_HOST = auto()
    REFUSED = auto()
    UNREACHABLE = auto()
    SILENT = auto()  # connected, and nothing has come since
    TALKING = auto()  # the last that came was a record
    HUNG_UP = auto()
    NONSENSE = auto()  # the last that came was none


def complaint(state: State, host: str, port: int, age_s: float | None, detail: str) -> str:
    """Why there is no record that is new enough, and what to do; the last one came ``age_s`` seconds ago, or never."""
    where = f"{host}:{port}"
    last = "no record of the game has come yet" if age_s is None else f"the last record of the game came {age_s:.1f} s ago"
    match state:
        case State.TRYING:
            return f"the plugin at {where} has not answered yet ({last}): wait, or look whether the game runs"
        case State.UNKNOWN_HOST:
            return f"there is no host {host!r} ({detail}; {last}): set environment.trackmania.telemetry_host to where the game runs"
        case State.REFUSED:
            return (
                f"nothing listens at {where}, where the plugin should ({last}): start the game with OpenPlanet, and load the "
                f"plugin {PLUGIN} there (F3, Developer, (Re)load plugin), after `tmrld trackmania install`"
            )
        case State.UNREACHABLE:
            return (
                f"{where}, where the plugin should listen, does not answer ({detail}; {last}): start the game with OpenPlanet and "
                f"its plugin {PLUGIN}; if it runs on another machine, look at the network and the firewall between"
            )
        case State.SILENT:
            return (
                f"the plugin at {where} has taken the connection, but sends nothing ({last}): load a map and begin a race, for it "
                "tells nothing in menus; and end every other program that listens to it, for TMRL's plugin tells only one at a time"
            )
        case State.TALKING:
            return (
                f"the plugin at {where} is connected, but {last}: close the menu or load a map, and leave the game's window open, "
                "for it tells nothing while no race is shown, or the game is paused or minimised"
            )
        case State.HUNG_UP:
            return (
                f"the plugin at {where} has hung up ({detail}; {last}), and is called again: if it keeps hanging up, reload "
                f"{PLUGIN} in OpenPlanet (F3, Developer, (Re)load plugin), and look whether another program has this port"
            )
        case State.NONSENSE:
            return (
                f"what {where} sends is no record of the plugin ({detail}; {last}): another program has this port, or the plugin "
                f"another version: load {PLUGIN}, or set environment.trackmania.telemetry_port"
            )


class Receiver:
    """Listens to the plugin in a thread of its own, which connects again for ever, and keeps the newest record.

    Its methods may be called from any thread.
    """

    def __init__(self, host: str, port: int, stall_s: float) -> None:
        """Begins to connect, and returns at once.  A record older than ``stall_s`` seconds is too old."""
        self._host = host
        self._port = port
        self._stall_s = stall_s
        self._changed = threading.Condition()  # guards everything below
        self._record: Record | None = None
        self._state = State.TRYING
        self._detail = ""
        self._line: socket.socket | None = None
        self._wanted = False
        self._closed = False
        self._began = time.perf_counter()
        self._thread = threading.Thread(target=self._listen, name=f"telemetry {host}:{port}", daemon=True)
        self._thread.start()

    def newest(self) -> Record:
        """The latest record.  Raises GameError, which names the cause, when it is older than ``stall_s``.

        It waits for the very first one alone, and no longer than ``stall_s`` after this object was made.
        """
        with self._changed:
            if self._record is None:
                patience_s = self._began + self._stall_s - time.perf_counter()
                self._changed.wait_for(lambda: self._record is not None or self._closed, max(0.0, patience_s))
            record = self._record
            if self._closed or record is None or time.perf_counter() - record.received > self._stall_s:
                raise self._error()
            return record

    def fresh(self) -> Record:
        """The next record that arrives from now on.  Raises GameError, which names the cause, when none does for a while."""
        with self._changed:
            asked = time.perf_counter()
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._came_after(asked) or self._closed, max(self._stall_s, FRESH_S))
            record = self._record
            if self._closed or record is None or record.received < asked:
                raise self._error()
            return record

    def close(self) -> None:
        """Hang up; closing again does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._line is not None:
                with contextlib.suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join(CLOSE_S)

    def _came_after(self, moment: float) -> bool:
        return self._record is not None and self._record.received >= moment

    def _error(self) -> GameError:
        """Why there is no record."""
        if self._closed:
            return GameError("the connection to the plugin was closed from this side")
        age_s = None if self._record is None else time.perf_counter() - self._record.received
        return GameError(complaint(self._state, self._host, self._port, age_s, self._detail))

    def _listen(self) -> None:
        """Thread: connect, read, and when that ends, do it again."""
        delay = FIRST_RETRY_S
        while not self._closed:
            line = self._connect()
            if line is not None:
                with line:
                    if self._read(line):
                        delay = FIRST_RETRY_S
                    with self._changed:
                        self._line = None
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wanted, delay)
                self._wanted = False
            delay = min(2 * delay, LAST_RETRY_S)

    def _connect(self) -> socket.socket | None:
        try:
            line = socket.create_connection((self._host, self._port), ANSWER_S)
        except (socket.gaierror, UnicodeError) as error:
            self._stands(State.UNKNOWN_HOST, getattr(error, "strerror", None) or "it is no name of a host")
        except ConnectionRefusedError:
            self._stands(State.REFUSED)
        except OSError as error:
            self._stands(State.UNREACHABLE, error.strerror or "timed out")
        else:
            line.settimeout(POLL_S)
            _keep_alive(line)
            with self._changed:
                self._line = line
                if self._state not in (State.HUNG_UP, State.NONSENSE):  # those may well come again: silence tells, or a record
                    self._state = State.SILENT
            return line
        return None

    def _read(self, line: socket.socket) -> bool:
        """Read until the connection ends; whether a record came."""
        came, nonsense = False, 0
        rest = b""
        while not self._closed:
            try:
                data = line.recv(1 << 16)
            except OSError as error:
                if isinstance(error, TimeoutError) and error.errno is None:  # nothing has come; the connection is as it was
                    if not came and not rest and not nonsense:
                        self._stands(State.SILENT)
                    continue
                self._stands(State.HUNG_UP, error.strerror or "the connection broke")
                break
            received = time.perf_counter()
            if not data:
                if came or not (rest or nonsense):
                    self._stands(State.HUNG_UP, "it ended the connection")
                break
            data = rest + data
            end = len(data) - len(data) % RECORD_BYTES
            rest = data[end:]
            if end == 0:
                if not came:
                    self._stands(State.NONSENSE, f"{len(rest)} bytes have come, a record has {RECORD_BYTES}")
                continue
            try:
                record = parse(data[end - RECORD_BYTES : end], received)
            except GameError as error:
                self._stands(State.NONSENSE, str(error))
                nonsense += 1
                if nonsense == MAX_NONSENSE:
                    break
                continue
            came, nonsense = True, 0
            with self._changed:
                self._record = record
                self._state = State.TALKING
                self._changed.notify_all()
        return came

    def _stands(self, state: State, detail: str = "") -> None:
        with self._changed:
            self._state, self._detail = state, detail


def _keep_alive(line: socket.socket) -> None:
    """Let the system watch over the connection, as far as it can."""
    with contextlib.suppress(OSError):  # it is over already, which reading tells
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE:
            option: int | None = getattr(socket, name, None)
            if option is not None:
                line.setsockopt(socket.IPPROTO_TCP, option, value)
