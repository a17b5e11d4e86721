"""What becomes of engines when their daemon dies or is interrupted: a daemon in a process of its own, and signals."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.processes import await_end
from tmrld.engines.entry import FAREWELL_S

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
PATIENCE_S = 30.0


@contextmanager
def daemon(target: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.engine_daemon", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> list[int]:
    """The processes that run when the engine is ready: its own number first."""
    assert process.stdout is not None
    assert process.stdout.readline().startswith("started ")
    word, *pids = process.stdout.readline().split()
    assert word == "ready"
    return [int(pid) for pid in pids]


@pytest.mark.parametrize("target", ["echo", "stubborn", "multiply"])
def test_an_engine_ends_with_its_daemon_and_takes_along_what_it_started(target: str) -> None:
    with daemon(target) as process:
        pids = ready(process)
        process.kill()
        for pid in pids:
            await_end(pid, PATIENCE_S)


def test_an_engine_that_never_looks_at_its_port_is_ended_from_inside() -> None:
    with daemon("busy") as process:
        (pid,) = ready(process)
        process.kill()
        await_end(pid, FAREWELL_S + PATIENCE_S)


def test_an_interrupted_daemon_asks_its_engine_to_end() -> None:
    """Ctrl-C in a terminal reaches the whole process group of the daemon; the engine is not in it."""
    with daemon("echo") as process:
        (pid,) = ready(process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert output == f"stopped {pid} 0\n"
        await_end(pid, 0.0)
