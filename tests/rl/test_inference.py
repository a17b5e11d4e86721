"""Acting without torch gives what the torch policy gives."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rl.experience import cut_all, flat, lidar_spec, make_episode, picture_spec, point_spec
from tmrld.errors import BadInput, WeightsError
from tmrld.payloads import Array, EnvSpec, PartSpec, Weights, WeightsManifest
from tmrld.rl.images import readable
from tmrld.rl.inference import load_actor
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Replay
from tmrld.rl.sac import SAC
from tmrld.rl.weights import pack


def weights_of(sac: SAC, spec: EnvSpec, network: NetworkOptions, **changed: Array) -> Weights:
    manifest = WeightsManifest(
        run="demo", version=3, update=100, lineage=0, spec=spec, network=network.model_dump(mode="json"), algorithm="sac"
    )
    return pack(manifest, sac.policy_tensors() | changed)


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
def test_it_acts_as_the_torch_policy_does(activation: Any) -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=(32, 24), activation=activation)
    sac = SAC(AlgorithmOptions(), network, spec, seed=0)
    actor = load_actor(weights_of(sac, spec, network), spec)

    for observation in make_episode(spec, 10, np.random.default_rng(0)).observations:
        action = actor.act(observation, deterministic=True, rng=np.random.default_rng(0))
        with torch.no_grad():
            expected = sac.policy({"vector": sac.normaliser(torch.from_numpy(flat(spec, observation))[None])}).mode()[0].numpy()
        assert action.dtype == np.float32
        np.testing.assert_allclose(action, expected, atol=1e-6)


@pytest.mark.parametrize("hidden", [(32,), (24, 40), (16, 8, 64, 16)])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize("spec", [lidar_spec(), picture_spec((36, 36), history=2)])
@pytest.mark.parametrize("trunk", ["simba", "simba2"])
def test_it_acts_as_the_torch_policy_does_with_a_residual_trunk(
    trunk: Any, spec: EnvSpec, activation: Any, hidden: tuple[int, ...]
) -> None:
    network = NetworkOptions(hidden=hidden, activation=activation, trunk=trunk, cnn="nature", precision="float32")
    sac, replay = SAC(AlgorithmOptions(learning_rate_actor=0.01), network, spec, seed=0), Replay(spec, 100)
    episode = make_episode(spec, 10, np.random.default_rng(0))
    for chunk in cut_all(episode, [10]):
        replay.append(chunk)
    for _ in range(3):
        sac.update(replay.sample(8, np.random.default_rng(0)))
    actor = load_actor(weights_of(sac, spec, network), spec)

    actions = np.stack([actor.act(each, True, np.random.default_rng(0)) for each in episode.observations])
    together = actor.act_many(episode.observations, True, np.random.default_rng(0))

    vectors = torch.from_numpy(np.stack([flat(spec, obs) for obs in episode.observations]))
    seen = {"vector": sac.normaliser(vectors)}
    for index, part in enumerate(spec.parts):
        seen[part.name] = torch.from_numpy(np.stack([obs[index] for obs in episode.observations]))
    with torch.no_grad():
        expected = sac.averaged_policy(readable(spec, seen)).mode().numpy()
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    assert np.all(np.ptp(expected, axis=0) > 1e-4), "what it does depends on what it sees"


PICTURES = [
    (picture_spec(), "tmrl"),
    (picture_spec((50, 67, 3), history=2), "tmrl"),
    (picture_spec(), "patches"),
    (picture_spec((28, 45, 3), history=2), "patches"),
    (picture_spec((44, 36), history=0), "nature"),
    (picture_spec((37, 52, 3), history=0), "nature"),
    (
        replace(
            point_spec(),
            parts=(PartSpec("left", (40, 36), "uint8", scale=255.0), PartSpec("depth", (36, 50), history=2, scale=255.0)),
        ),
        "nature",
    ),
    (
        replace(
            point_spec(),
            parts=(PartSpec("left", (40, 36), "uint8", scale=255.0), PartSpec("depth", (36, 50), history=2, scale=255.0)),
        ),
        "patches",
    ),
    (replace(point_spec(), parts=(PartSpec("view", (36, 36), "uint8", history=3, scale=255.0),)), "nature"),
]
"""Gray, in colour, without a history, two at once, nothing but an image."""


@pytest.mark.parametrize(("spec", "cnn"), PICTURES)
def test_it_sees_in_images_what_the_torch_policy_sees(spec: EnvSpec, cnn: Any) -> None:
    network = NetworkOptions(hidden=(32,), cnn=cnn, precision="float32")
    sac, replay = SAC(AlgorithmOptions(), network, spec, seed=0), Replay(spec, 100)
    episode = make_episode(spec, 10, np.random.default_rng(0))
    for chunk in cut_all(episode, [10]):
        replay.append(chunk)
    for _ in range(2):
        sac.update(replay.sample(4, np.random.default_rng(0)))
    actor = load_actor(weights_of(sac, spec, network), spec)
    observations: list[Any] = [obs[0] if len(obs) == 1 else obs for obs in episode.observations]

    actions = np.stack([actor.act(observation, True, np.random.default_rng(0)) for observation in observations])
    together = actor.act_many(observations, True, np.random.default_rng(0))

    seen = {"vector": sac.normaliser(torch.from_numpy(np.stack([flat(spec, obs) for obs in episode.observations])))}
    for index, part in enumerate(spec.parts):
        seen[part.name] = torch.from_numpy(np.stack([obs[index] for obs in episode.observations]))
    with torch.no_grad():
        expected = sac.averaged_policy(readable(spec, seen)).mode().numpy()
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    assert np.all(np.ptp(expected, axis=0) > 1e-3), "what it does depends on what it sees"


def test_what_is_drawn_for_an_image_is_read_from_that_image_alone() -> None:
    spec, network = picture_spec((36, 36), history=1), NetworkOptions(hidden=(8,), cnn="nature")
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    first, second = make_episode(spec, 1, np.random.default_rng(0)).observations
    rng = np.random.default_rng(0)

    before = actor.act(first, True, rng)
    assert not np.array_equal(actor.act(second, True, rng), before)

    np.testing.assert_array_equal(actor.act(first, True, rng), before)


def test_an_image_of_another_size_is_explained() -> None:
    spec, network = picture_spec((36, 36), history=2), NetworkOptions(hidden=(8,), cnn="nature")
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    speed, images, *others = make_episode(spec, 1, np.random.default_rng(0)).observations[0]

    with pytest.raises(BadInput, match="'images' of the observation holds 1296 values, it should hold 2592"):
        actor.act((speed, images[0], *others), True, np.random.default_rng(0))


def test_it_explores_with_the_deviation_of_the_torch_policy() -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=(16,))
    sac = SAC(AlgorithmOptions(), network, spec, seed=0)
    actor = load_actor(weights_of(sac, spec, network), spec)
    observation = make_episode(spec, 3, np.random.default_rng(0)).observations[-1]
    rng = np.random.default_rng(1)

    drawn = np.stack([np.arctanh(actor.act(observation, False, rng).astype(np.float64)) for _ in range(4000)])

    with torch.no_grad():
        gaussian = sac.policy({"vector": sac.normaliser(torch.from_numpy(flat(spec, observation))[None])})
    np.testing.assert_allclose(drawn.mean(axis=0), gaussian.mean[0], atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), gaussian.log_std[0].exp(), rtol=0.1)


def test_noise_that_is_handed_in_is_what_it_explores_with() -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=(16,))
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    observations, rng = make_episode(spec, 3, np.random.default_rng(0)).observations, np.random.default_rng(1)
    noise = rng.standard_normal((len(observations), spec.action_size)).astype(np.float32)

    many = actor.act_many(observations, False, rng, noise)

    np.testing.assert_array_equal(
        actor.act_many(observations, False, rng, np.zeros_like(noise)), actor.act_many(observations, True, rng)
    )
    for observation, each, action in zip(observations, noise, many, strict=True):
        np.testing.assert_allclose(actor.act(observation, False, rng, each), action, atol=1e-5)
        np.testing.assert_array_equal(
            actor.act_many([observation], False, rng, each[None])[0], actor.act(observation, False, rng, each)
        )
        beyond = np.arctanh(action) - np.arctanh(actor.act(observation, True, rng))
        np.testing.assert_array_equal(np.sign(beyond), np.sign(each))


def test_the_same_random_state_gives_the_same_action_and_actions_are_not_overwritten() -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=(16,))
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    first, second = make_episode(spec, 1, np.random.default_rng(0)).observations

    kept = actor.act(first, False, np.random.default_rng(4))
    copy = kept.copy()
    actor.act(second, False, np.random.default_rng(4))

    np.testing.assert_array_equal(kept, copy)
    np.testing.assert_array_equal(kept, actor.act(first, False, np.random.default_rng(4)))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=4),
    st.sampled_from(["relu", "tanh", "silu"]),
    st.lists(st.integers(1, 300), min_size=1, max_size=2),
    st.booleans(),
)
def test_many_are_answered_as_each_alone(counts: list[int], activation: Any, hidden: list[int], deterministic: bool) -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=tuple(hidden), activation=activation)
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    together, alone = np.random.default_rng(5), np.random.default_rng(5)

    for count in counts:  # larger and smaller batches share buffers
        observations = make_episode(spec, count, np.random.default_rng(count)).observations[:count]
        actions = actor.act_many(observations, deterministic, together)
        expected = [actor.act(observation, deterministic, alone) for observation in observations]

        assert actions.dtype == np.float32
        assert actions.shape == (count, spec.action_size)
        np.testing.assert_allclose(actions, np.stack(expected), rtol=0, atol=1e-6)
    assert together.bit_generator.state == alone.bit_generator.state


def test_the_actions_of_a_batch_are_not_overwritten_by_the_next() -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=(16,))
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    observations = make_episode(spec, 3, np.random.default_rng(0)).observations

    kept = actor.act_many(observations[:2], True, np.random.default_rng(0))
    copy = kept.copy()
    actor.act_many(observations[2:], True, np.random.default_rng(0))
    actor.act_many(observations, True, np.random.default_rng(0))

    np.testing.assert_array_equal(kept, copy)


WIDTH = 1024
"""Of hidden layers whose outputs would show among what one action takes."""


@pytest.mark.parametrize("together", [1, 8])
@pytest.mark.parametrize(
    ("spec", "network"),
    [
        (lidar_spec(), NetworkOptions(hidden=(WIDTH, WIDTH))),
        (lidar_spec(), NetworkOptions(hidden=(WIDTH, WIDTH), gru=8)),
        (picture_spec((36, 36), history=2), NetworkOptions(hidden=(16,), cnn="nature")),
    ],
)
def test_acting_again_and_again_takes_no_more_memory(spec: EnvSpec, network: NetworkOptions, together: int) -> None:
    sac = SAC(AlgorithmOptions(), network, spec, seed=0)
    actor, rng = load_actor(weights_of(sac, spec, network), spec), np.random.default_rng(0)
    observations = make_episode(spec, together, rng).observations[:together]
    states = [actor.begin() for _ in observations]

    def act() -> None:
        if together == 1:
            actor.act(observations[0], False, rng, None, states[0])
        else:
            actor.act_many(observations, False, rng, None, states)

    act()  # buffers for so many are made here, once
    tracemalloc.start()
    try:
        act()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(300):
            act()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1000, "bytes, of what Python itself keeps"


@pytest.mark.parametrize("together", [1, 8])
def test_what_layers_make_is_written_to_the_same_buffers_each_time(together: int) -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=(WIDTH, WIDTH))
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    observations, rng = make_episode(spec, together, np.random.default_rng(0)).observations[:together], np.random.default_rng(0)
    actor.act_many(observations, False, rng)
    tracemalloc.start()
    try:
        actor.act_many(observations, False, rng)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * together * WIDTH * 4, "less than what two layers make"


def test_a_single_part_may_come_without_a_tuple() -> None:
    spec, network = point_spec(), NetworkOptions(hidden=(4,))
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    rng = np.random.default_rng(0)

    bare = actor.act(np.asarray([0.3]), True, rng)

    np.testing.assert_array_equal(bare, actor.act((np.asarray([0.3], np.float32),), True, rng))
    for row in actor.act_many([np.asarray([0.3])] * 3, True, rng):
        np.testing.assert_allclose(row, bare, atol=1e-6)


def test_an_observation_of_another_size_is_explained() -> None:
    spec, network = lidar_spec(), NetworkOptions(hidden=(4,))
    actor = load_actor(weights_of(SAC(AlgorithmOptions(), network, spec, seed=0), spec, network), spec)
    rng = np.random.default_rng(0)

    with pytest.raises(BadInput, match="has 1 parts, test/Lidar-v0 has 4"):
        actor.act((np.zeros(1),), True, rng)
    with pytest.raises(BadInput, match="'lidar' of the observation holds 19 values, test/Lidar-v0 says 76"):
        actor.act((np.zeros(1), np.zeros(19), np.zeros(3), np.zeros(3)), True, rng)
    with pytest.raises(BadInput, match="has 1 parts, test/Lidar-v0 has 4"):
        actor.act_many([(np.zeros(1),)] * 2, True, rng)
    right = (np.zeros(1), np.zeros((4, 19)), np.zeros(3), np.zeros(3))
    with pytest.raises(BadInput, match="'lidar' of the observation holds 19 values, test/Lidar-v0 says 76"):
        actor.act_many([right, (np.zeros(1), np.zeros(19), np.zeros(3), np.zeros(3))], True, rng)
    with pytest.raises(BadInput, match="has 5 parts, test/Lidar-v0 has 4"):
        actor.act_many([right, (*right, np.zeros(3))], True, rng)


def test_weights_that_do_not_hold_what_they_say_are_refused() -> None:
    spec, network = point_spec(), NetworkOptions(hidden=(4,))
    sac = SAC(AlgorithmOptions(), network, spec, seed=0)
    good = weights_of(sac, spec, network)

    with pytest.raises(WeightsError, match=r"should hold 'head.bias' as float32 \(2,\) and hold float32 \(3,\)"):
        load_actor(weights_of(sac, spec, network, **{"head.bias": np.zeros(3, np.float32)}), spec)
    with pytest.raises(WeightsError, match=r"not finite in 'head\.bias'"):
        load_actor(weights_of(sac, spec, network, **{"head.bias": np.full(2, np.nan, np.float32)}), spec)
    with pytest.raises(WeightsError, match="action_size should be 1 and is 2"):
        load_actor(good, replace(spec, action_size=2))
    with pytest.raises(WeightsError, match="network that this program does not know"):
        load_actor(pack(replace(good.manifest, network={"heads": 3}), sac.policy_tensors()), spec)


@pytest.mark.parametrize("module", ["tmrld.rl.inference", "tmrld.rl.options", "tmrld.rl.replay", "tmrld.rl.weights"])
def test_acting_and_options_need_no_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
