"""How benchmarks compare speeds: everything that is compared takes turns, because a machine's speed drifts from minute to minute.

What counts is processor time, of all threads together: what other programs take meanwhile is left out, and more threads make nothing
faster.  They still slow each other down through the caches, so ratios within one run mean more than the times themselves.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection

Times = dict[str, list[float]]
"""Seconds of processor time per call, of each candidate, turn by turn."""


class Apart:
    """A candidate in a process of its own, where nothing counts that this process has set for itself.

    ``make``, with its arguments, is called there; whether it found what it makes is ``present``.
    """

    def __init__(self, make: Callable[..., Callable[[], object] | None], *arguments: object) -> None:
        self._pipe, there = get_context("spawn").Pipe()
        get_context("spawn").Process(target=_apart, args=(there, make, arguments), daemon=True).start()
        there.close()  # or a process that has died would be waited for
        self.present = bool(self._pipe.recv())

    def __call__(self) -> None:
        self.seconds(1)

    def seconds(self, calls: int) -> float:
        """Processor time of one of so many calls."""
        self._pipe.send(calls)
        return float(self._pipe.recv())


def _apart(pipe: Connection, make: Callable[..., Callable[[], object] | None], arguments: tuple[object, ...]) -> None:
    """The whole life of that process."""
    run = make(*arguments)
    pipe.send(run is not None)
    while run is not None:
        try:
            calls = pipe.recv()
        except EOFError:
            return
        pipe.send(_seconds(run, calls))


def one_thread() -> None:
    """Start this program anew with one thread for numpy's libraries, unless it was: they only ask when they are loaded."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])


def taking_turns(candidates: Mapping[str, Callable[[], object]], turns: int, turn_s: float) -> Times:
    """Call each candidate over and over for about ``turn_s`` (at least once), then the next, so many times round."""
    calls: dict[str, int] = {}
    for name, run in candidates.items():
        run()  # the first call of anything takes longer
        calls[name] = max(1, round(turn_s / max(_seconds(run, 1), 1e-9)))
    times: Times = {name: [] for name in candidates}
    for _ in range(turns):
        for name, run in candidates.items():
            times[name].append(_seconds(run, calls[name]))
    return times


def median_s(times: Times, name: str) -> float:
    """Seconds per call."""
    return statistics.median(times[name])


def ratio(times: Times, of: str, to: str) -> float:
    """How many times as fast ``of`` is as ``to``: the median over the turns, each compared with its neighbour."""
    return statistics.median(slow / fast for fast, slow in zip(times[of], times[to], strict=True))


def _seconds(run: Callable[[], object], calls: int) -> float:
    """Processor time of one of so many calls."""
    if isinstance(run, Apart):
        return run.seconds(calls)
    start = time.process_time()
    for _ in range(calls):
        run()
    return (time.process_time() - start) / calls
