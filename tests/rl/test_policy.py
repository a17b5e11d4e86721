"""The tanh-Gaussian against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution, kl_divergence

from tmrld.rl.policy import TanhGaussian


def gaussian() -> TanhGaussian:
    generator = torch.Generator().manual_seed(0)
    mean, log_std = (torch.randn(64, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return TanhGaussian(torch.cat((mean, log_std), dim=1))


def test_the_density_is_that_of_torch_distributions() -> None:
    ours = gaussian()
    theirs = Independent(TransformedDistribution(Normal(ours.mean, ours.log_std.exp()), [TanhTransform(cache_size=1)]), 1)
    pre_tanh = ours.mean + ours.log_std.exp() * torch.linspace(-1.5, 1.5, 64, dtype=torch.float64)[:, None]

    expected = theirs.log_prob(torch.tanh(pre_tanh))  # type: ignore[no-untyped-call]

    torch.testing.assert_close(ours.log_prob(pre_tanh), expected, rtol=1e-5, atol=1e-5)


def test_the_divergence_is_that_of_torch_distributions() -> None:
    ours, other = gaussian(), TanhGaussian(torch.tensor([0.3] * 3 + [-0.4] * 3).expand(64, 6))

    expected = kl_divergence(*(Independent(Normal(each.mean, each.log_std.exp()), 1) for each in (ours, other)))

    torch.testing.assert_close(ours.divergence(other), expected, rtol=1e-6, atol=1e-6)
    assert not ours.divergence(ours).abs().max() > 1e-12


def test_the_density_stays_finite_where_tanh_is_flat() -> None:
    wide = TanhGaussian(torch.tensor([[40.0, -40.0, 0.0, 0.0]]))

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


def test_in_one_loop_samples_and_their_gradients_are_the_same() -> None:
    head = 3.0 * torch.randn(64, 6, generator=torch.Generator().manual_seed(3))
    weights = torch.randn(64, 4, generator=torch.Generator().manual_seed(4))

    def outcome(head: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        head.requires_grad_()
        action, log_prob = TanhGaussian(head, -4.0, 1.5).sample(torch.Generator().manual_seed(1))
        loss = (action * weights[:, :3]).sum() + (log_prob * weights[:, 3]).sum()
        (gradient,) = torch.autograd.grad(loss, [head])
        return action.detach().double(), log_prob.detach().double(), gradient.double()

    ours, theirs = outcome(head.clone()), outcome(head.double())  # in float64, torch computes it step by step

    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    outside = (head[:, 3:] < -4.0) | (head[:, 3:] > 1.5)
    assert 10 < outside.sum() < 180
    assert not ours[2][:, 3:][outside].any()


def test_the_same_generator_gives_the_same_actions() -> None:
    ours = gaussian()

    first, _ = ours.sample(torch.Generator().manual_seed(7))
    second, _ = ours.sample(torch.Generator().manual_seed(7))

    assert torch.equal(first, second)


def test_without_exploration_the_action_is_the_squashed_mean() -> None:
    ours = gaussian()

    assert torch.equal(ours.mode(), torch.tanh(ours.mean))
