"""A disk that is full and a clock that jumps, as a process sees them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.hardware import Hardware, needs_linux

pytestmark = needs_linux

LOOK = """
import sqlite3, sys, threading, time
from pathlib import Path
folder, beside = Path(sys.argv[1]), Path(sys.argv[2])
began = time.monotonic()
threading.Event().wait(0.01)
print(time.time(), time.monotonic() - began < 100)
for write in (lambda: (folder / str(time.monotonic_ns())).write_bytes(bytes(100_000)),
              lambda: sqlite3.connect(folder / "database").execute("CREATE TABLE t (x)"),
              lambda: beside.write_bytes(bytes(100))):
    try:
        write()
        print("written")
    except (OSError, sqlite3.OperationalError) as error:
        print(error)
"""


def seen(hardware: Hardware, folder: Path) -> list[str]:
    """What a process tells of it."""
    looking = subprocess.run(
        [sys.executable, "-c", LOOK, folder / "disk", folder / "beside"],
        env={**os.environ, **hardware.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return looking.stdout.splitlines()


def test_a_full_disk_takes_nothing_until_it_is_freed(hardware: Hardware, tmp_path: Path) -> None:
    assert seen(hardware, tmp_path)[1:] == ["written", "written", "written"]
    hardware.fill()
    assert seen(hardware, tmp_path)[1] == "[Errno 28] No space left on device"
    assert seen(hardware, tmp_path)[3] == "written"
    hardware.free()
    assert seen(hardware, tmp_path)[1:] == ["written", "table t already exists", "written"]


def test_what_was_lost_with_a_disk_is_gone(hardware: Hardware, tmp_path: Path) -> None:
    seen(hardware, tmp_path)
    hardware.wipe()
    assert seen(hardware, tmp_path)[1:] == ["written", "written", "written"]


@pytest.mark.parametrize("seconds", [1e7, -1e7, 0.75, -0.75])
def test_a_clock_jumps_and_monotonic_ones_do_not(hardware: Hardware, tmp_path: Path, seconds: float) -> None:
    hardware.jump(seconds)
    began = time.time()
    wall, monotonic = seen(hardware, tmp_path)[0].split()
    assert began <= float(wall) - seconds <= time.time()
    assert monotonic == "True"
