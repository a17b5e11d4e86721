"""What the tests of SAC and its kin learn from, and how they compare what came of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.rl.experience import cut_all, make_episode
from tmrld.payloads import EnvSpec
from tmrld.rl.options import NetworkOptions
from tmrld.rl.replay import Batch, Replay
from tmrld.rl.sac import SAC

SMALL = NetworkOptions(hidden=(16, 16))


def filled(spec: EnvSpec, steps: int = 60) -> Replay:
    replay = Replay(spec, 1000)
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
