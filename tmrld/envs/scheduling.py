"""Asking the system to run a thread soon whenever it wakes.

A thread that sleeps until a moment is late by as long as others keep the processor from it: on a busy computer some milliseconds,
which is long for a control.  Each system has a request against this that needs no permission.

Linux since 6.12 shares the processor in slices, and whoever asks for short slices gets a turn earlier, and no more of the processor
than before.  Nothing else that is free to all helps there: a better nice value raises the share and does not hasten the turn.  On
Windows a thread of higher priority runs at once; this has not been run on Windows yet.  Other systems have nothing of the kind.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import struct
import sys

log = logging.getLogger(__name__)

SLICE_NS = 100_000
"""The shortest slice that Linux takes; its own are 3 ms."""
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""Number of Linux' system call, by machine."""
PR_SET_TIMERSLACK = 29
SCHED_FLAG_RESET_ON_FORK = 1
THREAD_PRIORITY_HIGHEST = 2


def run_soon() -> bool:
    """Ask for the calling thread, not for those that it starts; whether the system took the request.  Never fails."""
    try:
        if sys.platform == "win32":
            return _raise_priority()
        if sys.platform == "linux":
            return _shorten_slices()
    except OSError as error:
        log.debug("the system does not run this thread sooner: %s", error)
    return False


if sys.platform == "win32":

    def _raise_priority() -> bool:
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.GetCurrentThread.restype = ctypes.c_void_p
        kernel32.SetThreadPriority.argtypes = (ctypes.c_void_p, ctypes.c_int)
        if not kernel32.SetThreadPriority(kernel32.GetCurrentThread(), THREAD_PRIORITY_HIGHEST):
            raise ctypes.WinError(ctypes.get_last_error())
        return True


if sys.platform == "linux":

    def _shorten_slices() -> bool:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(1))  # nanoseconds by which sleeps may be prolonged; 50,000 is usual
        number = SCHED_SETATTR.get(platform.machine())
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        if number is None or policy not in (os.SCHED_OTHER, os.SCHED_BATCH):
            return False  # somebody has chosen a policy on purpose
        request = attributes(policy, os.getpriority(os.PRIO_PROCESS, 0), SLICE_NS)
        if libc.syscall(ctypes.c_long(number), 0, request, 0):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return True


def attributes(policy: int, nice: int, slice_ns: int) -> bytes:
    """Linux' ``struct sched_attr`` for a thread that shares the processor: policy and nice value as they are, slices so long."""
    size, priority, deadline_ns, period_ns = 48, 0, 0, 0
    return struct.pack("=IIQiIQQQ", size, policy, SCHED_FLAG_RESET_ON_FORK, nice, priority, slice_ns, deadline_ns, period_ns)
