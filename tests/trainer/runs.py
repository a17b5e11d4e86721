"""A tiny run for the tests of this room: a toy environment, a sample log in memory, a loop with the real algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.rl.experience import cut_all, make_episode, point_spec
from tmrld.payloads import Array, Chunk
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.priorities import Prioritised
from tmrld.rl.replay import Replay
from tmrld.trainer.loop import TrainingLoop
from tmrld.trainer.options import TrainingOptions

SPEC = point_spec()
TRAINING = TrainingOptions(seed=3, slack_transitions=5)


@dataclass(frozen=True)
class LogRecord:
    """A record of a made-up sample log."""

    chunk: Chunk
    offset: int
    next_offset: int


def a_log(records: int, steps: int = 4) -> list[LogRecord]:
    """So many chunks of ``steps`` steps each, at offsets 0, 10, 20 …"""
    chunks = cut_all(make_episode(SPEC, records * steps, np.random.default_rng(7)), [steps])
    return [LogRecord(chunk, 10 * index, 10 * index + 10) for index, chunk in enumerate(chunks)]


def a_loop(
    capacity: int = 1000,
    demonstrations: Sequence[LogRecord] = (),
    share: float = 0.25,
    gru: int = 0,
    *,
    draws_ahead: bool = False,
    prioritised: Prioritised | None = None,
    **options: float | str,
) -> TrainingLoop:
    """A loop at its beginning; ``share`` is that of the demonstrations, if there are any, ``gru`` how much the policy remembers."""
    values = {"batch_size": 4, "warm_up": 6, "update_to_data": 1.0, **options}
    algorithm = AlgorithmOptions.model_validate(values)
    learner = make_algorithm(algorithm, NetworkOptions(hidden=(8,), gru=gru), SPEC, TRAINING.seed)
    shown = Replay(SPEC, 1000, linked=gru > 0) if demonstrations else None
    for record in demonstrations:
        assert shown is not None
        shown.append(record.chunk)
    replay, length = Replay(SPEC, capacity, linked=gru > 0, prioritised=prioritised), 2 if gru else 0
    return TrainingLoop(
        learner,
        replay,
        algorithm,
        TRAINING,
        shown,
        share,
        sequence_length=length,
        burn_in=3,
        draws_ahead=draws_ahead,
    )


def ingest_until(loop: TrainingLoop, log: list[LogRecord], offset: int) -> None:
    """Everything of the log from where the loop is up to this offset."""
    for record in log:
        if loop.counters.offset <= record.offset < offset:
            loop.ingest(record.chunk, record.offset, record.next_offset)


def assert_same_state(left: TrainingLoop, right: TrainingLoop) -> None:
    """Bit for bit, and the same replay memory."""
    (left_arrays, left_plain), (right_arrays, right_plain) = left.state(), right.state()
    assert left_plain == right_plain
    assert left_arrays.keys() == right_arrays.keys()
    for name, array in left_arrays.items():
        assert array.tobytes() == right_arrays[name].tobytes(), name
    assert contents(left) == contents(right)


def contents(loop: TrainingLoop) -> list[bytes]:
    """All transitions in the memory, oldest first."""
    if not len(loop.replay):
        return []
    batch = loop.replay.gather(np.arange(len(loop.replay)))
    columns: list[Array] = [batch.action, batch.reward, batch.terminated, batch.observation["vector"]]
    return [column.tobytes() for column in columns]
