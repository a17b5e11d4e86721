"""CrossQ: normalisation over the batch, and what takes the place of target critics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.rl.experience import lidar_spec
from tests.rl.learning import SMALL, filled, train
from tmrld.rl.crossq import EPSILON, MOMENTUM, WARM_UP, BatchRenorm, CrossQ
from tmrld.rl.options import AlgorithmOptions


def values(mean: float, deviation: float) -> torch.Tensor:
    """Two networks, 512 rows, 3 values each."""
    return mean + deviation * torch.randn(2, 512, 3, generator=torch.Generator().manual_seed(0))


def test_while_it_trains_it_is_plain_batch_normalisation_at_first() -> None:
    layer, given = BatchRenorm(2, 3), values(5.0, 2.0)

    found = layer(given)

    for member in range(2):
        expected = torch.nn.functional.batch_norm(given[member], None, None, training=True, eps=EPSILON)
        torch.testing.assert_close(found[member], expected)


def test_what_ran_by_is_used_when_it_does_not_train() -> None:
    layer, given = BatchRenorm(2, 3), values(5.0, 2.0)
    for _ in range(1000):
        layer(given)
    layer.eval()

    torch.testing.assert_close(layer(given), BatchRenorm(2, 3)(given), atol=1e-2, rtol=1e-2)
    assert layer.batches.item() == 1000, "asking changes nothing"


def test_one_batch_moves_the_means_by_a_share() -> None:
    layer, given = BatchRenorm(2, 3), values(5.0, 2.0)

    layer(given)

    torch.testing.assert_close(layer.mean, MOMENTUM * given.mean(dim=1, keepdim=True))
    expected = 1.0 - MOMENTUM + MOMENTUM * given.var(dim=1, correction=0, keepdim=True)
    torch.testing.assert_close(layer.variance, expected)


def test_after_a_while_a_batch_is_normalised_as_by_the_running_means_within_limits() -> None:
    layer, near, far = BatchRenorm(2, 3), values(0.5, 1.5), values(100.0, 1.0)
    layer.batches.fill_(WARM_UP)
    expected = near / (1.0 + EPSILON) ** 0.5  # mean 0 and variance 1 are what it begins with

    torch.testing.assert_close(layer(near), expected, atol=1e-4, rtol=1e-4)
    assert layer(far).mean().item() == pytest.approx(5.0, abs=0.1)


def test_there_are_no_target_critics() -> None:
    crossq = CrossQ(AlgorithmOptions(name="crossq"), SMALL, lidar_spec(), seed=0)

    arrays, _ = crossq.state()

    assert not any(name.startswith("target_critics") for name in arrays)
    assert any(name.startswith("critics.norms.0.mean") for name in arrays)


def test_tau_has_no_effect() -> None:
    slow, fast = (CrossQ(AlgorithmOptions(name="crossq", tau=tau), SMALL, lidar_spec(), seed=0) for tau in (0.001, 1.0))
    for algorithm in (slow, fast):
        train(algorithm, filled(lidar_spec()), 3, np.random.default_rng(0))

    (arrays, _), (others, _) = slow.state(), fast.state()
    assert all(np.array_equal(array, others[name]) for name, array in arrays.items())


def test_the_batch_and_what_comes_after_it_are_read_together() -> None:
    crossq = CrossQ(AlgorithmOptions(name="crossq"), SMALL, lidar_spec(), seed=0)
    here, there = {"vector": torch.zeros(8, 83)}, {"vector": torch.ones(8, 83)}
    action = torch.linspace(-1.0, 1.0, 24).reshape(8, 3)

    together, believed = crossq._now_and_next(here, action, there, action)
    alone, _ = crossq._now_and_next(here, action, here, action)

    assert together.shape == (2, 8)
    assert believed.shape == (8,)
    assert not believed.requires_grad
    assert not torch.allclose(together, alone), "what comes after counts in the means"


def test_the_policy_asks_without_changing_what_runs_by() -> None:
    crossq = CrossQ(AlgorithmOptions(name="crossq"), SMALL, lidar_spec(), seed=0)
    before = {name: tensor.clone() for name, tensor in crossq.critics.state_dict().items()}

    crossq._policy_value({"vector": torch.ones(8, 83)}, torch.zeros(8, 3))

    assert all(torch.equal(tensor, before[name]) for name, tensor in crossq.critics.state_dict().items())
