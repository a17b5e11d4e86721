"""TMRL's policies as ours: the same actions for the same observations.

=====================================  =============================================================================================
TMRL's tensor                          ours
=====================================  =============================================================================================
``net.0``, ``net.2``, …                ``trunk.layers.0``, ``trunk.layers.1``, …: the MLP of the flavours with LIDAR
``net.conv1`` … ``net.conv4``          ``encoder.images.0.layers.0`` … ``3``: VanillaCNN, of the full flavour
``net.mlp.0``                          ``trunk.layers.0``; TMRL's inputs stand in another order: numbers, images, actions
``net.mlp.2``                          ``trunk.layers.1``, twice (below)
``mu_layer``, ``log_std_layer``        ``head``, one above the other
=====================================  =============================================================================================

What enters a network is scaled differently (`SCALES`): that goes into the weights of the first layer, in 64 bits.

TMRL's VanillaCNN has no activation after its last hidden layer, where ours has one.  Since z = relu(z) - relu(-z), that layer stands
here beside its negative, and the head subtracts the one from the other: 512 units for TMRL's 256, and no digit is lost.

TMRL's policy for images in colour looks at the first colour alone, red: the others get weights of zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrld.errors import WeightsError
from tmrld.payloads import Array, EnvSpec, Weights, WeightsManifest
from tmrld.rl.observations import image_parts, vector_parts, vector_size
from tmrld.rl.options import NetworkOptions
from tmrld.rl.weights import pack, policy_shapes, unpack

SCALES = {"speed": 1000.0, "gear": 10.0, "rpm": 10_000.0, "images": 256.0}
"""What TMRL divides parts of an observation by, in its full flavour; with LIDAR it divides none."""
CONVOLUTIONS = 4

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Policy:
    """A policy of TMRL as ours: its network, and its tensors in 64 bits."""

    network: NetworkOptions
    tensors: dict[str, Numbers]


def policy(tensors: Mapping[str, Array], spec: EnvSpec, what: str) -> Policy:
    """The policy that these tensors of TMRL are, for an environment of this spec.

    ``what`` names them in errors.  Raises WeightsError for tensors of another network, or of other sizes than the spec's.
    """
    theirs = _Theirs(tensors, what)
    images = image_parts(spec)
    found = _cnn(theirs, spec) if images else _mlp(theirs, spec)
    if theirs.left:
        raise WeightsError(
            f"{what} has {', '.join(sorted(theirs.left)[:4])} besides what TMRL's policies have: only those that TMRL brings can be "
            "taken over, its MLP for the LIDAR and its VanillaCNN for images"
        )
    for name, shape in policy_shapes(spec, found.network).items():
        if found.tensors[name].shape != shape:
            raise WeightsError(
                f"{what} is of a policy that sees something else than {spec.id} with this config.json shows: its {name} would have "
                f"the shape {found.tensors[name].shape}, not {shape}. Give the config.json that it was trained with"
            )
    return found


def weights(found: Policy, spec: EnvSpec, run: str) -> Weights:
    """A policy as a file of weights of ``run``."""
    manifest = WeightsManifest(
        run=run,
        version=1,
        update=0,
        lineage=0,
        spec=spec,
        network=found.network.model_dump(mode="json"),
        algorithm="sac",
        created_by="TMRL",
    )
    return pack(manifest, {name: tensor.astype(np.float32) for name, tensor in found.tensors.items()})


def are_same(first: bytes, second: bytes) -> bool:
    """Whether two files hold the same weights: a file's bytes depend on the order in which its facts are written.

    Raises WeightsError for a file that is damaged.
    """
    (manifest, tensors), (other, others) = unpack(first), unpack(second)
    same = manifest == other and tensors.keys() == others.keys()
    return same and all(np.array_equal(tensor, others[name]) for name, tensor in tensors.items())


class _Theirs:
    """TMRL's tensors, taken one layer at a time; ``left`` has the names of those that were not."""

    def __init__(self, tensors: Mapping[str, Array], what: str) -> None:
        self._tensors = tensors
        self._what = what
        self.left = set(tensors)

    def layer(self, name: str, axes: int = 2) -> tuple[Numbers, Numbers]:
        """Weight and bias of a layer, in 64 bits.  Raises WeightsError."""
        weight, bias = self._tensor(f"{name}.weight", axes), self._tensor(f"{name}.bias", 1)
        if len(weight) != len(bias):
            raise WeightsError(f"{self._what} has {len(weight)} outputs and {len(bias)} biases in its layer {name}")
        return weight, bias

    def _tensor(self, name: str, axes: int) -> Numbers:
        if name not in self._tensors:
            raise WeightsError(
                f"{self._what} has no tensor {name!r}, so it is no policy that TMRL brings for this environment: only its MLP for "
                "the LIDAR and its VanillaCNN for images can be taken over"
            )
        tensor = self._tensors[name]
        self.left.discard(name)
        if tensor.ndim != axes or not tensor.size or not np.isfinite(tensor).all():
            raise WeightsError(
                f"{self._what} has a tensor {name!r} of the shape {tensor.shape}, or with values that are not finite"
            )
        return tensor.astype(np.float64)


