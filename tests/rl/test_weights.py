"""Weights files: there and back, damaged, foreign, made for another environment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from tests.rl.experience import lidar_spec, picture_spec
from tmrld.errors import WeightsError
from tmrld.payloads import EnvSpec, PartSpec, WeightsManifest
from tmrld.rl.options import NetworkOptions
from tmrld.rl.weights import check_fits, open_policy, pack, policy_shapes, unpack

MANIFEST = WeightsManifest(
    run="demo",
    version=7,
    update=1400,
    lineage=1,
    spec=lidar_spec(),
    network={"hidden": [256, 256]},
    algorithm="sac",
    created_by="t",
)
TENSORS = {"head.bias": np.arange(6, dtype=np.float32), "head.weight": np.arange(12, dtype=np.float32).reshape(6, 2)}
PACKED = pack(MANIFEST, TENSORS)


def test_what_goes_in_comes_out() -> None:
    manifest, tensors = unpack(PACKED.data)

    assert manifest == MANIFEST
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], tensor)


def test_a_transposed_tensor_keeps_its_values() -> None:
    turned = {"head.weight": TENSORS["head.weight"].T}

    _, tensors = unpack(pack(MANIFEST, turned).data)

    np.testing.assert_array_equal(tensors["head.weight"], turned["head.weight"])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PACKED.data) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place: int, bit: int) -> None:
    damaged = bytearray(PACKED.data)
    damaged[place] ^= 1 << bit

    with pytest.raises(WeightsError):
        unpack(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(PACKED.data) - 1))
def test_a_cut_file_is_noticed(length: int) -> None:
    with pytest.raises(WeightsError):
        unpack(PACKED.data[:length])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(WeightsError):
        unpack(data)


def test_a_file_of_another_program_is_told_apart() -> None:
    with pytest.raises(WeightsError, match="no tmrld manifest"):
        unpack(save(TENSORS))


def test_a_file_of_a_later_format_is_told_apart() -> None:
    with pytest.raises(WeightsError, match="of format 2, this program reads format 1"):
        unpack(save(TENSORS, metadata={"tmrld": "{}", "tmrld.format": "2"}))


def changed(spec: EnvSpec, index: int, **changes: object) -> EnvSpec:
    parts = list(spec.parts)
    parts[index] = replace(parts[index], **changes)  # type: ignore[arg-type]
    return replace(spec, parts=tuple(parts))


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (replace(lidar_spec(), parts=lidar_spec().parts[:1]), "expect the parts speed, lidar and get speed"),
        (replace(lidar_spec(), parts=(*lidar_spec().parts, PartSpec("x", (1,)))), "get speed, lidar, x"),
        (changed(lidar_spec(), 1, history=3), "history of 'lidar' should be 4 and is 3"),
        (changed(lidar_spec(), 1, shape=(18,)), r"shape of 'lidar' should be \(19,\) and is \(18,\)"),
        (changed(lidar_spec(), 0, scale=1.0), "scale of 'speed' should be 1000.0 and is 1.0"),
        (replace(lidar_spec(), action_size=2), "action_size should be 3 and is 2"),
        (replace(lidar_spec(), action_buffer=1), "action_buffer should be 2 and is 1"),
    ],
)
def test_the_first_difference_to_the_environment_is_named(spec: EnvSpec, complaint: str) -> None:
    with pytest.raises(WeightsError, match=rf"weights 7 of the run 'demo'.*{complaint}; choose weights of that environment"):
        check_fits(MANIFEST, spec)


def test_another_environment_with_the_same_spaces_fits() -> None:
    check_fits(MANIFEST, replace(lidar_spec(), id="another/Lidar-v1", step_s=0.1))


def test_a_manifest_from_before_there_was_a_choice_means_tmrls_convolutions() -> None:
    spec, network = picture_spec(), NetworkOptions(hidden=(8,), cnn="tmrl")
    tensors = {name: np.zeros(shape, np.float32) for name, shape in policy_shapes(spec, network).items()}

    options, found = open_policy(pack(replace(MANIFEST, spec=spec, network={"hidden": [8]}), tensors).data, spec)

    assert options == network
    assert found.keys() == tensors.keys()
