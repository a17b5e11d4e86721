"""Which part of a run holds the others up, judged from what its nodes measure of themselves.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["collecting", "sending", "sampling", "updating", "none"]

MUCH = 0.5
"""A share of the trainer's time that decides."""
SAMPLING_MUCH = 0.3
BACKLOG_CHUNKS = 20
"""Chunks that wait in a worker: as many seconds of real-time driving."""


@dataclass(frozen=True)
class Verdict:
    """The part, and why."""

    part: Part
    sentence: str


def judge(
    state: str, trainer: Mapping[str, Any] | None, workers: Sequence[Mapping[str, Any]], *, ailing: bool = False
) -> Verdict:
    """The bottleneck of a run in this state; ``trainer`` and ``workers`` are the newest `values` of its nodes.

    ``ailing``: one of them says that something is wrong.
    """
    if state != "running":
        return Verdict("none", f"The run is {state}: nothing is asked of anybody.")
    if trainer is None:
        return Verdict("updating", "No trainer works for this run: connect one, or free one that works for another run.")
    if not workers:
        return Verdict("collecting", "No worker drives for this run: connect one.")
    backlog = sum(_number(values, "backlog_chunks") for values in workers)
    updating, sampling, waiting = (_number(trainer, f"{name}_share") for name in ("updating", "sampling", "waiting"))
    if waiting >= MUCH and backlog >= BACKLOG_CHUNKS:
        return Verdict(
            "sending",
            f"{backlog:.0f} chunks wait in the workers while the trainer waits for samples for {waiting:.0%} of its time: "
            "the line to the relay, or the relay's disk, is too slow.",
        )
    if waiting >= MUCH:
        return Verdict(
            "collecting",
            f"The trainer waits for samples for {waiting:.0%} of its time: more workers, or more updates per transition, "
            "would use it.",
        )
    if sampling >= SAMPLING_MUCH:
        return Verdict(
            "sampling",
            f"The trainer spends {sampling:.0%} of its time on drawing batches: a smaller batch or a shorter history helps.",
        )
    if updating + sampling >= MUCH:
        idle = max((_number(values, "idle_share") for values in workers), default=0.0)
        return Verdict(
            "updating",
            f"The trainer computes for {updating + sampling:.0%} of its time, the workers wait for it for up to {idle:.0%} of "
            "theirs: a faster trainer would learn faster.",
        )
    if ailing:
        return Verdict("none", "Something is wrong with the run, which it shows as its problem: mend that first.")
    return Verdict("none", "Nobody waits for anybody much, or nothing was measured yet.")


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and value == value else 0.0
