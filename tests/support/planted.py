"""Faults and bugs that tests plant in running processes, to see that the books notice.

The environment variable PLANTED names them, separated by commas; `tests.support.launch` plants those of daemons, the recording
algorithm those of its engine.  A *fault* is what the system has to live with; a *bug* is what it must not have.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HUNG = "hung"
"""The file in LEDGER_FOLDER that says how many records were stored when the fault `hang_before_commit` came."""
APPENDS_BEFORE_THE_FAULT = 20


def plant_what_the_environment_says() -> None:
    """Plant what the environment variable PLANTED names; names without a meaning are mistakes."""
    for name in filter(None, os.environ.get("PLANTED", "").split(",")):
        PLANTS[name]()


# Faults of the relay


def hang_before_commit() -> None:
    """The disk stands still in the middle of the run: what is appended then is never stored."""

    def hang(append: Callable[[], Any], stored: int) -> Any:
        (Path(os.environ["LEDGER_FOLDER"]) / HUNG).write_text(f"{stored}\n")
        threading.Event().wait()

    _at_some_append(hang)


def die_after_commit() -> None:
    """The relay is killed when chunks are stored, and nobody knows it yet."""

    def die(append: Callable[[], Any], stored: int) -> None:
        append()
        os.kill(os.getpid(), signal.SIGKILL)

    _at_some_append(die)


def _at_some_append(fault: Callable[[Callable[[], Any], int], Any]) -> None:
    from tmrld.storage.sample_log import SampleLog

    append = SampleLog.append
    appends = stored = 0

    def faulty(self: Any, records: Sequence[Any], **options: Any) -> Any:
        nonlocal appends, stored
        appends += 1
        if appends < APPENDS_BEFORE_THE_FAULT:
            stored += len(records)
            return append(self, records, **options)
        return fault(lambda: append(self, records, **options), stored)

    SampleLog.append = faulty  # type: ignore[method-assign]


# Bugs of the relay


def acknowledge_before_commit() -> None:
    """Chunks are acknowledged when they arrive."""
    from tmrld.protocol.messages import Ack
    from tmrld.relay.hub import Hub

    commit = Hub._commit

    async def hasty(self: Any, batch: Any) -> None:
        for arrived in batch:
            arrived.member.put(Ack(arrived.chunk.incarnation, [arrived.chunk.number]))
        await commit(self, batch)

    Hub._commit = hasty  # type: ignore[method-assign]


def forget_identities() -> None:
    """A chunk that comes again is stored again."""
    from tmrld.storage import sample_index
    from tmrld.storage.sample_log import SampleLog

    setattr(SampleLog, "_known", lambda _self, _records: {})  # noqa: B010 - it is not ours to change
    sample_index._SCHEMA = sample_index._SCHEMA.replace(",\n    UNIQUE (stream, number)", "")


# Bugs of the trainer's engine


def history_off_by_one() -> None:
    """The observation after a step is the one before it."""
    from tmrld.rl import windows

    windows.after = windows.before


def history_across_episodes() -> None:
    """Histories reach one row further back than the chunk does."""
    from tmrld.rl import windows

    steps_back = windows.steps_back
    windows.steps_back = lambda age, depth: steps_back(np.minimum(age + 1, depth), depth)


def skip_a_record() -> None:
    """A record of the log never reaches the replay memory."""
    _in_ingestion(lambda count: 0 if count == 5 else 1)


def ingest_a_record_twice() -> None:
    """A record enters the replay memory twice."""
    _in_ingestion(lambda count: 2 if count == 9 else 1)


def _in_ingestion(times: Callable[[int], int]) -> None:
    """Ingest the n-th training chunk so many times."""
    from tmrld.trainer.loop import TrainingLoop

    ingest = TrainingLoop.ingest
    count = 0

    def buggy(self: Any, chunk: Any, offset: int, next_offset: int, left_out: int = 0) -> None:
        nonlocal count
        count += chunk is not None
        for _ in range(times(count)):
            ingest(self, chunk, offset, next_offset, left_out)
        self.counters.offset = next_offset

    TrainingLoop.ingest = buggy  # type: ignore[method-assign]


PLANTS: dict[str, Callable[[], None]] = {
    plant.__name__: plant
    for plant in (
        hang_before_commit,
        die_after_commit,
        acknowledge_before_commit,
        forget_identities,
        history_off_by_one,
        history_across_episodes,
        skip_a_record,
        ingest_a_record_twice,
    )
}
