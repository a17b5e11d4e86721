"""Memory of the engine process that is used over and over.

Each update needs the same few hundred megabytes at most, in pieces, and gives them back.  What the C library of Linux gets back it
hands on to the system, when it is large or lies at the end of the heap, and the system clears it before it is lent again: several
hundred page faults per update, one tenth of its time.
"""

from __future__ import annotations

import ctypes
import sys

KEPT_BYTES = 1 << 30
"""How much free memory the process may keep for its next update."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGEST_BYTES = (256 << 20, 32 << 20)
"""From where on a piece is the system's again as soon as it is free; older versions of glibc allow the smaller one only."""


def keep_freed_memory() -> bool:
    """Have this process keep what it frees; whether it does.  Elsewhere than on Linux with glibc nothing is done."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    larger_are_not_kept = any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGEST_BYTES)
    return larger_are_not_kept and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
