"""What runs inside an engine process: sets the process up, runs the one function it was started for, and reports how that went.

The process is started by `child.Child` with the pipe as its standard input and output.  The first message on it is a `Command`
named "run" that says what to run, as plain values: neither code nor pickles are handed over.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import importlib
import io
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from tmrld.engines.pipe import EnginePort
from tmrld.engines.wire import Wire
from tmrld.errors import BadInput, DaemonGone, EngineError, TmrldError
from tmrld.protocol.messages import Command, LogLines, Status

EngineFunction = Callable[[EnginePort, dict[str, Any]], None]
"""What a target must be.  It returns when its work is done or when it receives the `Command` "stop"."""

RUN = "run"
FAILED = "failed"
"""The state of the `Status` that an engine ends with after an exception: ``detail`` is the last line of the traceback, the whole
of which is in ``values["traceback"]``."""

MAX_TEXT = 32_000
"""Longest traceback or log line that is sent, in characters."""
ORDER_WAIT_S = 60.0
REPORT_WAIT_S = 5.0
"""How long an engine that has ended tries to hand over its last messages."""
FAREWELL_S = 5.0
"""How long an engine may take to end after its daemon has gone, before it is ended from inside."""
TERMINATED = 128 + 15
"""Exit code after SIGTERM, as shells report it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What the process is for: ``target`` is "module:attribute", an `EngineFunction`, called with ``arguments``.

    ``niceness`` lowers the priority (POSIX; on Windows the parent sets the priority class), ``log_level`` is the least level
    of log records that are sent to the daemon, ``beat_s`` the pause between heartbeats.
    """

    name: str
    target: str
    arguments: dict[str, Any]
    niceness: int = 0
    log_level: int = logging.INFO
    beat_s: float = 2.0

    def to_command(self) -> Command:
        """As the first message on the pipe."""
        return Command(0, RUN, dict(vars(self)))


def main() -> int:
    """Be an engine process: returns the exit code, 0 after a regular end and 1 after an exception, which has been reported."""
    wire = take_over_pipe()
    be_deaf_to_the_console()
    faulthandler.enable()
    port = EnginePort(wire, last_resort=end_before_long)
    atexit.register(end_orphans, port)
    try:
        message = port.wait(ORDER_WAIT_S)
        if not isinstance(message, Command) or message.name != RUN:
            raise EngineError(f"an engine process expects its order first, and got {message!r:.100}")
        return carry_out(Order(**message.arguments), port)
    except DaemonGone:
        return 0
    finally:
        port.flush(REPORT_WAIT_S)
        if not port.closed:  # a daemon that closes its end after ours is not gone
            atexit.unregister(end_orphans)
        port.close()


def carry_out(order: Order, port: EnginePort) -> int:
    """Run the target; returns the exit code."""
    port.beat_every(order.beat_s)
    sys.argv = [f"tmrld engine {order.name}"]
    if order.niceness and hasattr(os, "nice"):
        os.nice(order.niceness)
    route_logging(port, order.name, order.log_level)
    try:
        engine = resolve(order.target)
        gc.freeze()  # to look through all modules for garbage takes 10 ms, with torch 50: a whole time-step
        engine(port, order.arguments)
    except DaemonGone:
        raise
    except Exception as error:
        report_failure(port, error)
        return 1
    return 0


def take_over_pipe() -> Wire:
    """Move the pipe away from standard input and output, so that whatever prints or reads cannot disturb it."""
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # the daemon has no standard error, for instance as a service on Windows
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    os.close(nothing)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - for the whole life
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(reading, os.O_BINARY)
        msvcrt.setmode(writing, os.O_BINARY)
    return Wire(reading, writing)


def be_deaf_to_the_console() -> None:
    """Ctrl-C and Ctrl-Break are the daemon's business, which asks its engines to end; SIGTERM ends them through ``finally``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)


def end_before_long() -> None:
    """Thread, once the daemon is gone: give the loop a while to end by itself, then end this process and all that it started.

    faulthandler does it a little later, and prints where everything stood, if no Python code runs any more.
    """
    faulthandler.dump_traceback_later(FAREWELL_S + 1.0, exit=True)
    time.sleep(FAREWELL_S)
    _end_group()


def end_orphans(port: EnginePort) -> None:
    """At exit, last of all: without a daemon there is nobody else to end what this process has started."""
    if port.closed:
        _end_group()


def _end_group() -> None:
    """End this process and what it started; on Windows the latter is up to the daemon's job object."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(TERMINATED)


def resolve(target: str) -> EngineFunction:
    """Import what ``module:attribute`` names.  Raises BadInput if there is no such function."""
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise BadInput(f"{target!r} names no engine, expected module:attribute")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except AttributeError:
        raise BadInput(f"{target!r} names no engine: the module {module_name} has no {attribute!r}") from None
    if not callable(function):
        raise BadInput(f"{target!r} names no engine: it is a {type(function).__name__}, expected a function")
    return function  # type: ignore[no-any-return]


def report_failure(port: EnginePort, error: Exception) -> None:
    """Tell the daemon what happened, whole."""
    text = "".join(traceback.format_exception(error))
    said = isinstance(error, TmrldError)  # it was written for people
    detail = str(error) if said else "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    with contextlib.suppress(EngineError):
        port.send(Status("", FAILED, _sound(detail), {"traceback": _sound(text)}), wait_s=REPORT_WAIT_S)


def route_logging(port: EnginePort, name: str, level: int) -> None:
    """Send log records, warnings and the tracebacks of threads to the daemon."""
    root = logging.getLogger()
    root.handlers[:] = [_PortHandler(port, name)]
    root.setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_failure


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None:
        name = failure.thread.name if failure.thread is not None else "unknown"
        log.error("the thread %r of the engine failed", name, exc_info=failure.exc_value)


class _PortHandler(logging.Handler):
    """Sends each record as `LogLines`; they are dropped when the daemon does not keep up."""

    def __init__(self, port: EnginePort, source: str) -> None:
        super().__init__()
        self._port = port
        self._source = source

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = [time.monotonic(), record.levelname, record.name, _sound(self.format(record))]
            self._port.send(LogLines(self._source, [line]))
        except DaemonGone:
            pass  # nobody is left to be told
        except Exception:
            self.handleError(record)


def _sound(text: str) -> str:
    """Text that can be sent: the middle is left out if it is too long, halves of surrogate pairs are replaced."""
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT // 2]}\n…\n{text[-MAX_TEXT // 2 :]}"
    return text.encode("utf-8", "replace").decode("utf-8")
