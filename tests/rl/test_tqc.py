"""TQC: which quantiles are believed, and how others are drawn to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.rl.experience import lidar_spec, point_spec
from tests.rl.learning import SMALL, filled, train
from tmrld.rl.options import AlgorithmOptions
from tmrld.rl.tqc import TQC, quantile_loss, truncated


def test_the_largest_quantiles_of_all_critics_together_are_left_out() -> None:
    values = torch.tensor([[[1.0], [7.0], [9.0]], [[2.0], [3.0], [4.0]]])  # two critics, three quantiles, a batch of one

    assert truncated(values, 1)[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert truncated(values, 0)[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 7.0, 9.0]
    assert truncated(values, 99)[:, 0].tolist() == [1.0, 2.0]


def each_with_each(values: Tensor, target: Tensor) -> Tensor:
    """The loss as the papers have it."""
    quantiles = values.shape[1]
    shares = (torch.arange(quantiles) + 0.5) / quantiles
    apart = target - values.unsqueeze(2)
    pull = torch.where(apart.abs() > 1.0, apart.abs() - 0.5, 0.5 * apart.square())
    return ((shares[:, None, None] - (apart < 0.0).float()).abs() * pull).mean()


@pytest.mark.parametrize(("scale", "offset"), [(0.3, 0.0), (1.0, 0.0), (1.0, -500.0), (30.0, 200.0)])
@pytest.mark.parametrize(("members", "quantiles", "atoms"), [(1, 1, 1), (2, 5, 7), (5, 25, 115)])
def test_the_loss_is_the_sum_over_all_pairs(members: int, quantiles: int, atoms: int, scale: float, offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = scale * torch.randn(members, quantiles, 16, generator=generator) + offset
    target = scale * torch.randn(atoms, 16, generator=generator).sort(dim=0).values + offset
    values.requires_grad_()

    loss, expected = quantile_loss(values, target), each_with_each(values, target)

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        *(torch.autograd.grad(each, values)[0] for each in (loss, expected)), rtol=1e-4, atol=1e-6 / values.numel()
    )


def test_atoms_at_a_quantile_and_at_the_end_of_what_is_near_pull_as_they_should() -> None:
    values, target = torch.tensor([[[0.0]]]), torch.tensor([[-1.0], [0.0], [0.0], [1.0]])

    # one quantile, the median: each pull has the weight a half, and those that are 1 away are worth a half
    assert quantile_loss(values, target).item() == pytest.approx(0.5 * (0.5 + 0.0 + 0.0 + 0.5) / 4)


def test_quantiles_come_to_be_those_of_what_they_are_drawn_to() -> None:
    """Wide apart, so that nearly all atoms are far, and pull as in plain quantile regression."""
    generator = torch.Generator().manual_seed(0)
    values = torch.zeros(1, 5, 1, requires_grad=True)
    optimizer = torch.optim.Adam([values], lr=1.0)

    for _ in range(600):
        target = (100.0 * torch.rand(200, 1, generator=generator)).sort(dim=0).values
        optimizer.zero_grad()
        quantile_loss(values, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    torch.testing.assert_close(values.detach()[0, :, 0], torch.tensor([10.0, 30.0, 50.0, 70.0, 90.0]), atol=5.0, rtol=0.0)


def test_targets_are_atoms_and_the_policy_climbs_the_mean_of_all_quantiles() -> None:
    tqc = TQC(AlgorithmOptions(name="tqc", critics=2, quantiles=3, dropped_quantiles=1), SMALL, point_spec(), seed=0)
    here, action = {"vector": torch.zeros(4, 1)}, torch.zeros(4, 1)
    with torch.no_grad():
        for critics in (tqc.critics, tqc.target_critics):
            critics.value.weight.zero_()
            critics.value.bias.copy_(torch.tensor([[[1.0, 7.0, 9.0]], [[2.0, 3.0, 4.0]]]))

    assert tqc._next_value(here, action).T.tolist() == [[1.0, 2.0, 3.0, 4.0]] * 4
    assert tqc._policy_value(here, action).tolist() == pytest.approx([26.0 / 6] * 4)
    tqc.set_options(tqc.options.model_copy(update={"dropped_quantiles": 2}))
    assert tqc._next_value(here, action).T.tolist() == [[1.0, 2.0]] * 4


def test_what_it_measures_are_means_over_quantiles() -> None:
    options = AlgorithmOptions(
        name="tqc", learning_rate_critic=1e-12, reward_scale=1e-9, alpha=1e-9, learn_alpha=False, gamma=0.0
    )
    tqc = TQC(options, SMALL, lidar_spec(), seed=0)
    with torch.no_grad():
        tqc.critics.value.weight.zero_()
        tqc.critics.value.bias.copy_(torch.arange(25.0))

    train(tqc, filled(lidar_spec()), 1, np.random.default_rng(0))

    stats = tqc.stats()
    assert stats["q"] == pytest.approx(12.0)
    assert stats["q_target"] == pytest.approx(0.0, abs=1e-6)
