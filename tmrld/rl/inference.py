"""Acting with a policy: numpy alone, one observation or a batch at a time, buffers made once.

The same network as tmrld.rl.policy, which has the formulas, rebuilt from a Weights file.  A worker needs no torch for it, and a
step costs some tens of microseconds; of a batch, each costs a fraction of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import ValidationError

from tmrld.errors import WeightsError
from tmrld.payloads import Array, EnvSpec, Weights
from tmrld.rl.observations import flatten, flatten_many, image_parts, vector_size
from tmrld.rl.options import NetworkOptions
from tmrld.rl.weights import check_fits, unpack


def _relu(values: Array) -> None:
    np.maximum(values, 0.0, out=values)


def _tanh(values: Array) -> None:
    np.tanh(values, out=values)


def _silu(values: Array) -> None:
    values *= 0.5 * (1.0 + np.tanh(0.5 * values))  # x · sigmoid(x), in a form that cannot overflow


ACTIVATIONS: dict[str, Callable[[Array], None]] = {"relu": _relu, "tanh": _tanh, "silu": _silu}


class Actor:
    """Chooses actions; made by `load_actor`.  Not for several threads at once: its buffers are its own."""

    def __init__(self, spec: EnvSpec, options: NetworkOptions, tensors: Mapping[str, Array]) -> None:
        self.spec = spec
        self._options = options
        self._activate = ACTIVATIONS[options.activation]
        names = [*(f"trunk.layers.{index}" for index in range(len(options.hidden))), "head"]
        self._layers = [
            (np.ascontiguousarray(tensors[f"{name}.weight"]), tensors[f"{name}.bias"], np.empty_like(tensors[f"{name}.bias"]))
            for name in names
        ]
        self._vector = np.empty(vector_size(spec), np.float32)
        self._batch: list[Array] = []

    def act(self, observation: Sequence[Array] | Array, deterministic: bool, rng: np.random.Generator) -> Array:
        """The action for the environment's observation (see tmrld.rl.observations): a new (action_size,) float32 in [-1, 1].

        Deterministic: tanh(mean); otherwise drawn from the policy with ``rng``.  Raises BadInput for an observation of other
        sizes.
        """
        flatten(self.spec, observation, self._vector)
        values = self._vector
        for weight, bias, out in self._layers[:-1]:
            np.dot(weight, values, out=out)
            out += bias
            self._activate(out)
            values = out
        weight, bias, out = self._layers[-1]
        np.dot(weight, values, out=out)
        out += bias
        return self._actions(out, deterministic, rng)

    def act_many(self, observations: Sequence[Sequence[Array] | Array], deterministic: bool, rng: np.random.Generator) -> Array:
        """The actions for so many observations at once: a new (observations, action_size) float32.

        Row i is what `act` gives for observation i, with the same noise from ``rng`` if the calls follow one another, but for
        float32's rounding, some 1e-6: the products are summed in another order.  Raises BadInput as `act` does.
        """
        count = len(observations)
        if count == 1:  # a product of a matrix and a vector is the faster one
            return self.act(observations[0], deterministic, rng)[None]
        values, *outs = self._rows(count)
        flatten_many(self.spec, observations, values)
        for (weight, bias, _), out in zip(self._layers, outs, strict=True):
            np.dot(values, weight.T, out=out)
            out += bias
            if out is not outs[-1]:
                self._activate(out)
            values = out
        return self._actions(values, deterministic, rng)

    def _actions(self, head: Array, deterministic: bool, rng: np.random.Generator) -> Array:
        """From what the last layer gives, (…, 2 · action_size), to actions (…, action_size)."""
        size = self.spec.action_size
        mean = head[..., :size]
        if deterministic:
            action: Array = np.tanh(mean)
            return action
        log_std = np.minimum(head[..., size:], self._options.log_std_max)
        np.maximum(log_std, self._options.log_std_min, out=log_std)  # together they take half of the time of np.clip
        sampled: Array = np.tanh(mean + np.exp(log_std) * rng.standard_normal(mean.shape, np.float32))
        return sampled

    def _rows(self, count: int) -> list[Array]:
        """Buffers for a batch: that of the vectors, then one per layer, (count, width) each; made anew only for a larger batch."""
        if not self._batch or len(self._batch[0]) < count:
            widths = [len(self._vector), *(len(bias) for _, bias, _ in self._layers)]
            self._batch = [np.empty((count, width), np.float32) for width in widths]
        return [buffer[:count] for buffer in self._batch]


def load_actor(weights: Weights, spec: EnvSpec) -> Actor:
    """The policy in a Weights file, for an environment of this spec.

    Raises WeightsError when the file is damaged, does not fit the spec, or holds another network than its manifest says.
    """
    manifest, tensors = unpack(weights.data)
    check_fits(manifest, spec)
    name = f"weights {manifest.version} of the run '{manifest.run}'"
    try:
        options = NetworkOptions(**manifest.network)
    except (ValidationError, TypeError) as error:
        raise WeightsError(f"{name} name a network that this program does not know: use the same version of tmrld") from error
    if image_parts(spec):
        raise WeightsError(f"{name} are of an MLP, and {spec.id} shows images, which an MLP cannot read")
    for tensor, shape in _expected_shapes(spec, options).items():
        found = tensors.get(tensor)
        if found is None or found.shape != shape or found.dtype != np.float32:
            got = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise WeightsError(f"{name} should hold '{tensor}' as float32 {shape} and hold {got}: export them again")
        if not np.isfinite(found).all():
            raise WeightsError(
                f"{name} hold values that are not finite in '{tensor}': the training diverged, use an older version"
            )
    return Actor(spec, options, tensors)


def _expected_shapes(spec: EnvSpec, options: NetworkOptions) -> dict[str, tuple[int, ...]]:
    """The tensors of the policy network."""
    widths = (vector_size(spec), *options.hidden)
    shapes: dict[str, tuple[int, ...]] = {}
    for index in range(len(options.hidden)):
        shapes[f"trunk.layers.{index}.weight"] = (widths[index + 1], widths[index])
        shapes[f"trunk.layers.{index}.bias"] = (widths[index + 1],)
    shapes["head.weight"] = (2 * spec.action_size, widths[-1])
    shapes["head.bias"] = (2 * spec.action_size,)
    return shapes
