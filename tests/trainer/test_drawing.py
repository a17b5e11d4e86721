"""Batches that are drawn ahead: while the update before runs, and the very ones that would be drawn without."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.runs import TRAINING, LogRecord, a_log, a_loop, assert_same_state, contents, ingest_until
from tmrld.rl.options import AlgorithmOptions
from tmrld.rl.replay import Batch
from tmrld.trainer.drawing import Drawing
from tmrld.trainer.loop import TrainingLoop

DEADLINE_S = 30.0
RECORDS = 12


def dice(seed: int = 0) -> Drawing[int]:
    return Drawing(lambda random: int(random.integers(1_000_000)), np.random.default_rng(seed))


# One after another


def test_what_is_drawn_ahead_is_what_would_be_drawn_now() -> None:
    plain, ahead = dice(), dice()
    expected = [plain.take() for _ in range(4)]
    taken = []
    for _ in range(4):
        taken.append(ahead.take())
        ahead.begin()
    assert taken == expected


def test_what_is_discarded_was_never_drawn() -> None:
    plain, ahead = dice(), dice()
    before = copy.deepcopy(ahead.state)
    ahead.begin()
    assert ahead.state == before, "a checkpoint is from before it"
    ahead.begin()
    ahead.discard()
    assert ahead.state == before
    assert ahead.take() == plain.take()
    assert ahead.state == plain.state


def test_a_state_that_is_set_takes_the_place_of_what_is_drawn_ahead() -> None:
    other, ahead = dice(7), dice()
    ahead.begin()
    ahead.state = other.state
    assert ahead.take() == other.take()


def test_what_fails_ahead_fails_when_it_is_asked_for() -> None:
    def fail(random: np.random.Generator) -> int:
        raise ValueError("nothing there")

    drawing = Drawing(fail, np.random.default_rng(0))
    drawing.begin()
    drawing.discard()
    drawing.begin()
    with pytest.raises(ValueError, match="nothing there"):
        drawing.take()


# In the training loop


def test_a_batch_is_drawn_while_the_update_before_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = a_loop(draws_ahead=True)
    ingest_until(loop, a_log(6), 60)
    drawn: Future[int] = Future()
    sample, update = loop.replay.sample, loop.algorithm.update

    def sampled(size: int, random: np.random.Generator, n_step: int, gamma: float, updates: int) -> Batch:
        batch = sample(size, random, n_step, gamma, updates)
        if threading.current_thread() is not threading.main_thread():
            drawn.set_result(size)
        return batch

    def updated(batch: Batch) -> None:
        assert drawn.result(DEADLINE_S) == 4
        update(batch)

    monkeypatch.setattr(loop.replay, "sample", sampled)
    monkeypatch.setattr(loop.algorithm, "update", updated)
    loop.update()


def test_nothing_is_drawn_ahead_of_an_update_that_has_to_wait_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = a_loop(draws_ahead=True, warm_up=10)
    ingest_until(loop, a_log(3), 30)
    begun: list[int] = []
    monkeypatch.setattr(Drawing, "begin", lambda self: begun.append(loop.counters.updates))
    loop.update()
    loop.update()
    assert not loop.update_is_due
    assert begun == [0]


STEPS = st.lists(st.sampled_from(["ingest", "skip", "update", "options", "resume"]), min_size=1, max_size=25)


@given(steps=STEPS, shown=st.booleans(), gru=st.sampled_from([0, 4]))
@settings(max_examples=25, deadline=None)
def test_drawing_ahead_changes_nothing_whatever_happens_between_updates(steps: list[str], shown: bool, gru: int) -> None:
    log = a_log(RECORDS)
    demonstrations = a_log(3) if shown else []

    def new(*, ahead: bool) -> TrainingLoop:
        return a_loop(capacity=20, demonstrations=demonstrations, gru=gru, draws_ahead=ahead)

    plain, ahead = new(ahead=False), new(ahead=True)
    sizes = iter(range(3, 100))
    for step in ["ingest", "ingest", "ingest", *steps]:
        size = next(sizes)
        if step == "resume":
            ahead = resumed(ahead, new(ahead=True), log)
            continue
        for loop in (plain, ahead):
            offset = loop.counters.offset
            if step == "ingest":
                ingest_until(loop, log, offset + 10)
            elif step == "skip":
                loop.ingest(None, offset, offset)
            elif step == "options":
                options = AlgorithmOptions(batch_size=size, warm_up=6, update_to_data=1.0, n_step=1 + size % 3)
                loop.set_options(options, TRAINING)
            elif loop.update_is_due:
                loop.update()
        assert_same_state(plain, ahead)
    for loop in (plain, ahead):
        while loop.update_is_due:
            loop.update()
    assert_same_state(plain, ahead)


def resumed(stopped: TrainingLoop, fresh: TrainingLoop, log: list[LogRecord]) -> TrainingLoop:
    """What goes on from the checkpoint of a loop."""
    arrays, plain = stopped.state()
    ingest_until(fresh, log, stopped.counters.offset)
    fresh.restore(arrays, plain)
    assert contents(fresh) == contents(stopped)
    return fresh
