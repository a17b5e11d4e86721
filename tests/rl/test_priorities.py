"""A prioritised memory: what is drawn how often, how much it counts, and that a refilled one draws the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rl.experience import cut_all, make_episode, point_spec
from tests.rl.learning import SMALL, filled
from tmrld.errors import BadInput
from tmrld.payloads import Array, Chunk
from tmrld.rl.algorithm import TellsErrors, make_algorithm
from tmrld.rl.options import ALGORITHMS, AlgorithmOptions, ReplayOptions
from tmrld.rl.priorities import PRIORITIES, UNIT, Priorities, Prioritised
from tmrld.rl.replay import NOWHERE, Batch, Replay, joined
from tmrld.rl.sac import SAC, critic_loss
from tmrld.rl.tqc import quantile_loss

SPEC = point_spec()
PAPER = Prioritised(alpha=0.6, beta=0.4, beta_updates=0)


def chunks_of(sizes: list[int]) -> list[Chunk]:
    return cut_all(make_episode(SPEC, sum(sizes), np.random.default_rng(0)), sizes)


def memory(sizes: list[int], capacity: int = 1000, options: Prioritised = PAPER) -> Replay:
    replay = Replay(SPEC, capacity, prioritised=options)
    for chunk in chunks_of(sizes):
        replay.append(chunk, offset=10 * chunk.number)
    return replay


def priorities(replay: Replay) -> list[int]:
    """Of all transitions, oldest first, in units."""
    found: list[int] = replay.state()[PRIORITIES].tolist()
    return found


def drawn_of(batch: Batch) -> Array:
    assert batch.drawn is not None
    return batch.drawn


def weights_of(batch: Batch) -> Array:
    assert batch.weights is not None
    return batch.weights


# Priorities


def test_new_transitions_get_the_largest_priority_so_far() -> None:
    replay = memory([3])
    assert priorities(replay) == [UNIT] * 3
    replay.prioritise(np.asarray([0, 1]), np.asarray([32.0, 0.0], np.float32))
    assert priorities(replay) == [8 * UNIT, 1, UNIT], "32 to the power of 0.6 is 8"
    more = chunks_of([3, 2])[1]
    replay.append(more, 10)
    replay.prioritise(np.asarray([0]), np.asarray([1.0], np.float32))
    assert priorities(replay) == [UNIT, 1, UNIT, 8 * UNIT, 8 * UNIT]


def test_a_transition_that_was_replaced_meanwhile_leaves_others_as_they_are() -> None:
    replay = memory([4, 4], capacity=8)
    before = drawn_of(replay.sample(8, np.random.default_rng(0)))
    assert before.tolist() == list(range(8)), "one of each part of the sum"
    replay.append(chunks_of([4, 4, 2])[2], 20)  # the first four leave; the places of two of them are taken
    replay.prioritise(before, np.full(8, 32.0, np.float32))
    assert priorities(replay) == [8 * UNIT] * 4 + [UNIT] * 2


def test_what_is_drawn_from_another_memory_changes_no_priority() -> None:
    replay, shown = memory([4]), filled(SPEC)
    batch = joined(replay.sample(4, np.random.default_rng(0)), shown.sample(3, np.random.default_rng(0)))
    assert drawn_of(batch).tolist() == [0, 1, 2, 3, *[NOWHERE] * 3]
    assert weights_of(batch).tolist() == [1.0] * 7
    replay.prioritise(drawn_of(batch), np.asarray([32.0] * 4 + [1e9] * 3, np.float32))
    assert priorities(replay) == [8 * UNIT] * 4


def test_an_error_that_is_no_number_changes_nothing() -> None:
    replay = memory([4])
    replay.prioritise(np.arange(3), np.asarray([np.nan, np.inf, 32.0], np.float32))
    assert priorities(replay) == [UNIT, UNIT, 8 * UNIT, UNIT]


def test_a_uniform_memory_knows_of_no_priorities() -> None:
    replay = filled(SPEC)
    batch = replay.sample(4, np.random.default_rng(0))
    assert batch.weights is None
    assert batch.drawn is None
    assert replay.state() == {}
    both = joined(batch, batch)
    assert both.weights is None
    assert both.drawn is None


def test_the_options_say_whether_and_how_a_memory_is_prioritised() -> None:
    assert Prioritised.of(ReplayOptions()) is None
    assert Prioritised.of(ReplayOptions(prioritised=True, priority_alpha=0.7)) == Prioritised(0.7, 0.4, 100_000)


def test_windows_of_episodes_are_not_drawn_by_priority() -> None:
    with pytest.raises(BadInput, match=r"gives no windows of episodes.*: set replay.prioritised = false, or network.gru = 0"):
        Replay(SPEC, 10, linked=True, prioritised=PAPER)


# Draws


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_transitions_are_drawn_as_often_as_the_paper_says(alpha: float) -> None:
    replay = memory([30, 20], options=Prioritised(alpha, 0.4, 0))
    errors = np.random.default_rng(1).exponential(2.0, 50).astype(np.float32)
    replay.prioritise(np.arange(50), errors)
    rng = np.random.default_rng(2)
    drawn = np.concatenate([drawn_of(replay.sample(16, rng)) for _ in range(5000)])

    expected = errors.astype(np.float64) ** alpha / np.sum(errors.astype(np.float64) ** alpha)
    often = np.bincount(drawn, minlength=50) / len(drawn)
    np.testing.assert_allclose(often, expected, atol=4 * np.sqrt(expected.max() / len(drawn)))


def test_each_equal_part_of_the_sum_gives_one_transition() -> None:
    replay = memory([8])
    replay.prioritise(np.arange(8), np.asarray([3, 1, 1, 1, 1, 1, 1, 3], np.float32) ** (1 / 0.6))
    drawn = drawn_of(replay.sample(4, np.random.default_rng(0)))
    assert drawn[0] == 0
    assert set(drawn[1:3].tolist()) <= set(range(1, 7))
    assert drawn[3] == 7


def test_a_batch_shows_the_transitions_that_it_says_were_drawn() -> None:
    replay = memory([5, 4, 6, 5], capacity=12)
    batch = replay.sample(64, np.random.default_rng(0), 3, 0.9)
    same = replay.gather(drawn_of(batch) - (20 - len(replay)), 3, 0.9)
    for name in ("action", "reward", "terminated", "steps"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(same, name))


# Weights


@given(
    errors=st.lists(st.floats(0.01, 100), min_size=2, max_size=30),
    alpha=st.floats(0.1, 1.0),
    beta=st.floats(0.0, 1.0),
)
def test_importance_weights_are_those_of_the_paper(errors: list[float], alpha: float, beta: float) -> None:
    replay = memory([len(errors)], options=Prioritised(alpha, beta, 0))
    replay.prioritise(np.arange(len(errors)), np.asarray(errors, np.float32))
    batch = replay.sample(16, np.random.default_rng(0))

    raised = np.asarray(errors) ** alpha
    probability = (raised / raised.sum())[drawn_of(batch)]
    weights = (len(errors) * probability) ** -beta
    rounding = 1 / (0.01 * UNIT)  # the smallest error is at least so many units, and is half a unit off, as the other is
    np.testing.assert_allclose(weights_of(batch), weights / weights.max(), rtol=1.1 * rounding)
    assert weights_of(batch).dtype == np.float32


def test_beta_rises_to_1_in_a_straight_line_and_stays_there() -> None:
    rising = Prioritised(0.6, 0.4, 100)
    assert [rising.beta_after(updates) for updates in (0, 50, 100, 1000)] == pytest.approx([0.4, 0.7, 1.0, 1.0])
    assert PAPER.beta_after(10**9) == 0.4


def test_the_weights_of_a_batch_follow_beta() -> None:
    replay = memory([2], options=Prioritised(1.0, 0.0, 10))
    replay.prioritise(np.arange(2), np.asarray([1.0, 4.0], np.float32))
    for updates, weight in ((0, 1.0), (5, 0.5), (10, 0.25), (99, 0.25)):
        batch = replay.sample(64, np.random.default_rng(0), updates=updates)
        assert set(weights_of(batch)[drawn_of(batch) == 1]) == {np.float32(weight)}
        assert set(weights_of(batch)[drawn_of(batch) == 0]) == {np.float32(1.0)}


# The same again


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(9, 40), st.integers(0, 3), st.booleans())
def test_a_refilled_memory_has_the_same_priorities_and_draws_the_same(
    sizes: list[int], capacity: int, more: int, damaged: bool
) -> None:
    chunks = chunks_of([*sizes, *[3] * more])
    rng, old = np.random.default_rng(4), Replay(SPEC, capacity, prioritised=PAPER)
    for chunk in chunks[: len(sizes)]:
        old.append(chunk, offset=10 * chunk.number)
        batch = old.sample(8, rng)
        old.prioritise(drawn_of(batch), rng.exponential(3.0, 8).astype(np.float32))

    new = Replay(SPEC, capacity, prioritised=PAPER)
    new.restore(old.state())
    assert old.oldest_offset is not None
    first = old.oldest_offset // 10
    if damaged:  # one of them cannot be read any more
        kept = len(chunks[first].columns["reward"]) - chunks[first].lead
        first += 1
    for chunk in chunks[first : len(sizes)]:
        new.append(chunk, offset=10 * chunk.number)
    if damaged:
        assert priorities(new) == priorities(old)[kept:]
        return
    assert priorities(new) == priorities(old)
    for chunk in chunks[len(sizes) - 1 :]:
        for replay in (old, new) if chunk.number >= len(sizes) else ():
            replay.append(chunk, offset=10 * chunk.number)
        assert priorities(new) == priorities(old)
        left, right = (replay.sample(16, np.random.default_rng(1)) for replay in (old, new))
        np.testing.assert_array_equal(left.reward, right.reward)
        np.testing.assert_array_equal(left.action, right.action)
        np.testing.assert_array_equal(weights_of(left), weights_of(right))


def test_a_memory_that_kept_no_priorities_comes_back_as_new() -> None:
    replay = Replay(SPEC, 100, prioritised=PAPER)
    replay.restore(Replay(SPEC, 100).state())
    replay.append(chunks_of([3])[0])
    assert priorities(replay) == [UNIT] * 3


def test_priorities_that_do_not_fit_their_chunks_are_refused() -> None:
    state = memory([3, 2]).state()
    with pytest.raises(BadInput, match="not those of its chunks"):
        Priorities(100, PAPER).restore({**state, PRIORITIES: state[PRIORITIES][1:]})


# Algorithms


@pytest.mark.parametrize("name", ALGORITHMS)
def test_all_algorithms_tell_their_errors(name: str) -> None:
    algorithm = make_algorithm(AlgorithmOptions.model_validate({"name": name}), SMALL, SPEC, seed=0)
    assert isinstance(algorithm, TellsErrors)
    replay = memory([20])
    batch = replay.sample(8, np.random.default_rng(0))
    algorithm.update(batch)
    errors = algorithm.errors()
    assert errors.shape == (8,)
    assert errors.min() > 0.0
    assert np.isfinite(errors).all()


def test_the_error_is_how_far_the_critics_are_off_in_the_mean() -> None:
    sac = SAC(AlgorithmOptions(), SMALL, SPEC, seed=0)
    values, target = torch.tensor([[1.0, 5.0], [2.0, 1.0]]), torch.tensor([2.0, 3.0])
    assert sac._error(values, target).tolist() == [0.5, 2.0]
    tqc = make_algorithm(AlgorithmOptions(name="tqc"), SMALL, SPEC, seed=0)
    assert isinstance(tqc, SAC)
    quantiles = torch.tensor([[[0.0, 4.0], [2.0, 6.0]]])  # one critic, two quantiles, two transitions
    atoms = torch.tensor([[1.0, 0.0], [2.0, 3.0], [3.0, 3.0]])
    assert tqc._error(quantiles, atoms).tolist() == [1.0, 3.0]


def test_the_losses_are_weighted_by_transition() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([1.0, 0.5, 0.0])
    values, target = torch.randn(2, 3), torch.randn(3)
    apart = torch.stack([critic_loss(values[:, i : i + 1], target[i : i + 1])[0] for i in range(3)])
    assert critic_loss(values, target, weights)[0].item() == pytest.approx((apart * weights).mean().item())
    quantiles, atoms = torch.randn(2, 4, 3), torch.randn(5, 3).sort(dim=0).values
    apart = torch.stack([quantile_loss(quantiles[:, :, i : i + 1], atoms[:, i : i + 1]) for i in range(3)])
    assert quantile_loss(quantiles, atoms, weights).item() == pytest.approx((apart * weights).mean().item(), rel=1e-5)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.5, 0.0])], ids=["alike", "weighted"])
def test_the_gradient_that_comes_with_the_loss_is_its_own(weights: torch.Tensor | None) -> None:
    torch.manual_seed(0)
    values, target = torch.randn(2, 3, requires_grad=True), torch.randn(3)

    loss, of_values = critic_loss(values, target, weights)

    torch.testing.assert_close(of_values, *torch.autograd.grad(loss, [values]))


@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_weights_of_1_change_no_update(name: str) -> None:
    plain, weighted = (make_algorithm(AlgorithmOptions.model_validate({"name": name}), SMALL, SPEC, 0) for _ in range(2))
    replay = memory([20])
    batch = replay.sample(8, np.random.default_rng(0))
    assert set(weights_of(batch)) == {1.0}
    for _ in range(3):
        plain.update(replay.gather(drawn_of(batch)))
        weighted.update(batch)
    arrays: dict[str, Any] = weighted.state()[0]
    for tensor, array in plain.state()[0].items():
        np.testing.assert_array_equal(array, arrays[tensor], err_msg=tensor)
