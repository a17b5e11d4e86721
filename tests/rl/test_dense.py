"""Networks run straight through, against the way through their modules."""

from __future__ import annotations

from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import Generator, Tensor

from tests.rl.experience import lidar_spec, picture_spec
from tmrld.rl.crossq import BatchNormCritics
from tmrld.rl.dense import is_dense
from tmrld.rl.devices import has_bfloat16
from tmrld.rl.droq import DropoutCritics
from tmrld.rl.networks import Critics
from tmrld.rl.observations import VECTOR, vector_size
from tmrld.rl.options import NetworkOptions
from tmrld.rl.policy import Policy

SPEC = lidar_spec()
BATCH = 6


def inputs() -> tuple[dict[str, Tensor], Tensor]:
    generator = Generator().manual_seed(1)
    vector = torch.randn(BATCH, vector_size(SPEC), generator=generator)
    return {VECTOR: vector}, torch.rand(BATCH, SPEC.action_size, generator=generator) * 2.0 - 1.0


def wanted(shape: torch.Size) -> Tensor:
    """What a loss would ask of each output."""
    return torch.randn(shape, generator=Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("hidden", "layer_norm", "members", "quantiles"),
    list(product(((7,), (7, 5, 6)), (False, True), (1, 3), (None, 4))),
)
def test_critics_say_the_same_and_learn_the_same(
    hidden: tuple[int, ...], layer_norm: bool, members: int, quantiles: int | None
) -> None:
    options = NetworkOptions(hidden=hidden, critic_layer_norm=layer_norm)
    critics = Critics(SPEC, options, members, Generator().manual_seed(0), quantiles)
    observation, action = inputs()
    action.requires_grad_()
    parameters = list(critics.parameters())

    ours = critics(observation, action)
    our_gradients = torch.autograd.grad((ours * wanted(ours.shape)).sum(), [*parameters, action])
    our_gradients = tuple(gradient.clone() for gradient in our_gradients)  # the next pass writes over them
    at_once = tuple(gradient.clone() for gradient in critics.gradients(ours, wanted(ours.shape)))
    of_action = critics(observation, action, for_policy=True)
    (action_gradient,) = torch.autograd.grad((of_action * wanted(ours.shape)).sum(), [action])
    with torch.no_grad():
        plain = critics(observation, action)
    assert critics._dense is not None
    critics._dense = None
    theirs = critics(observation, action)
    their_gradients = torch.autograd.grad((theirs * wanted(ours.shape)).sum(), [*parameters, action])

    for out in (ours, of_action, plain):
        torch.testing.assert_close(out, theirs)
    torch.testing.assert_close(our_gradients, their_gradients)
    torch.testing.assert_close(at_once, their_gradients[:-1])
    torch.testing.assert_close(tuple(critics.gradients(critics(observation, action), wanted(ours.shape))), at_once)
    assert all(gradient.abs().max() > 0.0 for gradient in our_gradients)
    torch.testing.assert_close(action_gradient, their_gradients[-1])


def test_a_policy_does_the_same_and_learns_the_same() -> None:
    policy = Policy(SPEC, NetworkOptions(hidden=(7, 5)), Generator().manual_seed(0))
    observation, _ = inputs()

    def outcome() -> tuple[Tensor, tuple[Tensor, ...]]:
        choice = policy(observation)
        both = torch.cat((choice.mean, choice.log_std), dim=1)
        return both, torch.autograd.grad((both * wanted(both.shape)).sum(), list(policy.parameters()))

    ours = outcome()
    assert policy._dense is not None
    policy._dense = None
    torch.testing.assert_close(ours, outcome())


def test_a_copy_of_a_policy_goes_through_its_own_parameters() -> None:
    policy = Policy(SPEC, NetworkOptions(hidden=(7,)), Generator().manual_seed(0))
    copied = deepcopy(policy)
    observation, _ = inputs()
    before = policy(observation).mean

    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()

    assert torch.equal(policy(observation).mean, before)
    assert torch.equal(copied(observation).mean, torch.zeros_like(before))


def test_batches_of_any_size_go_through() -> None:
    policy = Policy(SPEC, NetworkOptions(hidden=(7,)), Generator().manual_seed(0))
    (observation, _), few = inputs(), 2

    together = policy(observation).mean
    apart = policy({VECTOR: observation[VECTOR][:few]}).mean

    torch.testing.assert_close(apart, together[:few])


def test_gradients_of_a_pass_that_another_one_wrote_over_are_refused() -> None:
    critics = Critics(SPEC, NetworkOptions(hidden=(7,)), 2, Generator().manual_seed(0))
    observation, action = inputs()
    values = critics(observation, action)
    critics(observation, -action)

    with pytest.raises(RuntimeError, match="its next pass"):
        torch.autograd.grad(values.sum(), list(critics.parameters()))
    with pytest.raises(RuntimeError, match="its next pass"):
        critics.gradients(values, torch.ones_like(values))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_in_bfloat16_it_says_and_learns_nearly_the_same_and_without_units_for_it_the_very_same(layer_norm: bool) -> None:
    observation, action = inputs()

    def outcome(precision: str) -> Tensor:
        options = NetworkOptions.model_validate({"hidden": (64, 48), "critic_layer_norm": layer_norm, "precision": precision})
        critics = Critics(SPEC, options, 2, Generator().manual_seed(0))
        values = critics(observation, action)
        gradients = critics.gradients(values, wanted(values.shape))
        return torch.cat([each.flatten() for each in (values.detach(), *gradients)])

    exact, rounded = outcome("float32"), outcome("bfloat16")

    assert torch.equal(exact, rounded) == (not has_bfloat16(torch.device("cpu")))
    assert (rounded - exact).norm() < 0.1 * exact.norm()  # some neurons are rounded to the other side of 0


@pytest.mark.parametrize(
    "changed",
    [{"activation": "tanh"}, {"trunk": "simba"}, {"trunk": "simba2"}, {"gru": 4}],
    ids=str,
)
def test_what_is_more_than_layers_of_relu_goes_through_its_modules(changed: dict[str, object]) -> None:
    options = NetworkOptions.model_validate({"hidden": (8, 8), **changed})

    assert not is_dense(SPEC, options)
    assert Critics(SPEC, options, 2, Generator())._dense is None


def test_so_are_images_and_critics_with_more_between_their_layers() -> None:
    options = NetworkOptions(hidden=(8, 8))

    assert is_dense(SPEC, options)
    assert not is_dense(picture_spec((36, 36), history=2), options)
    assert DropoutCritics(SPEC, options, 2, Generator(), 0.1, Generator())._dense is None
    assert BatchNormCritics(SPEC, options, 2, Generator())._dense is None
