"""How parameters move, worked out by hand, and how that is scheduled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.rl.experience import lidar_spec
from tests.rl.learning import SMALL, assert_same_state, filled, train
from tmrld.errors import BadInput
from tmrld.rl.networks import descend
from tmrld.rl.optimizers import Adam, Descent, PlainDescent, make_optimizer, on_the_way
from tmrld.rl.options import AlgorithmOptions, OptimizerName
from tmrld.rl.sac import SAC
from tmrld.rl.temperature import LearnedTemperature


@pytest.mark.parametrize(
    ("name", "decay", "expected"),
    [
        ("adam", 0.0, 2.0 - 0.1),
        ("adam", 5.0, 2.0 - 0.1),  # the penalty is part of the gradient, of which Adam's first step takes the sign
        ("adamw", 0.5, 2.0 - 0.1 * 0.5 * 2.0 - 0.1),
        ("sgd", 0.0, 2.0 - 0.1 * 3.0),
        ("sgd", 0.5, 2.0 - 0.1 * (3.0 + 0.5 * 2.0)),
    ],
)
def test_a_first_step(name: OptimizerName, decay: float, expected: float) -> None:
    parameter = nn.Parameter(torch.tensor([2.0]))

    descend(make_optimizer(name, [parameter], Descent(0.1, (0.9, 0.999), decay)), [parameter], 3.0 * parameter.sum())

    assert parameter.item() == pytest.approx(expected, rel=1e-5)


def test_adam_remembers_as_long_as_its_betas_say() -> None:
    parameter = nn.Parameter(torch.tensor([0.0]))
    optimizer = make_optimizer("adam", [parameter], Descent(0.1, (0.5, 0.75), 0.0))

    descend(optimizer, [parameter], 1.0 * parameter.sum())
    descend(optimizer, [parameter], 3.0 * parameter.sum())

    mean, square = (0.5 * 0.5 * 1 + 0.5 * 3) / (1 - 0.5**2), (0.75 * 0.25 * 1 + 0.25 * 9) / (1 - 0.75**2)
    assert parameter.item() == pytest.approx(-0.1 - 0.1 * mean / square**0.5, rel=1e-5)


@pytest.mark.parametrize(("name", "peer"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_many_steps_are_those_of_torch(name: OptimizerName, peer: Callable[..., torch.optim.Optimizer]) -> None:
    random = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=random)) for shape in ((3, 4), (5,), ())]
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    settings = {"betas": (0.8, 0.95)} if name != "sgd" else {}
    ours = make_optimizer(name, parameters, Descent(0.02, (0.8, 0.95), 0.3))
    theirs = peer(copies, lr=0.02, weight_decay=0.3, **settings)

    for _ in range(10):
        gradients = [torch.randn(parameter.shape, generator=random) for parameter in parameters]
        ours.step(gradients)
        for copy, gradient in zip(copies, gradients, strict=True):
            copy.grad = gradient
        theirs.step()

    torch.testing.assert_close(parameters, copies)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_each_weight_of_a_convolution_goes_down_its_own_gradient(name: OptimizerName) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(5, 3, 16, 16, generator=random).to(memory_format=torch.channels_last)
    weight = nn.Parameter(torch.randn(6, 3, 4, 4, generator=random))
    before, loss = weight.detach().clone(), functional.conv2d(images, weight, stride=4).square().sum()
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
    assert gradient.stride() != weight.stride()  # they lie in memory in different orders

    descend(make_optimizer(name, [weight], Descent(0.1, (0.9, 0.999), 0.0)), [weight], loss)

    step = gradient if name == "sgd" else gradient.sign()
    torch.testing.assert_close(weight.detach(), before - 0.1 * step)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_other_settings_count_from_the_next_step_on(name: OptimizerName) -> None:
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = make_optimizer(name, [parameter], Descent(0.1, (0.9, 0.999), 0.5))

    optimizer.descent = Descent(0.0, (0.9, 0.999), 0.5)
    descend(optimizer, [parameter], 3.0 * parameter.sum())

    assert parameter.item() == 2.0


@pytest.mark.parametrize(("updates", "over", "value"), [(0, 10, 4.0), (5, 10, 3.0), (10, 10, 2.0), (99, 10, 2.0), (99, 0, 4.0)])
def test_a_schedule_is_a_straight_line_that_ends(updates: int, over: int, value: float) -> None:
    assert on_the_way(4.0, 2.0, updates, over) == pytest.approx(value)


def rates(sac: SAC) -> tuple[float, float, float, float]:
    """Learning rates of policy, critics and temperature, and the target entropy."""
    assert isinstance(sac.temperature, LearnedTemperature)
    optimizers = (sac._policy_optimizer, sac._critic_optimizer, sac.temperature.optimizer)
    policy, critics, temperature = (optimizer.descent.learning_rate for optimizer in optimizers)
    return policy, critics, temperature, sac.temperature.target_entropy


def scheduled(**options: Any) -> AlgorithmOptions:
    values = {
        "learning_rate_actor": 1.0,
        "learning_rate_critic": 0.1,
        "learning_rate_temperature": 0.01,
        "target_entropy": -1.0,
    }
    schedule = {"schedule_updates": 10, "schedule_learning_rates": 0.0, "schedule_target_entropy": -3.0}
    return AlgorithmOptions(**{**values, **schedule, **options})


def test_learning_rates_and_target_entropy_follow_the_schedule() -> None:
    sac, replay, rng = SAC(scheduled(), SMALL, lidar_spec(), seed=0), filled(lidar_spec()), np.random.default_rng(0)
    assert rates(sac) == pytest.approx((1.0, 0.1, 0.01, -1.0))

    train(sac, replay, 6, rng)  # the sixth comes after five
    assert rates(sac) == pytest.approx((0.5, 0.05, 0.005, -2.0))
    sac.set_options(scheduled(schedule_target_entropy="same"))
    assert rates(sac) == pytest.approx((0.4, 0.04, 0.004, -1.0))
    sac.set_options(scheduled(schedule_updates=0))
    assert rates(sac) == pytest.approx((1.0, 0.1, 0.01, -1.0))

    sac.set_options(scheduled(target_entropy="auto"))
    train(sac, replay, 10, rng)
    assert rates(sac) == pytest.approx((0.0, 0.0, 0.0, -3.0))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_with_a_schedule_a_restored_algorithm_goes_on_bit_for_bit(optimizer: OptimizerName) -> None:
    options = scheduled(
        optimizer_actor=optimizer, optimizer_critic=optimizer, weight_decay_critic=0.01, betas_actor=(0.5, 0.9), alpha=0.1
    )
    replay = filled(lidar_spec())
    first, second = (SAC(options, SMALL, lidar_spec(), seed=seed) for seed in (1, 99))
    train(first, replay, 3, np.random.default_rng(1))
    second.restore(*first.state())

    for sac in (first, second):
        train(sac, replay, 4, np.random.default_rng(2))

    assert_same_state(first, second)
    assert rates(first) == rates(second)


def test_each_network_has_an_optimizer_of_its_own() -> None:
    options = AlgorithmOptions(
        optimizer_actor="sgd",
        optimizer_critic="adamw",
        betas_critic=(0.5, 0.9),
        weight_decay_actor=0.1,
        weight_decay_critic=0.2,
    )
    sac = SAC(options, SMALL, lidar_spec(), seed=0)

    policy, critics = sac._policy_optimizer, sac._critic_optimizer
    assert isinstance(policy, PlainDescent)
    assert isinstance(critics, Adam)
    assert (policy.descent.decay, critics.descent.decay, critics.descent.betas) == (0.1, 0.2, (0.5, 0.9))
    sac.set_options(options.model_copy(update={"betas_critic": (0.8, 0.99), "weight_decay_actor": 0.0}))
    assert (policy.descent.decay, critics.descent.betas) == (0.0, (0.8, 0.99))
    with pytest.raises(BadInput, match=r"algorithm\.optimizer_actor = 'sgd' cannot go on with 'adam': start a new run"):
        sac.set_options(AlgorithmOptions())
