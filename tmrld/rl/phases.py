"""Names for the phases of an update, so that a profile (tmrld.trainer.profiling) shows them.  Imports no torch.

Who is not profiled pays a look at a flag: torch's spans cost some microseconds each, also when nobody records them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def phase(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: each call of the function is a span of this name in a profile."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def named(*args: P.args, **kwargs: P.kwargs) -> R:
            profiler = sys.modules.get("torch.autograd.profiler")
            if profiler is None or not profiler._is_profiler_enabled:  # torch asks this before its own spans
                return function(*args, **kwargs)
            with profiler.record_function(name):
                return function(*args, **kwargs)

        return named

    return decorate
