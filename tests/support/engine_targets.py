"""Small engines for tests: what runs in the child process, named as ``tests.support.engine_targets:NAME``."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from typing import Any

from tmrld.engines.pipe import EnginePort
from tmrld.errors import PipeFull
from tmrld.protocol.messages import ChunkMessage, Command, Result, Status

log = logging.getLogger("tests.engine")


def chunk(number: int, payload: bytes) -> ChunkMessage:
    """A message of the kind that may not be dropped."""
    return ChunkMessage(
        "run", "worker", "", number, "", 0, 1, 1, "", "train", "", None, [], [], None, "", len(payload), payload
    )


def echo(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Says "ready", with its arguments, then sends back whatever comes, until asked to stop; then says "farewell"."""
    port.send(Status("", "ready", values=arguments))
    while (message := port.wait()) != Command(0, "stop"):
        if message is not None:
            port.send(message)
    port.send(Status("", "farewell"))


def fail(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Raises at once."""
    raise ValueError(arguments.get("why", "the wheel came off"))


def finish(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Has nothing to do."""


def leave(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Ends the process without a word."""
    os._exit(int(arguments["code"]))


def hang(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Says "ready", then its loop stands still, while a thread of it goes on logging."""
    port.send(Status("", "ready"))
    still = threading.Event()

    def chatter() -> None:
        while not still.wait(0.01):
            log.info("la la la")

    threading.Thread(target=chatter, daemon=True).start()
    still.wait()


def be_quiet(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Announces a long silence, keeps it, and is fine."""
    port.beat(quiet_s=60.0)
    threading.Event().wait(float(arguments["silence_s"]))
    echo(port, {})


def stubborn(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Neither listens to the daemon nor to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    port.send(Status("", "ready"))
    while True:
        port.wait()


def busy(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Computes for ever and never looks at the port; cleans up when terminated."""
    port.send(Status("", "ready"))
    try:
        while True:
            pass
    finally:
        port.send(Status("", "cleaned up"))


def multiply(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Starts processes of its own, one of them by fork so that it holds every descriptor, and says which."""
    program = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fork of a process with threads is what is tested
        forked = multiprocessing.get_context("fork").Process(target=signal.pause)
        forked.start()
    port.send(Status("", "ready", values={"pids": [program.pid, forked.pid]}))
    port.flush(10.0)
    if arguments.get("crash"):
        os._exit(3)
    while port.wait() != Command(0, "stop"):
        pass
    os._exit(0)  # without the joining of children that a regular end includes


def flood(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Sends as fast as it can until it may not, and then how often it could."""
    sent = 0
    payload = bytes(int(arguments["bytes"]))
    try:
        while True:
            port.send(chunk(sent, payload))
            sent += 1
    except PipeFull:
        port.send(Result(sent), wait_s=None)
    echo(port, {})


def speak(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Uses every way of speaking that libraries use."""
    print("printed text must not disturb the pipe")
    log.info("one line")
    log.debug("not of interest")
    warnings.warn("a warning", stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="divider")
    thread.start()
    thread.join()
    port.send(Status("", "read", values={"stdin": sys.stdin.read()}))
    echo(port, {})


def describe(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Says what the process looks like from inside."""
    values = {
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "niceness": os.nice(0),
        "main": list(vars(sys.modules["__main__"])),
        "argv": sys.argv,
        "modules": [name for name in ("asyncio", "torch", "websockets", "multiprocessing", "pydantic") if name in sys.modules],
    }
    port.send(Status("", "described", values=values))
    echo(port, {})


def babble(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Sends something that is no message."""
    port._outbox.put(b"blah")
    echo(port, {})


def linger(port: EnginePort, arguments: dict[str, Any]) -> None:
    """Returns, but leaves a thread that keeps the process from ending."""
    threading.Thread(target=threading.Event().wait).start()
