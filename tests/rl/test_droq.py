"""DroQ: what its critics leave out."""

from __future__ import annotations

import pytest
import torch

from tests.rl.experience import point_spec
from tests.rl.learning import SMALL
from tmrld.rl.droq import DropoutCritics, DroQ, left_out
from tmrld.rl.options import AlgorithmOptions, NetworkOptions

HERE = {"vector": torch.zeros(4, 1)}
ACTION = torch.zeros(4, 1)


def droq(rate: float, network: NetworkOptions = SMALL) -> DroQ:
    return DroQ(AlgorithmOptions(name="droq", dropout=rate), network, point_spec(), seed=0)


def test_a_share_is_left_out_and_the_sum_stays_in_the_mean() -> None:
    values = left_out(torch.full((100, 1000), 3.0), 0.2, torch.Generator().manual_seed(0))

    assert sorted(set(values.flatten().tolist())) == pytest.approx([0.0, 3.0 / 0.8])
    assert (values == 0.0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert values.mean().item() == pytest.approx(3.0, abs=0.05)


def test_nothing_is_left_out_at_rate_0() -> None:
    values = torch.randn(3, 4, 5)

    assert torch.equal(left_out(values, 0.0, torch.Generator()), values)


@pytest.mark.parametrize("trunk", ["mlp", "simba", "simba2"])
def test_critics_and_targets_leave_out_something_else_each_time_they_are_asked(trunk: str) -> None:
    algorithm = droq(0.5, NetworkOptions.model_validate({"hidden": (16, 16), "trunk": trunk}))

    for critics in (algorithm.critics, algorithm.target_critics):
        assert not torch.equal(critics(HERE, ACTION), critics(HERE, ACTION))
    algorithm.set_options(algorithm.options.model_copy(update={"dropout": 0.0}))
    for critics in (algorithm.critics, algorithm.target_critics):
        assert torch.equal(critics(HERE, ACTION), critics(HERE, ACTION))


def test_hidden_layers_are_normalised_whatever_the_network_says() -> None:
    with_norm, without = (droq(0.0, SMALL.model_copy(update={"critic_layer_norm": norm})) for norm in (True, False))

    assert torch.equal(with_norm.critics(HERE, ACTION), without.critics(HERE, ACTION))


def test_the_smaller_target_is_believed_and_the_mean_is_climbed() -> None:
    algorithm = droq(0.1)
    with torch.no_grad():
        for critics in (algorithm.critics, algorithm.target_critics):
            assert isinstance(critics, DropoutCritics)
            critics.value.weight.zero_()
            critics.value.bias.copy_(torch.tensor([[1.0], [4.0]]))

    assert algorithm._next_value(HERE, ACTION).tolist() == pytest.approx([1.0] * 4)
    assert algorithm._policy_value(HERE, ACTION).tolist() == pytest.approx([2.5] * 4)
