"""Waiting for processes that are not our children, without polling."""

from __future__ import annotations

import os
import select
import sys

import pytest


def await_end(pid: int, timeout_s: float) -> None:
    """Return when the process no longer runs; fails the test if it still does after so many seconds."""
    if sys.platform != "linux":
        pytest.skip("waits for processes by pidfd, which only Linux has")
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], timeout_s)
    finally:
        os.close(descriptor)
    assert ended, f"process {pid} still runs after {timeout_s} s"
