"""What the training loop counts, and that it does the same when it is told the same."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.runs import TRAINING, a_log, a_loop, assert_same_state, ingest_until
from tmrld.errors import BadInput
from tmrld.rl.options import AlgorithmOptions
from tmrld.trainer.loop import Counters, TrainingLoop, granted_transitions
from tmrld.trainer.options import TrainingOptions


def updates_that_are_due(loop: TrainingLoop) -> int:
    """Make them, and count."""
    count = 0
    while loop.update_is_due:
        loop.update()
        count += 1
    return count


# Counting


def test_nothing_is_due_before_the_warm_up_is_over() -> None:
    loop, log = a_loop(warm_up=8), a_log(3)
    ingest_until(loop, log, 20)
    assert loop.counters.transitions == 8
    assert not loop.update_is_due
    ingest_until(loop, log, 30)
    assert updates_that_are_due(loop) == 4


@pytest.mark.parametrize(("ratio", "updates"), [(0.25, 1), (0.5, 2), (1.0, 4), (4.0, 16), (0.3, 2)])
def test_updates_keep_their_ratio_to_the_data(ratio: float, updates: int) -> None:
    loop = a_loop(warm_up=4, update_to_data=ratio)
    ingest_until(loop, a_log(2), 20)
    assert updates_that_are_due(loop) == updates


def test_nothing_is_due_with_an_empty_memory() -> None:
    loop = a_loop(warm_up=1)
    loop.counters.transitions = 1000
    assert not loop.update_is_due


def test_a_record_that_is_not_trained_on_moves_the_offset_alone() -> None:
    loop = a_loop()
    loop.ingest(None, 0, 10)
    assert loop.counters == Counters(offset=10)
    assert len(loop.replay) == 0


def test_transitions_that_cannot_be_used_count_as_collected() -> None:
    loop = a_loop()
    loop.ingest(None, 0, 10, left_out=7)
    assert loop.counters == Counters(transitions=7, offset=10)
    assert len(loop.replay) == 0


def test_a_chunk_that_does_not_fit_changes_nothing() -> None:
    loop = a_loop()
    (record,) = a_log(1)
    wrong = dataclasses.replace(record.chunk, columns={})
    with pytest.raises(BadInput, match="lacks the column"):
        loop.ingest(wrong, 0, 10)
    assert loop.counters == Counters()


def test_transitions_count_on_when_the_memory_lets_old_ones_go() -> None:
    loop = a_loop(capacity=6)
    ingest_until(loop, a_log(5), 50)
    assert (loop.counters.transitions, len(loop.replay)) == (20, 4)


def test_before_the_first_update_warm_up_and_slack_are_granted() -> None:
    assert a_loop(warm_up=6).granted == 6 + TRAINING.slack_transitions


@given(
    updates=st.integers(0, 10_000),
    ratio=st.floats(0.01, 100),
    warm_up=st.integers(1, 1000),
    slack=st.integers(1, 1000),
)
def test_who_has_collected_all_that_was_granted_never_waits_for_a_trainer_that_waits_for_data(
    updates: int, ratio: float, warm_up: int, slack: int
) -> None:
    algorithm = AlgorithmOptions(update_to_data=ratio, warm_up=warm_up)
    granted = granted_transitions(algorithm, TrainingOptions(slack_transitions=slack), updates)
    assert updates < (granted - warm_up) * ratio, "an update is due"
    beyond = (updates / ratio + warm_up) + slack
    assert granted <= beyond, "and no more was granted than the slack allows"


# The same again


def test_the_same_calls_lead_to_the_same_state_bit_for_bit() -> None:
    loops, log = (a_loop(capacity=20), a_loop(capacity=20)), a_log(8)
    for loop in loops:
        for until in (30, 40, 80):
            ingest_until(loop, log, until)
            updates_that_are_due(loop)
    assert_same_state(*loops)
    assert loops[0].counters == Counters(updates=26, transitions=32, offset=80)


def test_data_that_enters_between_other_updates_leads_elsewhere() -> None:
    early, late, log = a_loop(), a_loop(), a_log(4)
    ingest_until(early, log, 40)
    updates_that_are_due(early)
    ingest_until(late, log, 30)
    late.update()
    ingest_until(late, log, 40)
    updates_that_are_due(late)
    assert early.counters == late.counters
    assert early.state()[0]["noise"].tobytes() == late.state()[0]["noise"].tobytes()
    with pytest.raises(AssertionError):
        assert_same_state(early, late)


def test_a_state_is_a_copy_that_later_updates_do_not_change() -> None:
    loop = a_loop()
    ingest_until(loop, a_log(4), 40)
    loop.update()
    arrays, plain = loop.state()
    before = {name: array.tobytes() for name, array in arrays.items()}
    updates = plain["counters"]["updates"]
    loop.update()
    assert {name: array.tobytes() for name, array in arrays.items()} == before
    assert plain["counters"]["updates"] == updates
