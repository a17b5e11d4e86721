"""Which convolutions read which images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.rl.experience import lidar_spec, picture_spec
from tmrld.errors import BadInput
from tmrld.payloads import PartSpec
from tmrld.rl.convolutions import convolutions, image_shape, images_size
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC
from tmrld.rl.weights import policy_shapes

TMRL = NetworkOptions(hidden=(256, 256))
NATURE = NetworkOptions(cnn="nature")


def test_without_images_there_are_none() -> None:
    assert convolutions(lidar_spec(), TMRL) == ()
    assert images_size(lidar_spec(), TMRL) == 0


def test_tmrls_images_end_as_128_values() -> None:
    (layers,) = convolutions(picture_spec(), TMRL)

    assert [(layer.height, layer.width) for layer in layers] == [(29, 29), (13, 13), (5, 5), (1, 1)]
    assert images_size(picture_spec(), TMRL) == 128


def test_a_policy_has_the_parameters_of_tmrls() -> None:
    spec = picture_spec()
    spec = replace(spec, parts=(*spec.parts, PartSpec("rpm", (1,))))
    shapes = policy_shapes(spec, TMRL)

    assert shapes["encoder.images.0.layers.0.weight"] == (64, 4, 8, 8)
    assert shapes["encoder.images.0.layers.3.bias"] == (128,)
    assert shapes["trunk.layers.0.weight"] == (256, 9 + 128)
    tensors = SAC(AlgorithmOptions(), TMRL, spec, seed=0).policy_tensors()
    assert {name: tensor.shape for name, tensor in tensors.items()} == shapes


@pytest.mark.parametrize(
    ("shape", "history", "read"),
    [((64, 48), 4, (4, 64, 48)), ((64, 48), 0, (1, 64, 48)), ((64, 48, 3), 4, (12, 64, 48)), ((64, 48, 3), 0, (3, 64, 48))],
)
def test_history_and_colours_are_channels(shape: tuple[int, ...], history: int, read: tuple[int, int, int]) -> None:
    assert image_shape(PartSpec("images", shape, "uint8", history=history)) == read


@pytest.mark.parametrize(("network", "least"), [(TMRL, 50), (NATURE, 36)])
def test_the_least_size_is_what_the_last_layer_needs(network: NetworkOptions, least: int) -> None:
    (layers,) = convolutions(picture_spec((least, least)), network)
    assert (layers[-1].height, layers[-1].width) == (1, 1)

    with pytest.raises(
        BadInput, match=f"{least} pixels high and {least - 1} wide, and network.cnn = .* needs {least} each way"
    ):
        convolutions(picture_spec((least, least - 1)), network)


def test_what_is_no_image_is_refused_before_training() -> None:
    cubes: Any = picture_spec((64, 64, 3, 2))

    with pytest.raises(BadInput, match="a frame of 'images' of test/Full-v0 has 4 axes"):
        SAC(AlgorithmOptions(), TMRL, cubes, seed=0)