def _mlp(theirs: _Theirs, spec: EnvSpec) -> Policy:
    tensors: dict[str, Numbers] = {}
    count = sum(name.startswith("net.") and name.endswith(".weight") for name in theirs.left)
    if not count:
        theirs.layer("net.0")  # tells what is missing
    hidden = []
    for index in range(count):
        weight, bias = theirs.layer(f"net.{2 * index}")
        if index == 0:
            weight = _times(weight, _factors(spec))
        tensors |= _named(f"trunk.layers.{index}", weight, bias)
        hidden.append(len(bias))
    return Policy(_network(tuple(hidden)), tensors | _named("head", *_head(theirs)))


def _cnn(theirs: _Theirs, spec: EnvSpec) -> Policy:
    (image,) = image_parts(spec)
    tensors: dict[str, Numbers] = {}
    for index in range(CONVOLUTIONS):
        weight, bias = theirs.layer(f"net.conv{index + 1}", axes=4)
        if index == 0:
            weight = weight * (image.scale / SCALES["images"])
            if len(image.shape) == 3:
                weight = _first_colour(weight, image.shape[-1])
        tensors |= _named(f"encoder.images.0.layers.{index}", weight, bias)

    first, first_bias = theirs.layer("net.mlp.0")
    numbers, actions = sum(part.observed_size for part in vector_parts(spec)), spec.action_buffer * spec.action_size
    seen = first.shape[1] - numbers - actions
    order = [*range(numbers), *range(numbers + seen, numbers + seen + actions), *range(numbers, numbers + seen)]
    if seen < 1:
        order = list(range(first.shape[1]))  # another network: its shapes are told by whoever called
    factors = _factors(spec)
    first = first[:, order]
    first = _times(first, np.concatenate([factors, np.ones(max(0, first.shape[1] - len(factors)))]))
    tensors |= _named("trunk.layers.0", first, first_bias)

    second, second_bias = theirs.layer("net.mlp.2")
    tensors |= _named("trunk.layers.1", np.concatenate([second, -second]), np.concatenate([second_bias, -second_bias]))
    head, head_bias = _head(theirs)
    tensors |= _named("head", np.concatenate([head, -head], axis=1), head_bias)
    return Policy(_network((len(first_bias), 2 * len(second_bias))), tensors)


def _network(hidden: tuple[int, ...]) -> NetworkOptions:
    """Of TMRL's networks: no critic of it normalises anything."""
    return NetworkOptions(
        hidden=hidden, activation="relu", cnn="tmrl", critic_layer_norm=False, log_std_min=-20.0, log_std_max=2.0
    )


def _head(theirs: _Theirs) -> tuple[Numbers, Numbers]:
    (mean, mean_bias), (spread, spread_bias) = theirs.layer("mu_layer"), theirs.layer("log_std_layer")
    if mean.shape != spread.shape:
        raise WeightsError(f"the layers for mean and deviation have the shapes {mean.shape} and {spread.shape}")
    return np.concatenate([mean, spread]), np.concatenate([mean_bias, spread_bias])


def _named(layer: str, weight: Numbers, bias: Numbers) -> dict[str, Numbers]:
    return {f"{layer}.weight": weight, f"{layer}.bias": bias}


def _factors(spec: EnvSpec) -> Numbers:
    """For each input of the flat vector: our scale over TMRL's."""
    scales = SCALES if image_parts(spec) else {}
    factors = np.ones(vector_size(spec))
    start = 0
    for part in vector_parts(spec):
        factors[start : start + part.observed_size] = part.scale / scales.get(part.name, 1.0)
        start += part.observed_size
    return factors


def _times(weight: Numbers, factors: Numbers) -> Numbers:
    """Each input's column times its factor; as it is where the numbers of inputs differ, which whoever called tells."""
    return weight * factors if weight.shape[1] == len(factors) else weight


def _first_colour(weight: Numbers, colours: int) -> Numbers:
    """Weights (outputs, frames, height, width) for (outputs, frames · colours, …): those of all other colours are zero."""
    outputs, frames, *kernel = weight.shape
    wide = np.zeros((outputs, frames, colours, *kernel))
    wide[:, :, 0] = weight
    return wide.reshape(outputs, frames * colours, *kernel)
