"""What every algorithm of ours promises, SAC's kin as well as SAC: it learns, it resumes bit for bit, it says what it measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.rl.experience import lidar_spec, picture_spec, point_spec
from tests.rl.learning import SMALL, assert_same_state, bandit, filled, train, value_of_always_one
from tmrld.control.catalogue import BY_NAME
from tmrld.errors import BadInput
from tmrld.payloads import EnvSpec
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import ALGORITHMS, AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC

CRITICS = {"sac": 2, "redq": 10, "droq": 2, "tqc": 5, "crossq": 2}
"""How many each paper has."""
ALL = pytest.mark.parametrize("name", ALGORITHMS)


def made(name: str, network: NetworkOptions = SMALL, spec: EnvSpec | None = None, seed: int = 0, **options: Any) -> SAC:
    algorithm = make_algorithm(AlgorithmOptions(name=name, **options), network, spec or lidar_spec(), seed)
    assert isinstance(algorithm, SAC)
    return algorithm


@ALL
def test_it_has_as_many_critics_as_its_paper_or_as_are_asked_for(name: str) -> None:
    assert made(name).critics.members == CRITICS[name]
    assert made(name, critics=3).critics.members == 3


@ALL
def test_a_terminated_step_is_worth_its_reward_alone_and_a_truncated_one_what_would_have_followed(name: str) -> None:
    updates = 1000 if name == "crossq" else 300  # which its running means take
    assert value_of_always_one(name, "terminated", updates) == pytest.approx(1.0, abs=0.05)
    assert value_of_always_one(name, "truncated", updates) == pytest.approx(2.0, abs=0.1)


@ALL
def test_what_starts_from_weights_keeps_to_them_while_its_critics_learn(name: str) -> None:
    replay = filled(lidar_spec())
    teacher = made("sac", seed=5)
    train(teacher, replay, 5, np.random.default_rng(0))
    algorithm = made(name, policy_hold=3)
    algorithm.start_from(teacher.policy_tensors())

    train(algorithm, replay, 3, np.random.default_rng(1))
    for tensor, given in teacher.policy_tensors().items():
        np.testing.assert_array_equal(algorithm.policy_tensors()[tensor], given)
    train(algorithm, replay, 1, np.random.default_rng(2))
    assert "loss_actor" in algorithm.stats()


@ALL
def test_it_learns_what_to_do_where(name: str) -> None:
    options: dict[str, Any] = {
        "learning_rate_actor": 3e-3,
        "learning_rate_critic": 3e-3,
        "learn_alpha": False,
        "policy_interval": 2,
    }
    algorithm = made(name, NetworkOptions(hidden=(32, 32)), point_spec(), **options)
    rng = np.random.default_rng(0)

    for _ in range(1000):
        algorithm.update(bandit(64, rng))

    positions = torch.linspace(-0.9, 0.9, 7)[:, None]
    with torch.no_grad():
        actions = algorithm.averaged_policy({"vector": algorithm.normaliser(positions)}).mode()
    torch.testing.assert_close(actions, 0.5 * positions, atol=0.15, rtol=0.0)
    assert algorithm.stats()["q"] > -2.0


@ALL
@pytest.mark.parametrize(
    ("spec", "network"),
    [
        (lidar_spec(), SMALL),
        (picture_spec((36, 36), history=2), NetworkOptions(hidden=(16, 16), cnn="nature")),
        (lidar_spec(), NetworkOptions(hidden=(8, 16), hidden_critic=(16, 32, 24), trunk="simba", activation="silu")),
        (lidar_spec(), NetworkOptions(hidden=(8, 16), hidden_critic=(16, 32, 24), trunk="simba2")),
    ],
)
def test_restored_it_goes_on_bit_for_bit(name: str, spec: EnvSpec, network: NetworkOptions) -> None:
    replay = filled(spec, 30)
    first, second = (made(name, network, spec, seed, critics=3, policy_interval=2) for seed in (1, 99))
    train(first, replay, 5, np.random.default_rng(1))
    arrays, values = first.state()
    train(first, replay, 4, np.random.default_rng(2))

    train(second, replay, 3, np.random.default_rng(3))
    second.restore(arrays, values)
    train(second, replay, 4, np.random.default_rng(2))

    assert_same_state(first, second)
    assert first.stats() == second.stats()


@ALL
def test_the_same_seed_learns_the_same_and_leaves_the_global_random_state_alone(name: str) -> None:
    before = torch.get_rng_state()
    first, second = made(name), made(name)
    for algorithm in (first, second):
        train(algorithm, filled(lidar_spec()), 3, np.random.default_rng(0))

    assert_same_state(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@ALL
def test_all_that_it_measures_is_finite_and_explained(name: str) -> None:
    algorithm = made(name)
    train(algorithm, filled(lidar_spec()), 3, np.random.default_rng(0))

    stats = algorithm.stats()

    assert {"loss_critic", "q", "q_target", "loss_actor", "entropy", "loss_temperature", "alpha"} <= set(stats) <= set(BY_NAME)
    assert all(np.isfinite(value) for value in stats.values())


@ALL
def test_an_update_leaves_no_gradients_behind(name: str) -> None:
    """Or each would hold on to the one before it, and memory would run out in the end."""
    algorithm = made(name)

    train(algorithm, filled(lidar_spec(), 30), 2, np.random.default_rng(0))

    for averages in (algorithm._critic_averages, algorithm._policy_averages):
        assert not averages.sums.requires_grad


@ALL
def test_the_checkpoint_of_another_is_refused(name: str) -> None:
    other = "redq" if name == "sac" else "sac"

    with pytest.raises(BadInput, match=f"is of the algorithm '{other}', this run uses {name}"):
        made(name).restore(*made(other).state())


@ALL
def test_what_a_run_keeps_to_its_end_is_told(name: str) -> None:
    algorithm = made(name)

    with pytest.raises(BadInput, match=r"algorithm\.critics = 'auto' cannot go on with 4: start a new run"):
        algorithm.set_options(AlgorithmOptions(name=name, critics=4))
