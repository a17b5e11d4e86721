"""TMRL's policies as ours do what they did."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tmrld.envs.options import FULL_ID, LIDAR_ID, LIDAR_PROGRESS_ID, EnvironmentOptions
from tmrld.envs.trackmania.spec import flavour_spec
from tmrld.errors import WeightsError
from tmrld.payloads import EnvSpec
from tmrld.rl.inference import load_actor
from tmrld.rl.observations import image_parts, vector_parts
from tmrld.rl.policy import Policy
from tmrld.tmrl import tmod, weights

GOLDEN = Path(__file__).parent / "golden"
CLOSE = 1e-6


@dataclass(frozen=True)
class Case:
    file: str
    options: EnvironmentOptions

    @property
    def spec(self) -> EnvSpec:
        return flavour_spec(self.options)


CASES = {
    "lidar": Case("lidar", EnvironmentOptions(id=LIDAR_ID)),
    "progress": Case("progress", EnvironmentOptions(id=LIDAR_PROGRESS_ID)),
    "gray": Case("gray", EnvironmentOptions(id=FULL_ID)),
    "colour": Case("gray", EnvironmentOptions(id=FULL_ID, grayscale=False)),
}


@cache
def tensors(file: str) -> dict[str, NDArray[Any]]:
    return tmod.read(lzma.decompress((GOLDEN / f"{file}.tmod.xz").read_bytes()), f"the file {file}.tmod")


def golden(name: str) -> tuple[list[tuple[NDArray[Any], ...]], NDArray[np.float32], NDArray[np.float64]]:
    """The observations, and what TMRL did, in 32 bits and in 64."""
    with np.load(GOLDEN / "actions.npz") as file:
        parts = [file[f"{name}/part{k}"] for k in range(len(CASES[name].spec.parts) + 2)]
        return list(zip(*parts, strict=True)), file[f"{name}/32"], file[f"{name}/64"]


@pytest.mark.parametrize("name", CASES)
def test_the_policy_does_what_it_did_at_tmrl(name: str) -> None:
    spec = CASES[name].spec
    observations, done, exact = golden(name)
    found = weights.weights(weights.policy(tensors(CASES[name].file), spec, "it"), spec, "mine")
    actor = load_actor(found, spec)
    rng = np.random.default_rng(0)
    actions = np.array([actor.act(observation, True, rng) for observation in observations])

    assert np.abs(actions - done).max() < CLOSE
    assert np.abs(actions - exact).max() < CLOSE
    assert np.ptp(done, axis=0).min() > 0.02, "a policy that does the same whatever it sees shows nothing"


@pytest.mark.parametrize("name", CASES)
def test_in_64_bits_nothing_is_lost(name: str) -> None:
    """The scales and the order of inputs are exact; what differs by 1e-7 is the arithmetic of 32 bits."""
    spec = CASES[name].spec
    observations, _, exact = golden(name)
    policy = weights.policy(tensors(CASES[name].file), spec, "it")
    actions = np.array([forward(policy, spec, observation) for observation in observations])

    assert np.abs(actions - exact).max() < 1e-12


def forward(policy: weights.Policy, spec: EnvSpec, observation: tuple[NDArray[Any], ...]) -> NDArray[np.float64]:
    """What our network does with an observation, in 64 bits, written down once more."""
    import torch
    from torch.nn import functional

    observation = tuple(np.asarray(each, np.float64) for each in observation)
    named = dict(zip([part.name for part in spec.parts], observation, strict=False))
    seen = [np.ravel(named[part.name]) / part.scale for part in vector_parts(spec)]
    seen += [np.ravel(action) for action in observation[len(spec.parts) :]]
    for part in image_parts(spec):
        image = named[part.name] / part.scale
        image = image if image.ndim == 3 else np.moveaxis(image, -1, 1).reshape(-1, *image.shape[1:3])
        pixels = torch.from_numpy(image)[None]
        for layer in range(4):
            weight, bias = (
                torch.from_numpy(policy.tensors[f"encoder.images.0.layers.{layer}.{kind}"]) for kind in ("weight", "bias")
            )
            pixels = functional.relu(functional.conv2d(pixels, weight, bias, 2))
        seen.append(pixels.numpy().ravel())
    values = np.concatenate(seen)
    for layer in range(len(policy.network.hidden)):
        outputs, biases = (policy.tensors[f"trunk.layers.{layer}.{kind}"] for kind in ("weight", "bias"))
        values = np.maximum(outputs @ values + biases, 0.0)
    head = policy.tensors["head.weight"] @ values + policy.tensors["head.bias"]
    result: NDArray[np.float64] = np.tanh(head[: spec.action_size])
    return result


@pytest.mark.parametrize("name", CASES)
def test_the_tensors_are_those_of_a_policy_that_learns_on(name: str) -> None:
    import torch

    spec = CASES[name].spec
    policy = weights.policy(tensors(CASES[name].file), spec, "it")
    ours = Policy(spec, policy.network, torch.Generator().manual_seed(0))

    ours.load_state_dict({name: torch.from_numpy(each) for name, each in policy.tensors.items()}, strict=True)


def test_the_spread_of_actions_comes_over_too() -> None:
    spec = CASES["lidar"].spec
    theirs = tensors("lidar")
    policy = weights.policy(theirs, spec, "it")

    assert np.array_equal(policy.tensors["head.weight"][3:], theirs["log_std_layer.weight"])
    assert np.array_equal(policy.tensors["head.bias"][3:], theirs["log_std_layer.bias"])


def without(name: str) -> dict[str, NDArray[Any]]:
    return {key: value for key, value in tensors("lidar").items() if key != name}


@pytest.mark.parametrize(
    ("theirs", "case", "sentence"),
    [
        (without("mu_layer.bias"), "lidar", "has no tensor 'mu_layer.bias'"),
        (without("net.0.weight"), "lidar", "the file x has"),
        ({}, "lidar", "has no tensor 'net.0.weight'"),
        ({**tensors("lidar"), "rnn.weight": np.zeros(3)}, "lidar", "has rnn.weight besides"),
        ({**tensors("lidar"), "mu_layer.weight": np.full((3, 256), np.nan)}, "lidar", "not finite"),
        ({**tensors("lidar"), "mu_layer.weight": np.zeros((4, 256))}, "lidar", "4 outputs and 3 biases"),
        ({**tensors("lidar"), "net.2.weight": np.zeros((256, 7))}, "lidar", "sees something else than|do not fit"),
        ({**tensors("lidar"), "net.2.bias": np.zeros((2, 2))}, "lidar", "of the shape"),
        (tensors("lidar"), "progress", r"its trunk\.layers\.0\.weight would have the shape \(256, 83\), not \(256, 84\)"),
        (tensors("lidar"), "gray", "has no tensor 'net.conv1.weight'"),
        (tensors("gray"), "lidar", "only those that TMRL brings|no policy that TMRL brings"),
    ],
)
def test_tensors_of_another_policy_are_refused(theirs: dict[str, NDArray[Any]], case: str, sentence: str) -> None:
    with pytest.raises(WeightsError, match=sentence):
        weights.policy(theirs, CASES[case].spec, "the file x")


def test_another_history_is_told() -> None:
    spec = flavour_spec(EnvironmentOptions(id=FULL_ID, history=3))

    with pytest.raises(WeightsError, match=r"encoder\.images\.0\.layers\.0\.weight would have the shape \(64, 4, 8, 8\)"):
        weights.policy(tensors("gray"), spec, "the file x")
