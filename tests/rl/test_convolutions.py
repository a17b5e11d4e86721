"""Which convolutions read which images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.rl.experience import lidar_spec, picture_spec
from tmrld.errors import BadInput
from tmrld.payloads import PartSpec
from tmrld.rl.convolutions import convolutions, image_shape, images_size
from tmrld.rl.images import image_readers, readable
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC
from tmrld.rl.weights import policy_shapes

TMRL = NetworkOptions(hidden=(256, 256), cnn="tmrl")
OURS = NetworkOptions()
NATURE = NetworkOptions(cnn="nature")


def test_without_images_there_are_none() -> None:
    assert convolutions(lidar_spec(), TMRL) == ()
    assert images_size(lidar_spec(), TMRL) == 0


def test_tmrls_images_end_as_128_values() -> None:
    (layers,) = convolutions(picture_spec(), TMRL)

    assert [(layer.height, layer.width) for layer in layers] == [(29, 29), (13, 13), (5, 5), (1, 1)]
    assert images_size(picture_spec(), TMRL) == 128


def test_the_default_reads_patches_that_do_not_overlap_and_keeps_where_things_are() -> None:
    (layers,) = convolutions(picture_spec(), OURS)

    assert [(layer.outputs, layer.kernel, layer.stride) for layer in layers] == [(24, 4, 4), (32, 3, 2), (64, 3, 2)]
    assert [(layer.height, layer.width) for layer in layers] == [(16, 16), (7, 7), (3, 3)]
    assert images_size(picture_spec(), OURS) == 64 * 3 * 3


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_the_default_takes_a_twentieth_of_the_work_of_tmrls_or_less(shape: tuple[int, ...]) -> None:
    def work(network: NetworkOptions) -> int:
        return sum(layer.multiply_adds for layers in convolutions(picture_spec(shape), network) for layer in layers)

    assert 20 * work(OURS) <= work(TMRL)


def test_multiply_adds_are_counted_for_each_value_that_each_layer_gives() -> None:
    (layers,) = convolutions(picture_spec(), TMRL)

    assert [layer.multiply_adds for layer in layers] == [
        29 * 29 * 64 * (4 * 8 * 8),
        13 * 13 * 64 * (64 * 4 * 4),
        5 * 5 * 128 * (64 * 4 * 4),
        1 * 1 * 128 * (128 * 4 * 4),
    ]


def test_what_each_critic_reads_of_an_image_is_normalised_by_itself() -> None:
    spec, members = picture_spec((40, 36), history=2), 3
    (reader,) = image_readers(spec, OURS, members, torch.Generator().manual_seed(0))
    images = torch.randint(0, 256, (5, 2, 40, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        read = reader(readable(spec, {"images": images})["images"]).reshape(5, members, images_size(spec, OURS))

    torch.testing.assert_close(read.mean(dim=2), torch.zeros(5, members), rtol=0, atol=1e-5)
    torch.testing.assert_close(read.std(dim=2, correction=0), torch.ones(5, members), rtol=0, atol=0.05)
    assert (read[:, 0] - read[:, 1]).abs().max() > 0.1


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


@pytest.mark.parametrize(("network", "least"), [(TMRL, 50), (NATURE, 36), (OURS, 28)])
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
