"""What the tests of SAC and its kin learn from, and how they compare what came of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.rl.experience import cut_all, make_episode, point_spec
from tmrld.payloads import Array, Chunk, EnvSpec
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Batch, Replay
from tmrld.rl.sac import SAC

SMALL = NetworkOptions(hidden=(16, 16))


def filled(spec: EnvSpec, steps: int = 60, *, linked: bool = False) -> Replay:
    replay = Replay(spec, 1000, linked=linked)
    for chunk in cut_all(make_episode(spec, steps, np.random.default_rng(0)), [20]):
        replay.append(chunk)
    return replay


def train(algorithm: SAC, replay: Replay, updates: int, rng: np.random.Generator) -> None:
    for _ in range(updates):
        algorithm.update(replay.sample(32, rng))


def assert_same_state(first: SAC, second: SAC) -> None:
    (arrays, values), (other_arrays, other_values) = first.state(), second.state()
    assert values == other_values
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, other_arrays[name], err_msg=name)


def bandit(batch: int, rng: np.random.Generator) -> Batch:
    """One step per episode; the reward is best where the action equals half the position."""
    position = rng.uniform(-1.0, 1.0, (batch, 1)).astype(np.float32)
    action = rng.uniform(-1.0, 1.0, (batch, 1)).astype(np.float32)
    reward = 1.0 - 4.0 * np.square(action - 0.5 * position)[:, 0]
    observation: dict[str, Any] = {"vector": position}
    return Batch(observation, action, reward, observation, np.ones(batch, np.float32), np.ones(batch, np.float32))


def value_of_always_one(name: str, ended: str, updates: int) -> float:
    """What the critics of an algorithm come to think of an endless reward of 1, in episodes of a single step that end like this.

    With a discount of 0.5 it is 1 where the step is terminated and 2 where it is truncated.
    """
    spec = point_spec()
    replay = Replay(spec, 100)
    for number in range(20):
        column = {"terminated": np.zeros(2, np.uint8), "truncated": np.zeros(2, np.uint8)}
        column[ended][1] = 1
        columns: dict[str, Array] = {
            "position": np.zeros((2, 1), np.float32),
            "action": np.zeros((2, 1), np.float32),
            "reward": np.ones(2, np.float32),
            **column,
        }
        replay.append(Chunk("r", "w", "i", number, "e", 0, 1, 1, "t", "train", ended, columns))
    options = AlgorithmOptions(
        name=name,
        gamma=0.5,
        tau=0.2,
        alpha=1e-6,
        learn_alpha=False,
        learning_rate_critic=1e-2,
        learning_rate_actor=1e-9,
        policy_interval=1000,
        dropped_quantiles=0,
    )
    algorithm = make_algorithm(options, SMALL, spec, seed=0)
    assert isinstance(algorithm, SAC)
    # the policy acts at 0, where the critics learn
    with torch.no_grad():
        algorithm.policy.head.weight.zero_()
        algorithm.policy.head.bias.copy_(torch.tensor([0.0, -20.0]))
    train(algorithm, replay, updates, np.random.default_rng(0))
    with torch.no_grad():
        return float(algorithm._policy_value({"vector": torch.zeros(1, 1)}, torch.zeros(1, 1)).mean())
