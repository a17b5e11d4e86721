"""Faults that tests plant in a relay's process, at a moment that no signal from outside would hit.

The environment variable PLANTED names one, or none; `tests.support.launch` plants it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HUNG = "hung"
"""The file in LEDGER_FOLDER that is there once the fault `hang_before_commit` has come."""
APPENDS_BEFORE_THE_FAULT = 20


def plant_what_the_environment_says() -> None:
    """Plant what the environment variable PLANTED names; a name without a meaning is a mistake."""
    if name := os.environ.get("PLANTED", ""):
        _at_some_append(PLANTS[name])


def hang_before_commit(_append: Callable[[], Any]) -> None:
    """The disk stands still in the middle of the run: what is appended then is never stored."""
    (Path(os.environ["LEDGER_FOLDER"]) / HUNG).touch()
    threading.Event().wait()


def die_after_commit(append: Callable[[], Any]) -> None:
    """The relay is killed when chunks are stored, and nobody knows it yet."""
    append()
    os.kill(os.getpid(), signal.SIGKILL)


def _at_some_append(fault: Callable[[Callable[[], Any]], None]) -> None:
    from tmrld.storage.sample_log import SampleLog

    append = SampleLog.append
    appends = 0

    def faulty(self: Any, records: Sequence[Any], **options: Any) -> Any:
        nonlocal appends
        appends += 1
        if appends < APPENDS_BEFORE_THE_FAULT:
            return append(self, records, **options)
        return fault(lambda: append(self, records, **options))

    SampleLog.append = faulty  # type: ignore[method-assign]


PLANTS: dict[str, Callable[[Callable[[], Any]], None]] = {
    plant.__name__: plant for plant in (hang_before_commit, die_after_commit)
}
