"""A thread that asks to be run soon keeps what it had otherwise, and what it starts is not touched."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tmrld.envs import scheduling

if sys.platform == "linux":
    GETTING = {"x86_64": 315, "aarch64": 275, "riscv64": 275}.get(platform.machine())
    """Number of the system call ``sched_getattr``."""
    RELEASE = tuple(int(number) for number in platform.release().split("-")[0].split(".")[:2])

    def attributes() -> tuple[Any, ...]:
        """Of the calling thread: size, policy, flags, nice value, priority, slice, and two more."""
        assert GETTING is not None
        told = ctypes.create_string_buffer(48)
        assert ctypes.CDLL(None).syscall(ctypes.c_long(GETTING), 0, told, 48, 0) == 0
        return struct.unpack("=IIQiIQQQ", told.raw)

    @pytest.mark.skipif(GETTING is None, reason="the number of this machine's system call is not known")
    def test_policy_and_nice_value_stay_and_what_is_started_is_as_before() -> None:
        def ask() -> tuple[tuple[Any, ...], bool, tuple[Any, ...], tuple[Any, ...]]:
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 3)
            before, took = attributes(), scheduling.run_soon()
            with ThreadPoolExecutor(1) as started:
                return before, took, attributes(), started.submit(attributes).result()

        with ThreadPoolExecutor(1) as thread:
            before, took, after, started = thread.submit(ask).result()

        assert took
        assert (after[1], after[3]) == (before[1], before[3])
        if RELEASE >= (6, 12):
            assert after[5] == scheduling.SLICE_NS < before[5] == started[5]

    def test_a_policy_that_somebody_chose_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getscheduler", lambda thread: os.SCHED_FIFO)
        with ThreadPoolExecutor(1) as thread:
            assert not thread.submit(scheduling.run_soon).result()

    def test_a_refusal_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scheduling, "SCHED_SETATTR", {platform.machine(): -1})
        with ThreadPoolExecutor(1) as thread:
            assert not thread.submit(scheduling.run_soon).result()


def test_the_request_has_the_layout_of_the_first_version_of_linux_structure() -> None:
    packed = scheduling.attributes(3, -5, 100_000)

    assert len(packed) == 48
    assert struct.unpack_from("=I", packed, 0) == (48,)
    assert struct.unpack_from("=I", packed, 4) == (3,)
    assert struct.unpack_from("=i", packed, 16) == (-5,)
    assert struct.unpack_from("=Q", packed, 24) == (100_000,)


def test_systems_that_have_no_such_request_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert not scheduling.run_soon()
