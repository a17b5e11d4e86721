"""How hidden layers are joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.rl.experience import lidar_spec, point_spec
from tests.rl.learning import assert_same_state, bandit, filled, train
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.networks import Critics, Trunk
from tmrld.rl.options import ALGORITHMS, AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC
from tmrld.rl.sphere import SphericalLinear, settle, spherical
from tmrld.rl.trunks import trunk_layers, trunk_size

SIMBA = NetworkOptions(hidden=(12, 20, 8), trunk="simba")
SPHERE = NetworkOptions(hidden=(12, 20, 8), trunk="simba2")
RESIDUAL = pytest.mark.parametrize("network", [SIMBA, SPHERE])


def test_layers_of_a_plain_trunk_follow_one_another() -> None:
    plain = NetworkOptions(hidden=(12, 20, 8))

    assert trunk_layers(5, plain, plain.hidden) == ((5, 12), (12, 20), (20, 8))
    assert trunk_size(plain, plain.hidden) == 8


@RESIDUAL
def test_each_further_width_of_a_residual_trunk_is_a_block(network: NetworkOptions) -> None:
    assert trunk_layers(5, network, network.hidden) == ((5, 12), (12, 20), (20, 12), (12, 8), (8, 12))
    assert trunk_size(network, network.hidden) == 12


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


def norms(layer: SphericalLinear) -> Tensor:
    """Of the rows of a layer, with the weight of the constant, which is 3."""
    rows = layer.weight.detach()
    if rows.dim() == 3:
        rows = rows.mT
    if layer.bias is not None:
        rows = torch.cat((rows, layer.bias.detach().reshape(*rows.shape[:-1], 1) / 3.0), dim=-1)
    return rows.square().sum(dim=-1).sqrt()


def test_a_trunk_on_the_sphere_computes_what_the_paper_says() -> None:
    trunk = Trunk(5, SPHERE, torch.Generator().manual_seed(0))
    given = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in trunk.named_parameters():
            if name.endswith("scale"):
                tensor.mul_(torch.rand(tensor.shape, generator=generator) + 0.5)

    def unit(values: Tensor) -> Tensor:
        return values / values.square().sum(dim=1, keepdim=True).sqrt()

    weights = [trunk.get_parameter(f"layers.{index}.weight") for index in range(5)]
    scales = [trunk.get_parameter(f"layers.{index}.scale") for index in range(5)]
    rows = torch.cat((weights[0], trunk.get_parameter("layers.0.bias")[:, None] / 3.0), dim=1)
    shifted = unit(torch.cat((given, torch.full((7, 1), 3.0)), dim=1))
    expected = unit(scales[0] * (shifted @ rows.T))
    for index in (1, 3):
        aim = unit(torch.relu(scales[index] * (expected @ weights[index].T)) @ weights[index + 1].T)
        share = scales[index + 1] * np.sqrt(12.0) / 3.0
        expected = unit((1.0 - share) * expected + share * aim)

    torch.testing.assert_close(trunk(given), expected * np.sqrt(12.0))


def test_a_trunk_on_the_sphere_begins_as_the_paper_says() -> None:
    layers = spherical(Trunk(5, SPHERE, torch.Generator().manual_seed(0)).layers)

    for layer, gain in zip(layers, (np.sqrt(2 / 12), np.sqrt(2 / 20), 1 / 3, np.sqrt(2 / 8), 1 / 3), strict=True):
        torch.testing.assert_close(layer.gain, torch.full_like(layer.gain, gain))
        torch.testing.assert_close(norms(layer), torch.ones(len(layer.weight)))
    rows = layers[3].weight  # 8 of them in 12 dimensions
    torch.testing.assert_close(rows @ rows.T, torch.eye(8), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_weights_on_the_sphere_stay_there_whatever_is_learned(name: str) -> None:
    options = AlgorithmOptions(name=name, learning_rate_actor=0.01, learning_rate_critic=0.01)
    algorithm = make_algorithm(options, SPHERE, lidar_spec(), seed=0)
    assert isinstance(algorithm, SAC)
    before = algorithm.policy.trunk.get_parameter("layers.1.weight").clone()
    train(algorithm, filled(lidar_spec()), 5, np.random.default_rng(1))

    for layers in (algorithm.policy.trunk.layers, algorithm.averaged_policy.trunk.layers, algorithm.critics.layers):
        for layer in spherical(layers):
            torch.testing.assert_close(norms(layer), torch.ones_like(layer.scale).reshape(norms(layer).shape))
    assert not torch.allclose(algorithm.policy.trunk.get_parameter("layers.1.weight"), before, atol=1e-3)


def test_rows_that_are_not_of_norm_1_are_settled_without_a_change_of_what_the_trunk_gives() -> None:
    trunk = Trunk(5, SPHERE, torch.Generator().manual_seed(0))
    given = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    first, *_ = spherical(trunk.layers)
    assert first.bias is not None
    with torch.no_grad():
        first.weight.mul_(torch.linspace(0.1, 5.0, 12)[:, None])
        first.bias.mul_(torch.linspace(0.1, 5.0, 12))
        before = trunk(given)
    assert float(norms(first).max()) > 4.0

    settle(trunk.layers)

    torch.testing.assert_close(norms(first), torch.ones(12))
    torch.testing.assert_close(trunk(given), before)


def test_critics_may_be_wider_than_the_policy() -> None:
    network = NetworkOptions(hidden=(16,), hidden_critic=(24, 32))
    sac = SAC(AlgorithmOptions(), network, point_spec(), seed=0)

    arrays, _ = sac.state()
    assert [arrays[f"critics.layers.{index}.weight"].shape for index in (0, 1)] == [(2, 2, 24), (2, 24, 32)]
    assert arrays["policy.trunk.layers.0.weight"].shape == (16, 1)


@pytest.mark.parametrize("network", [SIMBA, SIMBA.model_copy(update={"hidden_critic": (16, 32)}), SPHERE])
def test_each_member_of_residual_critics_is_what_it_would_be_alone(network: NetworkOptions) -> None:
    critics = Critics(lidar_spec(), network, 3, torch.Generator().manual_seed(0))
    observation, action = {"vector": torch.randn(4, 83)}, torch.randn(4, 3)
    together = critics(observation, action)

    for member in range(3):
        alone = Critics(lidar_spec(), network, 1, torch.Generator())
        alone.load_state_dict({name: tensor[member : member + 1] for name, tensor in critics.state_dict().items()})
        torch.testing.assert_close(alone(observation, action)[0], together[member])


@pytest.mark.parametrize(("trunk", "hidden"), [("simba", (16, 32)), ("simba2", (64, 128))])
def test_with_a_residual_trunk_it_learns_what_to_do_where(trunk: Any, hidden: tuple[int, int]) -> None:
    options = AlgorithmOptions(learning_rate_actor=3e-3, learning_rate_critic=3e-3, learn_alpha=False, alpha=0.01)
    sac = SAC(options, NetworkOptions(hidden=hidden, trunk=trunk), point_spec(), seed=0)
    rng = np.random.default_rng(0)

    for _ in range(600):
        sac.update(bandit(64, rng))

    positions = torch.linspace(-0.9, 0.9, 7)[:, None]
    with torch.no_grad():
        actions = sac.averaged_policy({"vector": sac.normaliser(positions)}).mode()
    torch.testing.assert_close(actions, 0.5 * positions, atol=0.15, rtol=0.0)


@RESIDUAL
def test_with_a_residual_trunk_a_restored_algorithm_goes_on_bit_for_bit(network: NetworkOptions) -> None:
    replay = filled(lidar_spec())
    first, second = (SAC(AlgorithmOptions(), network, lidar_spec(), seed=seed) for seed in (1, 99))
    train(first, replay, 3, np.random.default_rng(1))
    second.restore(*first.state())

    for sac in (first, second):
        train(sac, replay, 3, np.random.default_rng(2))

    assert_same_state(first, second)


@RESIDUAL
def test_weights_of_a_residual_policy_start_another_one(network: NetworkOptions) -> None:
    replay = filled(lidar_spec())
    first, second = (SAC(AlgorithmOptions(), network, lidar_spec(), seed=seed) for seed in (1, 2))
    train(first, replay, 20, np.random.default_rng(1))
    tensors = first.policy_tensors()

    second.start_from(tensors)
    train(second, replay, 2, np.random.default_rng(2))

    for name, tensor in second.policy_tensors().items():
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)


@RESIDUAL
def test_a_residual_policy_that_was_held_does_the_same_when_it_begins_to_learn(network: NetworkOptions) -> None:
    replay = filled(lidar_spec())
    teacher = SAC(AlgorithmOptions(learning_rate_actor=0.01), network, lidar_spec(), seed=1)
    train(teacher, replay, 20, np.random.default_rng(1))
    seen = torch.from_numpy(replay.sample(64, np.random.default_rng(3)).observation["vector"])
    learner = SAC(AlgorithmOptions(policy_hold=3, learning_rate_actor=1e-9), network, lidar_spec(), seed=2)
    learner.start_from(teacher.policy_tensors())

    train(learner, replay, 4, np.random.default_rng(2))

    with torch.no_grad():
        expected = teacher.averaged_policy({"vector": teacher.normaliser(seen)})
        for policy in (learner.policy, learner.averaged_policy):
            held = policy({"vector": learner.normaliser(seen)})
            torch.testing.assert_close(held.mean, expected.mean, atol=5e-3, rtol=5e-3)
