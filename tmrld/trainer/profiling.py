"""A profile of a running training: some updates are traced once, by torch's profiler, after others have warmed up.

The trace shows each update with its phases (tmrld.rl.phases: drawing, inputs, critics, policy, temperature, targets) and, below them,
the operations of torch, and of the card if there is one.  Beside it lies a table of the operations that took longest.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tmrld.storage import files

WARM_UP = 50
"""Updates of this engine before the first that is traced: memory has been taken and kernels have been chosen by then."""
ROWS = 40
NOT_A_WORD = ("KINETO_LOG_LEVEL", "99")
"""Torch's tracer otherwise writes into the terminal when it begins and ends."""
VIEWERS = "https://ui.perfetto.dev or chrome://tracing"


class Profiling:
    """Traces ``updates`` updates (0: none) into ``folder``; `before` is called before each update, `end` when there are no more.

    Nothing is drawn ahead while `before` is called: a trace has as many drawings as updates.
    """

    def __init__(self, folder: Path, updates: int) -> None:
        self._folder = folder
        self._left = WARM_UP + updates if updates else 0
        self._updates = updates
        self._profile: Any = None

    def before(self, update: int) -> str:
        """Begin or end the trace when it is time; returns a sentence that says that it begins, or where it lies.

        Raises StorageError when it cannot be written.
        """
        if not self._left and self._profile is None:
            return ""
        if not self._left:
            return self._write(update)
        begins = self._left == self._updates
        self._left -= 1
        return self._begin(update) if begins else ""

    def end(self) -> None:
        """Throw an unfinished trace away."""
        profile, self._profile, self._left = self._profile, None, 0
        if profile is not None:
            profile.stop()

    def _begin(self, update: int) -> str:
        os.environ.setdefault(*NOT_A_WORD)
        from torch import profiler
        from torch._C._profiler import _ExperimentalConfig as Config

        every_thread = Config(profile_all_threads=True)  # batches are drawn in another one
        self._profile = profiler.profile(experimental_config=every_thread)
        self._profile.start()
        return f"the {self._updates} updates from {update:,} on are traced for a profile"

    def _write(self, update: int) -> str:
        profile, self._profile = self._profile, None
        profile.stop()
        files.make_folder(self._folder)
        trace = self._folder / f"update-{update}.json"
        with files.explaining("write", trace):
            profile.export_chrome_trace(str(trace))
            files.make_private(trace)
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS)
        files.write_atomic(trace.with_suffix(".txt"), table.encode())
        return f"a profile of {self._updates} updates lies in {trace} (open it at {VIEWERS}), and as a table beside it (.txt)"
