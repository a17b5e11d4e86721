"""The tanh-Gaussian against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution, kl_divergence

from tmrld.rl.policy import TanhGaussian


def gaussian() -> TanhGaussian:
    generator = torch.Generator().manual_seed(0)
    return TanhGaussian(
        torch.randn(64, 3, generator=generator, dtype=torch.float64),
        torch.randn(64, 3, generator=generator, dtype=torch.float64),
    )


def test_the_density_is_that_of_torch_distributions() -> None:
    ours = gaussian()
    theirs = Independent(TransformedDistribution(Normal(ours.mean, ours.log_std.exp()), [TanhTransform(cache_size=1)]), 1)
    pre_tanh = ours.mean + ours.log_std.exp() * torch.linspace(-1.5, 1.5, 64, dtype=torch.float64)[:, None]

    expected = theirs.log_prob(torch.tanh(pre_tanh))  # type: ignore[no-untyped-call]

    torch.testing.assert_close(ours.log_prob(pre_tanh), expected, rtol=1e-5, atol=1e-5)


def test_the_divergence_is_that_of_torch_distributions() -> None:
    ours, other = gaussian(), TanhGaussian(torch.full((64, 3), 0.3), torch.full((64, 3), -0.4))

    expected = kl_divergence(*(Independent(Normal(each.mean, each.log_std.exp()), 1) for each in (ours, other)))

    torch.testing.assert_close(ours.divergence(other), expected, rtol=1e-6, atol=1e-6)
    assert not ours.divergence(ours).abs().max() > 1e-12


def test_the_density_stays_finite_where_tanh_is_flat() -> None:
    wide = TanhGaussian(torch.tensor([[40.0, -40.0]]), torch.zeros(1, 2))

    log_prob = wide.log_prob(torch.tensor([[40.0, -40.0]]))

    # each axis: -log √(2π) for the Gaussian, and -log(1 - tanh² 40) = 2 · 40 - 2 log 2
    assert log_prob.item() == pytest.approx(2 * (-0.9189385 + 80.0 - 1.3862944), rel=1e-6)


def test_a_sample_comes_with_its_own_density_and_stays_inside() -> None:
    ours = gaussian()

    action, log_prob = ours.sample(torch.Generator().manual_seed(1))

    assert action.abs().max() <= 1.0
    moderate = (action.abs() < 0.999).all(dim=1)
    again = ours.log_prob(torch.atanh(action.double()))
    torch.testing.assert_close(log_prob[moderate], again[moderate], rtol=1e-3, atol=1e-3)


def test_the_same_generator_gives_the_same_actions() -> None:
    ours = gaussian()

    first, _ = ours.sample(torch.Generator().manual_seed(7))
    second, _ = ours.sample(torch.Generator().manual_seed(7))

    assert torch.equal(first, second)


def test_without_exploration_the_action_is_the_squashed_mean() -> None:
    ours = gaussian()

    assert torch.equal(ours.mode(), torch.tanh(ours.mean))
