"""Policies that remember: the unit is torch's, every way through it agrees, and it learns what a memoryless policy cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, nn

from tests.rl.experience import cut_all, lidar_spec, make_episode, picture_spec, point_spec
from tests.rl.learning import assert_same_state
from tmrld.errors import BadInput
from tmrld.payloads import Array, Chunk, EnvSpec, WeightsManifest
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.inference import Actor, load_actor
from tmrld.rl.layers import ACTIVATIONS, Linear
from tmrld.rl.observations import VECTOR, flatten
from tmrld.rl.options import ALGORITHMS, AlgorithmOptions, NetworkOptions
from tmrld.rl.recurrence import PLACES, STATE, Recurrence
from tmrld.rl.replay import Replay
from tmrld.rl.sac import SAC
from tmrld.rl.weights import pack

GRU = NetworkOptions(hidden=(16,), gru=12)


def linked(spec: EnvSpec, steps: int = 60, seed: int = 0) -> Replay:
    replay = Replay(spec, 1000, linked=True)
    for chunk in cut_all(make_episode(spec, steps, np.random.default_rng(seed)), [20]):
        replay.append(chunk)
    return replay


def train(algorithm: SAC, replay: Replay, updates: int, rng: np.random.Generator) -> None:
    for _ in range(updates):
        algorithm.update(replay.sample_windows(6, rng, 5, 3, algorithm.options.n_step, algorithm.options.gamma))


def test_the_unit_is_that_of_torch() -> None:
    recurrence = Recurrence(4, 3, ACTIVATIONS["tanh"], lambda a, b: Linear(a, b, Generator().manual_seed(a * b)))
    theirs = nn.GRU(3, 3, batch_first=True)
    ours = recurrence.state_dict()
    for kind in ("weight", "bias"):
        theirs.load_state_dict({f"{kind}_ih_l0": ours[f"input.{kind}"], f"{kind}_hh_l0": ours[f"state.{kind}"]}, strict=False)
    values, state = torch.randn(2 * 5, 4), torch.randn(2, 3)
    seen = torch.tanh(recurrence.read(values)).reshape(2, 5, 3)
    expected = torch.cat((seen, theirs(seen, state[None])[0]), dim=2).flatten(0, 1)
    places = torch.tensor([7, 0, 3])
    torch.testing.assert_close(recurrence(values, 2, places, state), expected[places])


def policy_alone(sac: SAC, observations: Array, state: Array | None = None) -> Array:
    """The deterministic actions of the averaged policy at all positions of some windows, (windows, positions, size)."""
    count, positions, _ = observations.shape
    given = {VECTOR: sac.normaliser(torch.from_numpy(observations)), PLACES: torch.arange(count * positions)}
    if state is not None:
        given[STATE] = torch.from_numpy(state)
    with torch.no_grad():
        actions: Array = sac.averaged_policy(given).mode().reshape(count, positions, -1).numpy()
    return actions


def test_acting_step_by_step_is_what_was_learned_from_windows() -> None:
    spec = lidar_spec()
    sac = SAC(AlgorithmOptions(), GRU, spec, seed=0)
    train(sac, linked(spec), 5, np.random.default_rng(0))
    actor = Actor(spec, GRU, sac.policy_tensors())
    episodes = [make_episode(spec, 12, np.random.default_rng(seed)) for seed in (1, 2)]
    flat = np.stack([np.stack([_vector(spec, each) for each in episode.observations]) for episode in episodes])
    expected = policy_alone(sac, flat)
    states = [actor.begin() for _ in episodes]
    rng = np.random.default_rng(0)
    for step in range(13):
        together = actor.act_many([episode.observations[step] for episode in episodes], True, rng, states=states)
        np.testing.assert_allclose(together, expected[:, step], atol=2e-5)
    alone = actor.begin()
    for step in range(13):
        one = actor.act(episodes[0].observations[step], True, rng, state=alone)
        np.testing.assert_allclose(one, expected[0, step], atol=2e-5)
    np.testing.assert_allclose(alone, states[0], atol=2e-5)
    known = np.random.default_rng(5).uniform(-1, 1, (2, 12)).astype(np.float32)
    assert np.abs(policy_alone(sac, flat, known) - expected).max() > 1e-3


def _vector(spec: EnvSpec, observation: Any) -> Array:
    out = np.empty(spec.observation_size, np.float32)
    flatten(spec, observation, out)
    return out


def test_an_actor_that_remembers_is_told_whose_episode_it_is() -> None:
    spec = point_spec()
    actor = Actor(spec, GRU, SAC(AlgorithmOptions(), GRU, spec, seed=0).policy_tensors())
    rng, seen = np.random.default_rng(0), (np.zeros(1, np.float32),)
    with pytest.raises(BadInput, match=r"remembers 12 values of an episode, and none was given"):
        actor.act(seen, True, rng)
    with pytest.raises(BadInput, match=r"of the shape \(3,\)"):
        actor.act_many([seen] * 2, True, rng, states=[np.zeros(3, np.float32)] * 2)
    assert Actor(spec, NetworkOptions(), SAC(AlgorithmOptions(), NetworkOptions(), spec, 0).policy_tensors()).begin().size == 0


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("trunk", ["mlp", "simba", "simba2"])
def test_every_algorithm_learns_from_windows_and_resumes_bit_for_bit(name: str, trunk: str) -> None:
    options = AlgorithmOptions(name=name, n_step=3, policy_interval=2)
    network = NetworkOptions.model_validate({"hidden": (16, 16), "gru": 12, "trunk": trunk})
    spec = lidar_spec()
    first = make_algorithm(options, network, spec, 1)
    assert isinstance(first, SAC)
    train(first, linked(spec), 4, np.random.default_rng(1))
    arrays, values = first.state()
    train(first, linked(spec), 4, np.random.default_rng(2))
    second = make_algorithm(options, network, spec, 99)
    assert isinstance(second, SAC)
    second.restore(arrays, values)
    train(second, linked(spec), 4, np.random.default_rng(2))
    assert_same_state(first, second)
    assert all(np.isfinite(value) for value in first.stats().values())


def test_pictures_are_remembered_too_and_go_through_a_weights_file() -> None:
    spec = picture_spec((36, 36), 0)
    network = NetworkOptions(hidden=(16,), gru=8, cnn="nature")
    sac = SAC(AlgorithmOptions(), network, spec, seed=0)
    train(sac, linked(spec, 30), 2, np.random.default_rng(0))
    manifest = WeightsManifest("run", 1, 1, 0, spec, network.model_dump(mode="json"), "sac")
    actor = load_actor(pack(manifest, sac.policy_tensors()), spec)
    state, rng = actor.begin(), np.random.default_rng(0)
    episode = make_episode(spec, 2, np.random.default_rng(4))
    first = actor.act(episode.observations[0], True, rng, state=state)
    again = actor.act(episode.observations[0], True, rng, state=state)
    assert np.abs(first - again).max() > 1e-6


def test_a_policy_that_starts_from_weights_is_held_whatever_the_normaliser_sees() -> None:
    spec = lidar_spec()
    teacher = SAC(AlgorithmOptions(), GRU, spec, seed=0)
    train(teacher, linked(spec), 5, np.random.default_rng(0))
    tensors = teacher.policy_tensors()
    pupil = SAC(AlgorithmOptions(policy_hold=100), GRU, spec, seed=1)
    pupil.start_from(tensors)
    train(pupil, linked(spec, seed=3), 5, np.random.default_rng(1))
    for name, tensor in pupil.policy_tensors().items():
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)


class Cue:
    """A light shows -1 or 1, by turns, and goes out; what is wanted is that number as the action, now and at all steps to come."""

    steps = 6

    def episode(self, number: int, choose: Any) -> tuple[Chunk, float]:
        cue = 1.0 - 2.0 * (number % 2)
        seen, actions, rewards = [np.array([cue], np.float32)], [np.zeros(1, np.float32)], [0.0]
        for _ in range(self.steps):
            action = choose(seen[-1], len(seen) == 1)
            actions.append(action)
            rewards.append(1.0 - abs(float(action[0]) - cue))
            seen.append(np.zeros(1, np.float32))
        ends = np.zeros(self.steps + 1, np.uint8)
        ends[-1] = 1
        columns: dict[str, Array] = {
            "position": np.stack(seen),
            "action": np.stack(actions).astype(np.float32),
            "reward": np.asarray(rewards, np.float32),
            "terminated": ends,
            "truncated": np.zeros_like(ends),
        }
        chunk = Chunk("r", "w", "i", number, str(number), 0, self.steps, 1, "", "train", "terminated", columns)
        return chunk, sum(rewards) / self.steps


def learned_by_heart(network: NetworkOptions, updates: int) -> float:
    """The mean reward per step of the deterministic policy, after learning from random actions; 1 is all that there is."""
    spec, rng = point_spec(), np.random.default_rng(0)
    replay = Replay(spec, 4000, linked=True)
    for number in range(300):
        replay.append(Cue().episode(number, lambda seen, first: rng.uniform(-1, 1, 1).astype(np.float32))[0])
    options = AlgorithmOptions(gamma=0.5, n_step=1, learn_alpha=False, alpha=0.01, policy_average=1, learning_rate_actor=3e-3)
    sac = SAC(options, network, spec, seed=0)
    for _ in range(updates):
        batch = replay.sample_windows(24, rng, 6, 0) if network.gru else replay.sample(128, rng)
        sac.update(batch)
    actor = Actor(spec, network, sac.policy_tensors())
    states = [actor.begin()]

    def act(seen: Array, first: bool) -> Array:
        if first:
            states[0] = actor.begin()
        return actor.act((seen,), True, rng, state=states[0])

    return float(np.mean([Cue().episode(number, act)[1] for number in range(40)]))


def test_a_policy_that_remembers_learns_from_one_frame_what_a_memoryless_one_cannot() -> None:
    assert learned_by_heart(NetworkOptions(hidden=(24,), gru=16), 250) > 0.6
    assert learned_by_heart(NetworkOptions(hidden=(24, 24)), 250) < 0.25  # the first step is all it can know: 1 of 6
