"""REDQ: which target critics are believed, and what the policy climbs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.rl.experience import lidar_spec, picture_spec, point_spec
from tests.rl.learning import SMALL, filled, train
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.redq import REDQ, spread

HERE = {"vector": torch.zeros(4, 1)}
ACTION = torch.zeros(4, 1)


def redq(**options: int) -> REDQ:
    return REDQ(AlgorithmOptions(name="redq").model_copy(update=options), SMALL, point_spec(), seed=0)


def with_values(algorithm: REDQ, values: list[float]) -> REDQ:
    """Each critic, and its target, says one number whatever it is asked."""
    with torch.no_grad():
        for critics in (algorithm.critics, algorithm.target_critics):
            critics.value.weight.zero_()
            critics.value.bias.copy_(torch.tensor(values)[:, None])
    return algorithm


@pytest.mark.parametrize(("subset", "mean"), [(1, 3.0), (2, 2.0), (3, 1.5), (5, 1.0), (9, 1.0)])
def test_the_smallest_of_those_that_are_drawn_is_believed(subset: int, mean: float) -> None:
    """The smallest of M out of 1 … N is (N + 1) / (M + 1) in the mean."""
    algorithm = with_values(redq(critics=5, critic_subset=subset), [3.0, 1.0, 5.0, 2.0, 4.0])

    drawn = [algorithm._next_value(HERE, ACTION) for _ in range(2000)]

    assert all(torch.equal(each, each[:1].expand(4)) for each in drawn), "the same ones for the whole batch"
    found = [float(each[0]) for each in drawn]
    assert set(found) == {1.0, 2.0, 3.0, 4.0, 5.0} - set(range(7 - min(subset, 5), 6))
    assert np.mean(found) == pytest.approx(mean, abs=0.15)


def test_those_that_are_drawn_say_what_they_say_among_all() -> None:
    algorithm = redq(critics=4, critic_subset=1)
    all_of_them = algorithm.target_critics(HERE, ACTION)[:, 0].tolist()

    found = {float(algorithm._next_value(HERE, ACTION)[0]) for _ in range(100)}

    assert sorted(found) == pytest.approx(sorted(all_of_them), abs=1e-6)


def test_of_critics_that_read_images_one_alone_can_be_drawn() -> None:
    spec = picture_spec((36, 36), history=2)
    replay = filled(spec, 30)
    options = AlgorithmOptions(name="redq", critics=3, critic_subset=1)
    algorithm = REDQ(options, NetworkOptions(hidden=(8,), cnn="nature"), spec, seed=0)

    train(algorithm, replay, 1, np.random.default_rng(0))

    assert np.isfinite(algorithm.stats()["loss_critic"])


def test_the_policy_climbs_the_mean_of_all() -> None:
    algorithm = with_values(redq(critics=3), [1.0, 2.0, 6.0])

    assert algorithm._policy_value(HERE, ACTION).tolist() == pytest.approx([3.0] * 4)


def test_the_spread_is_the_deviation_among_critics() -> None:
    assert spread(torch.tensor([[1.0, 0.0], [3.0, 0.0]])).item() == pytest.approx((1.0 + 0.0) / 2)


def test_how_many_are_drawn_can_change_while_it_learns() -> None:
    algorithm = with_values(redq(critics=3, critic_subset=1), [1.0, 2.0, 3.0])
    algorithm.set_options(algorithm.options.model_copy(update={"critic_subset": 3}))

    assert {float(algorithm._next_value(HERE, ACTION)[0]) for _ in range(20)} == {1.0}


@pytest.mark.parametrize("learn_alpha", [True, False])
def test_the_policy_is_updated_after_as_many_updates_of_the_critics_as_are_asked_for(learn_alpha: bool) -> None:
    options = AlgorithmOptions(name="redq", policy_interval=5, learn_alpha=learn_alpha)
    algorithm = REDQ(options, SMALL, lidar_spec(), seed=0)
    replay, rng = filled(lidar_spec()), np.random.default_rng(0)
    changed = []

    for _ in range(10):
        before = algorithm.policy.head.weight.detach().clone()
        train(algorithm, replay, 1, rng)
        changed.append(not torch.equal(before, algorithm.policy.head.weight))

    assert [update for update, moved in enumerate(changed, 1) if moved] == [5, 10]
