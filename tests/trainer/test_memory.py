"""Memory that is freed and taken again is not taken from the system again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tmrld.trainer.memory import keep_freed_memory

PROGRAM = """
import resource
import numpy as np
from tmrld.trainer.memory import keep_freed_memory

def use():
    pieces = [np.ones(2**20) for _ in range(10)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

kept = keep_freed_memory()
use()
before = faults()
use()
print(kept, faults() - before)
"""


def test_memory_that_was_freed_is_used_again_where_glibc_is() -> None:
    program = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    kept, faults = program.stdout.split()
    if kept == "True":
        assert int(faults) < 1000  # some thousands otherwise


def test_nothing_is_done_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    assert not keep_freed_memory()
