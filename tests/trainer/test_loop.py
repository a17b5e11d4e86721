"""What the training loop counts, and that it does the same when it is told the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.rl.experience import point_spec
from tests.trainer.runs import SPEC, TRAINING, a_log, a_loop, assert_same_state, ingest_until
from tmrld.errors import BadInput
from tmrld.payloads import Array, Chunk
from tmrld.rl.algorithm import Algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.priorities import PRIORITIES, Prioritised
from tmrld.rl.replay import NOWHERE, Batch, Replay
from tmrld.rl.sac import SAC
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


# Demonstrations


@pytest.mark.parametrize(("share", "shown"), [(0.0, 0), (0.005, 0), (0.25, 16), (0.5, 32), (0.99, 63), (1.0, 64)])
def test_so_large_a_share_of_each_batch_is_drawn_from_the_demonstrations(share: float, shown: int) -> None:
    log = a_log(6)
    loop = a_loop(demonstrations=log[4:], share=share, batch_size=64)
    ingest_until(loop, log, 40)
    from_demonstrations = {tuple(action) for record in log[4:] for action in record.chunk.columns["action"][1:]}

    for _ in range(3):
        batch = loop.batch()
        assert len(batch.action) == 64
        assert sum(tuple(action) in from_demonstrations for action in batch.action) == shown


def test_demonstrations_count_neither_as_collected_nor_for_when_updates_are_due() -> None:
    log = a_log(6)
    plain, shown = a_loop(), a_loop(demonstrations=log[3:])
    for loop in (plain, shown):
        ingest_until(loop, log, 30)
    assert updates_that_are_due(plain) == updates_that_are_due(shown)
    assert plain.counters == shown.counters
    assert (plain.granted, len(plain.replay)) == (shown.granted, len(shown.replay))
    with pytest.raises(AssertionError):
        assert_same_state(plain, shown)


def test_without_data_of_its_own_a_run_does_not_learn_from_demonstrations_yet() -> None:
    loop = a_loop(demonstrations=a_log(3))
    loop.counters.transitions = 1000
    assert not loop.update_is_due


def test_the_same_calls_with_demonstrations_lead_to_the_same_state_bit_for_bit() -> None:
    log = a_log(8)
    loops = a_loop(capacity=20, demonstrations=log[5:]), a_loop(capacity=20, demonstrations=log[5:])
    for loop in loops:
        for until in (30, 50):
            ingest_until(loop, log, until)
            updates_that_are_due(loop)
    assert_same_state(*loops)


# Prioritised replay


PRIORITISED = Prioritised(alpha=0.6, beta=0.4, beta_updates=20)


def test_what_was_foretold_badly_is_drawn_more_often_from_then_on() -> None:
    loop = a_loop(prioritised=PRIORITISED, batch_size=32)
    ingest_until(loop, a_log(5), 50)
    before = loop.replay.state()[PRIORITIES]
    for _ in range(20):
        loop.update()
    after = loop.replay.state()[PRIORITIES]
    assert len(set(before)) == 1
    assert len(set(after)) > 15, "nearly all of the 20 were learned from"
    drawn = np.concatenate([batch.drawn for _ in range(100) if (batch := loop.batch()).drawn is not None])
    often = np.bincount(drawn, minlength=20) / len(drawn)
    np.testing.assert_allclose(often, after / after.sum(), atol=0.02)


def test_importance_weights_follow_the_updates_that_were_made() -> None:
    loop = a_loop(prioritised=Prioritised(1.0, 0.0, 20), batch_size=64)
    ingest_until(loop, a_log(5), 50)
    for _ in range(5):
        loop.update()
    loop.counters.updates = 0
    assert set(weights(loop.batch())) == {1.0}
    loop.counters.updates = 20
    batch = loop.batch()
    assert batch.drawn is not None
    priority = loop.replay.state()[PRIORITIES][batch.drawn].astype(np.float64)
    np.testing.assert_allclose(weights(batch), priority.min() / priority, rtol=1e-6)


def test_demonstrations_are_drawn_alike_and_count_in_full_beside_prioritised_transitions() -> None:
    log = a_log(6)
    loop = a_loop(prioritised=PRIORITISED, demonstrations=log[4:], share=0.5, batch_size=64, n_step=3)
    ingest_until(loop, log, 40)
    for _ in range(10):
        loop.update()
    batch = loop.batch()
    assert batch.drawn is not None
    assert batch.drawn[:32].min() >= 0
    assert set(batch.drawn[32:]) == {NOWHERE}
    assert set(weights(batch)[32:]) == {1.0}
    assert weights(batch)[:32].min() < 1.0


def test_a_batch_of_demonstrations_alone_leaves_priorities_as_they_are() -> None:
    log = a_log(6)
    loop = a_loop(prioritised=PRIORITISED, demonstrations=log[4:], share=1.0)
    ingest_until(loop, log, 40)
    before = loop.replay.state()[PRIORITIES]
    loop.update()
    np.testing.assert_array_equal(loop.replay.state()[PRIORITIES], before)


def test_the_same_calls_with_priorities_lead_to_the_same_state_bit_for_bit() -> None:
    log = a_log(8)
    loops = a_loop(20, log[5:], prioritised=PRIORITISED), a_loop(20, log[5:], prioritised=PRIORITISED)
    plain = a_loop(20, log[5:])
    for loop in (*loops, plain):
        for until in (30, 50):
            ingest_until(loop, log, until)
            updates_that_are_due(loop)
    assert_same_state(*loops)
    with pytest.raises(AssertionError):
        assert_same_state(loops[0], plain)


def test_a_prioritised_memory_is_not_drawn_from_ahead() -> None:
    log = a_log(8)
    loops = a_loop(20, prioritised=PRIORITISED), a_loop(20, prioritised=PRIORITISED, draws_ahead=True)
    for loop in loops:
        for until in (30, 50, 80):
            ingest_until(loop, log, until)
            updates_that_are_due(loop)
    assert_same_state(*loops)


class Mute:
    """An algorithm that does not tell how far it was off."""

    options = AlgorithmOptions(name="mine:Mute")

    def update(self, batch: Batch) -> None:
        """Learn nothing."""


def test_an_algorithm_that_does_not_tell_its_errors_is_refused_a_prioritised_memory() -> None:
    mute = cast(Algorithm, Mute())
    TrainingLoop(mute, Replay(SPEC, 10), mute.options, TRAINING)
    with pytest.raises(BadInput, match=r"'mine:Mute' cannot learn from a prioritised memory: set replay.prioritised = false"):
        TrainingLoop(mute, Replay(SPEC, 10, prioritised=PRIORITISED), mute.options, TRAINING)


def weights(batch: Batch) -> Array:
    assert batch.weights is not None
    return batch.weights


@pytest.mark.parametrize("name", ["sac", "redq", "droq", "tqc", "crossq"])
def test_a_prioritised_run_that_is_resumed_ends_as_one_that_never_stopped(name: str) -> None:
    log = a_log(12)
    unbroken = a_loop(22, prioritised=PRIORITISED, name=name, n_step=2)
    ingest_until(unbroken, log, 80)
    for _ in range(7):
        unbroken.update()
    arrays, plain = unbroken.state()
    window = unbroken.replay.oldest_offset
    assert window, "some have left the memory"

    resumed = a_loop(22, prioritised=PRIORITISED, name=name, n_step=2)
    resumed.restore(arrays, plain)
    counters, resumed.counters = resumed.counters, Counters(offset=window)
    ingest_until(resumed, log, counters.offset)
    resumed.counters = counters
    assert_same_state(resumed, unbroken)
    for loop in (unbroken, resumed):
        ingest_until(loop, log, 120)
        for _ in range(7):
            loop.update()
    assert_same_state(resumed, unbroken)


STEPS = 25


def drive(choose: Callable[[float], float], number: int) -> tuple[Chunk, float]:
    """An episode on a road from 0 to 1, where every step moves by a tenth of the action; only its end is worth something."""
    position, rows = 0.0, [(0.0, 0.0, 0.0, False)]
    while len(rows) <= STEPS and not rows[-1][3]:
        action = float(np.clip(choose(position), -1.0, 1.0))
        position = float(np.clip(position + 0.1 * action, -1.0, 1.0))
        rows.append((position, action, float(position >= 0.95), position >= 0.95))
    positions, actions, rewards, ends = (np.asarray(column) for column in zip(*rows, strict=True))
    columns: dict[str, Array] = {
        "position": positions[:, None].astype(np.float32),
        "action": actions[:, None].astype(np.float32),
        "reward": rewards.astype(np.float32),
        "terminated": ends.astype(np.uint8),
        "truncated": np.asarray([False] * (len(rows) - 1) + [not ends[-1]]).astype(np.uint8),
    }
    chunk = Chunk("r", "w", "i", number, f"e{number}", 0, len(rows) - 1, 1, "t", "train", "", columns)
    return chunk, float(rewards.sum())


def test_from_a_driver_that_arrives_a_run_learns_what_chance_never_shows_it() -> None:
    random = np.random.default_rng(1)
    by_chance = [drive(lambda _: random.uniform(-1.0, 1.0), number) for number in range(20)]
    assert not any(episode_return for _, episode_return in by_chance)
    scripted = [drive(lambda _: 1.0 + random.normal(0.0, 0.3), number)[0] for number in range(5)]
    options = AlgorithmOptions(batch_size=64, warm_up=1, gamma=0.95, tau=0.1, learn_alpha=False, alpha=1e-3, n_step=5)

    def learned(shown: Replay | None) -> tuple[float, float]:
        """What its policy earns, and what it takes the way ahead for."""
        sac = SAC(options, NetworkOptions(hidden=(32,)), point_spec(), TRAINING.seed)
        loop = TrainingLoop(sac, Replay(SPEC, 1000), options, TRAINING, shown, 0.25)
        for number, (chunk, _) in enumerate(by_chance):
            loop.ingest(chunk, number, number + 1)
        for _ in range(500):
            loop.update()

        def policy(position: float) -> float:
            seen = torch.tensor([[position]], dtype=torch.float32)
            return float(sac.policy({"vector": sac.normaliser(seen)}).mode().detach())

        start = {"vector": sac.normaliser(torch.zeros(1, 1))}
        return drive(policy, 0)[1], float(sac.critics(start, torch.ones(1, 1)).detach().amin())

    demonstrations = Replay(SPEC, 200)
    for chunk in scripted:
        demonstrations.append(chunk)
    earned, value = learned(demonstrations)
    assert earned == 1.0
    assert value > 0.25, "ten steps ahead lies a reward of 1, discounted by 0.95 per step"
    _, value = learned(None)
    assert value < 0.15, "of which nothing is known without them"


def test_a_prioritised_run_finds_the_rare_reward_sooner() -> None:
    random = np.random.default_rng(1)
    by_chance = [drive(lambda _: random.uniform(-1.0, 1.0), number)[0] for number in range(40)]
    driven = drive(lambda _: 1.0, 40)[0]
    options = AlgorithmOptions(batch_size=16, warm_up=1, gamma=0.9, tau=0.1, learn_alpha=False, alpha=1e-3, n_step=1)

    def value_before_the_end(prioritised: Prioritised | None) -> float:
        """What the critics come to think of the last step; one episode in forty shows that it earns 1."""
        sac = SAC(options, NetworkOptions(hidden=(32,)), point_spec(), seed=1)
        loop = TrainingLoop(sac, Replay(SPEC, 2000, prioritised=prioritised), options, TRAINING)
        for number, chunk in enumerate([*by_chance, driven]):
            loop.ingest(chunk, number, number + 1)
        for _ in range(900):
            loop.update()
        seen = {"vector": sac.normaliser(torch.tensor([[0.9]]))}
        return float(sac.critics(seen, torch.ones(1, 1)).detach().amin())

    assert value_before_the_end(None) < 0.35
    assert value_before_the_end(Prioritised(0.6, 0.4, 0)) > 0.5
