"""How hidden layers are joined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.rl.experience import lidar_spec, point_spec
from tests.rl.learning import assert_same_state, bandit, filled, train
from tmrld.rl.networks import Critics, Trunk
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC
from tmrld.rl.trunks import trunk_layers, trunk_size

SIMBA = NetworkOptions(hidden=(12, 20, 8), trunk="simba")


def test_layers_of_a_plain_trunk_follow_one_another() -> None:
    plain = NetworkOptions(hidden=(12, 20, 8))

    assert trunk_layers(5, plain, plain.hidden) == ((5, 12), (12, 20), (20, 8))
    assert trunk_size(plain, plain.hidden) == 8


def test_each_further_width_of_a_residual_trunk_is_a_block() -> None:
    assert trunk_layers(5, SIMBA, SIMBA.hidden) == ((5, 12), (12, 20), (20, 12), (12, 8), (8, 12))
    assert trunk_size(SIMBA, SIMBA.hidden) == 12


def test_a_residual_trunk_computes_what_the_paper_says() -> None:
    trunk = Trunk(5, SIMBA, torch.Generator().manual_seed(0))
    given = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))

    def layer(index: int, values: Tensor) -> Tensor:
        weight, bias = (trunk.get_parameter(f"layers.{index}.{name}") for name in ("weight", "bias"))
        return values @ weight.T + bias

    expected = layer(0, given)
    for index in (1, 3):
        expected = expected + layer(index + 1, torch.relu(layer(index, functional.layer_norm(expected, (12,)))))
    expected = functional.layer_norm(expected, (12,))

    torch.testing.assert_close(trunk(given), expected)


def test_critics_may_be_wider_than_the_policy() -> None:
    network = NetworkOptions(hidden=(16,), hidden_critic=(24, 32))
    sac = SAC(AlgorithmOptions(), network, point_spec(), seed=0)

    arrays, _ = sac.state()
    assert [arrays[f"critics.layers.{index}.weight"].shape for index in (0, 1)] == [(2, 2, 24), (2, 24, 32)]
    assert arrays["policy.trunk.layers.0.weight"].shape == (16, 1)


@pytest.mark.parametrize("network", [SIMBA, SIMBA.model_copy(update={"hidden_critic": (16, 32)})])
def test_each_member_of_residual_critics_is_what_it_would_be_alone(network: NetworkOptions) -> None:
    critics = Critics(lidar_spec(), network, 3, torch.Generator().manual_seed(0))
    observation, action = {"vector": torch.randn(4, 83)}, torch.randn(4, 3)
    together = critics(observation, action)

    for member in range(3):
        alone = Critics(lidar_spec(), network, 1, torch.Generator())
        alone.load_state_dict({name: tensor[member : member + 1] for name, tensor in critics.state_dict().items()})
        torch.testing.assert_close(alone(observation, action)[0], together[member])


def test_with_a_residual_trunk_it_learns_what_to_do_where() -> None:
    options = AlgorithmOptions(learning_rate_actor=3e-3, learning_rate_critic=3e-3, learn_alpha=False, alpha=0.01)
    sac = SAC(options, NetworkOptions(hidden=(16, 32), trunk="simba"), point_spec(), seed=0)
    rng = np.random.default_rng(0)

    for _ in range(600):
        sac.update(bandit(64, rng))

    positions = torch.linspace(-0.9, 0.9, 7)[:, None]
    with torch.no_grad():
        actions = sac.policy({"vector": sac.normaliser(positions)}).mode()
    torch.testing.assert_close(actions, 0.5 * positions, atol=0.15, rtol=0.0)


def test_with_a_residual_trunk_a_restored_algorithm_goes_on_bit_for_bit() -> None:
    replay = filled(lidar_spec())
    first, second = (SAC(AlgorithmOptions(), SIMBA, lidar_spec(), seed=seed) for seed in (1, 99))
    train(first, replay, 3, np.random.default_rng(1))
    second.restore(*first.state())

    for sac in (first, second):
        train(sac, replay, 3, np.random.default_rng(2))

    assert_same_state(first, second)


def test_weights_of_a_residual_policy_start_another_one() -> None:
    replay = filled(lidar_spec())
    first, second = (SAC(AlgorithmOptions(), SIMBA, lidar_spec(), seed=seed) for seed in (1, 2))
    train(first, replay, 20, np.random.default_rng(1))
    tensors = first.policy_tensors()

    second.start_from(tensors)
    train(second, replay, 2, np.random.default_rng(2))

    for name, tensor in second.policy_tensors().items():
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)
