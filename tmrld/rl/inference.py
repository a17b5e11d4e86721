"""Acting with a policy: numpy alone, one observation or a batch at a time, buffers made once.

The same network as tmrld.rl.policy, which has the formulas, rebuilt from a Weights file.  A worker needs no torch for it, and a
step costs some tens of microseconds; of a batch, each costs a fraction of that.  Reading an image takes a tenth of a millisecond,
and with TMRL's convolutions a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tmrld.errors import BadInput
from tmrld.payloads import Array, EnvSpec, PartSpec, Weights
from tmrld.rl.convolutions import NORMALISED, Convolution, convolutions, image_shape
from tmrld.rl.observations import flatten, flatten_many, image_parts, vector_size
from tmrld.rl.options import NetworkOptions
from tmrld.rl.trunks import trunk_layers, trunk_scales
from tmrld.rl.weights import open_policy


def _relu(values: Array) -> None:
    np.maximum(values, 0.0, out=values)


def _tanh(values: Array) -> None:
    np.tanh(values, out=values)


def _silu(values: Array) -> None:
    gate = 0.5 * values  # x · sigmoid(x), the sigmoid in a form that cannot overflow: 0.5 · (1 + tanh(0.5 · x))
    np.tanh(gate, out=gate)
    gate += 1.0
    gate *= 0.5
    values *= gate


ACTIVATIONS: dict[str, Callable[[Array], None]] = {"relu": _relu, "tanh": _tanh, "silu": _silu}


RECURRENCE = ("read", "input", "state")
"""The layers of tmrld.rl.recurrence."""

Product = Callable[[Array, Array, Array], object]
"""Writes a weight, (outputs, inputs), times inputs, into its third argument."""


def _rows_dot(weight: Array, rows: Array, out: Array) -> None:
    """Of many inputs, (count, inputs), to (count, outputs)."""
    np.dot(rows, weight.T, out=out)


def _layer_of(tensors: Mapping[str, Array], name: str) -> tuple[Array, Array]:
    """Weight and bias of a layer."""
    return np.ascontiguousarray(tensors[f"{name}.weight"]), tensors[f"{name}.bias"]


def _through(layer: tuple[Array, Array], values: Array, product: Product) -> Array:
    """What a layer makes of its inputs, (…, inputs) → (…, outputs), without an activation."""
    weight, bias = layer
    out = np.empty((*values.shape[:-1], len(bias)), np.float32)
    product(weight, values, out)
    out += bias
    return out


def _normalised(values: Array) -> Array:
    """As torch's layer_norm: mean 0 and deviation 1 over the last axis."""
    centred = values - values.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    result: Array = centred / np.sqrt(variance + np.float32(1e-5))
    return result


def _scaled(options: NetworkOptions, tensors: Mapping[str, Array]) -> tuple[dict[str, Array], list[Array]]:
    """The tensors of a policy with a trunk of the kind simba2, each layer multiplied by its scale and with a bias.

    Those that lead back to the stream are not multiplied: their scales come beside, how far the stream goes towards each block's aim.
    """
    scaled, shares = dict(tensors), list[Array]()
    for index, scale in enumerate(trunk_scales(options, options.hidden)):
        name = f"trunk.layers.{index}"
        gain = scaled.pop(f"{name}.scale") * np.float32(scale.unit)
        if index and index % 2 == 0:
            shares.append(gain)
            gain = np.ones_like(gain)
        scaled[f"{name}.weight"] = scaled[f"{name}.weight"] * gain[:, None]
        scaled[f"{name}.bias"] = scaled.get(f"{name}.bias", np.zeros_like(gain)) * gain
    return scaled, shares


def _unit(values: Array) -> Array:
    """Length 1 over the last axis."""
    length = np.sqrt(np.square(values).sum(axis=-1, keepdims=True))
    result: Array = values / np.maximum(length, np.float32(1e-12))
    return result


class _Layer:
    """One convolution as a matrix product: every patch of the image that a kernel looks at is a column.

    ``image`` is where it reads, (inputs, height, width); ``out`` is where it writes, of the same layout.  Both are made once.
    """

    def __init__(self, shape: Convolution, image: Array, out: Array, weight: Array, bias: Array) -> None:
        self._weight = np.ascontiguousarray(weight.reshape(shape.outputs, -1))
        self._bias = bias[:, None]
        self._out = out.reshape(shape.outputs, -1)
        self._columns = np.empty((shape.fan_in, shape.height * shape.width), np.float32)
        patches = (shape.inputs, shape.kernel, shape.kernel, shape.height, shape.width)
        channel, row, column = image.strides
        strides = (channel, row, column, shape.stride * row, shape.stride * column)
        self._patches = as_strided(image, patches, strides, writeable=False)
        self._columns_of_patches = self._columns.reshape(patches)

    def run(self, activate: Callable[[Array], None]) -> None:
        """Write what the layer makes of its image."""
        np.copyto(self._columns_of_patches, self._patches)
        np.dot(self._weight, self._columns, out=self._out)
        self._out += self._bias
        activate(self._out)


class _ImageReader:
    """The convolutions of one image part: `read` leaves what they make of it in ``out``, flat."""

    def __init__(
        self,
        part: PartSpec,
        shapes: Sequence[Convolution],
        layers: Sequence[tuple[Array, Array]],
        options: NetworkOptions,
    ) -> None:
        self._part = part
        self._activate = ACTIVATIONS[options.activation]
        self._normalised = options.cnn in NORMALISED
        image = np.empty(image_shape(part), np.float32)
        self._frames = image.reshape(-1, *part.shape) if len(part.shape) == 2 else _colours_last(image, part)
        self._layers: list[_Layer] = []
        for shape, (weight, bias) in zip(shapes, layers, strict=True):
            out = np.empty((shape.outputs, shape.height, shape.width), np.float32)
            self._layers.append(_Layer(shape, image, out, weight, bias))
            image = out
        self.out = image.reshape(-1)

    def read(self, image: Array) -> None:
        """Run the convolutions on this part of an observation, observed_shape.  Raises BadInput for another size."""
        values, part = np.asarray(image), self._part
        if values.size != part.observed_size:
            raise BadInput(f"'{part.name}' of the observation holds {values.size} values, it should hold {part.observed_size}")
        frames = values.reshape(self._frames.shape)
        np.divide(frames, part.scale, out=self._frames, dtype=np.float32, casting="unsafe")
        for layer in self._layers:
            layer.run(self._activate)
        if self._normalised:
            self.out[:] = _normalised(self.out)


def _colours_last(image: Array, part: PartSpec) -> Array:
    """A view of (history · colours, height, width) as frames (history, height, width, colours)."""
    height, width, colours = part.shape
    return np.moveaxis(image.reshape(-1, colours, height, width), 1, -1)


class Actor:
    """Chooses actions; made by `load_actor`.  Not for several threads at once: its buffers are its own."""

    def __init__(self, spec: EnvSpec, options: NetworkOptions, tensors: Mapping[str, Array]) -> None:
        self.spec = spec
        self._options = options
        self._activate = ACTIVATIONS[options.activation]
        self._shares: list[Array] = []
        if options.trunk == "simba2":
            tensors, self._shares = _scaled(options, tensors)
        hidden = trunk_layers(0, options, options.hidden)
        names = [*(f"trunk.layers.{index}" for index in range(len(hidden))), "head"]
        self._layers = [_layer_of(tensors, name) for name in names]
        self._recurrence = [_layer_of(tensors, f"encoder.recurrence.{name}") for name in RECURRENCE] if options.gru else []
        self._outs = [np.empty_like(bias) for _, bias in self._layers]
        self._images = self._image_readers(tensors)
        self._vector_size = vector_size(spec)
        first, *_ = (*self._recurrence, *self._layers)
        self._inputs = np.empty(first[0].shape[1], np.float32)
        self._batch: list[Array] = []

    def _image_readers(self, tensors: Mapping[str, Array]) -> list[tuple[int, _ImageReader]]:
        """One for each image, and its place among the parts of an observation."""
        readers: list[tuple[int, _ImageReader]] = []
        parts = zip(image_parts(self.spec), convolutions(self.spec, self._options), strict=True)
        for image, (part, shapes) in enumerate(parts):
            names = [f"encoder.images.{image}.layers.{index}" for index in range(len(shapes))]
            layers = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names]
            readers.append((self.spec.parts.index(part), _ImageReader(part, shapes, layers, self._options)))
        return readers

    def begin(self) -> Array:
        """What is remembered at an episode's begin: a new (gru,) float32; of size 0 for a policy that remembers nothing."""
        return np.zeros(self._options.gru, np.float32)

    def act(
        self,
        observation: Sequence[Array] | Array,
        deterministic: bool,
        rng: np.random.Generator,
        noise: Array | None = None,
        state: Array | None = None,
    ) -> Array:
        """The action for the environment's observation (see tmrld.rl.observations): a new (action_size,) float32 in [-1, 1].

        Deterministic: tanh(mean); otherwise drawn from the policy, with ``noise`` (action_size,), standard normal, or with ``rng``
        where there is none.  ``state`` is what is remembered of the episode, from `begin` on; it is brought up to date.  Raises
        BadInput for an observation of other sizes, and where a policy that remembers gets no state.
        """
        flatten(self.spec, observation, self._inputs[: self._vector_size])
        self._read_images(observation, self._inputs)
        values = self._inputs if not self._recurrence else self._remember(self._inputs, self._state_of(state), np.dot)
        head = self._run(values, self._outs, np.dot)
        return self._actions(head, deterministic, rng, noise)

    def act_many(
        self,
        observations: Sequence[Sequence[Array] | Array],
        deterministic: bool,
        rng: np.random.Generator,
        noise: Array | None = None,
        states: Sequence[Array] | None = None,
    ) -> Array:
        """The actions for so many observations at once, with so many rows of ``noise``: a new (observations, action_size) float32.

        ``states`` are what is remembered of the episode of each; they are brought up to date.

        Row i is what `act` gives for observation i, with the same noise from ``rng`` if the calls follow one another, but for
        float32's rounding, some 1e-6: the products are summed in another order.  Raises BadInput as `act` does.
        """
        count = len(observations)
        if count == 1:  # a product of a matrix and a vector is the faster one
            state = None if states is None else states[0]
            return self.act(observations[0], deterministic, rng, None if noise is None else noise[0], state)[None]
        values, *outs = self._rows(count)
        flatten_many(self.spec, observations, values[:, : self._vector_size])
        if self._images:
            for observation, row in zip(observations, values, strict=True):
                self._read_images(observation, row)
        if self._recurrence:
            if states is None:
                states = [self._state_of(None)]
            together = np.stack([self._state_of(state) for state in states])
            values = self._remember(values, together, _rows_dot)
            for state, new in zip(states, together, strict=True):
                state[:] = new
        return self._actions(self._run(values, outs, _rows_dot), deterministic, rng, noise)

    def _state_of(self, state: Array | None) -> Array:
        """The state, if it is one of this policy.  Raises BadInput."""
        if state is None or state.shape != (self._options.gru,):
            given = "none was given" if state is None else f"one of the shape {state.shape} was given"
            raise BadInput(
                f"this policy remembers {self._options.gru} values of an episode, and {given}: begin each episode with what "
                "Actor.begin() returns, and hand it to each action of that episode"
            )
        return state

    def _remember(self, values: Array, state: Array, product: Product) -> Array:
        """What is seen, and what is remembered of it and of all before, side by side (tmrld.rl.recurrence); changes ``state``."""
        read, of_input, of_state = self._recurrence
        seen = _through(read, values, product)
        self._activate(seen)
        size = self._options.gru
        inputs, states = _through(of_input, seen, product), _through(of_state, state, product)
        gates = inputs[..., : 2 * size] + states[..., : 2 * size]
        gates = 0.5 * (1.0 + np.tanh(0.5 * gates))  # the sigmoid, in a form that cannot overflow
        reset, update = gates[..., :size], gates[..., size:]
        new = np.tanh(inputs[..., 2 * size :] + reset * states[..., 2 * size :])
        state += (1.0 - update) * (new - state)
        return np.concatenate((seen, state), axis=-1)

    def _run(self, values: Array, outs: Sequence[Array], product: Product) -> Array:
        """What the head makes of inputs; ``outs`` are where each layer writes, and the last of them is returned."""
        *hidden, head = outs
        if self._options.trunk == "simba":
            values = self._stream(values, hidden, product)
        elif self._options.trunk == "simba2":
            values = self._over_sphere(values, hidden, product)
        else:
            for index, out in enumerate(hidden):
                values = self._layer(index, values, out, product)
                self._activate(values)
        return self._layer(len(hidden), values, head, product)

    def _stream(self, values: Array, outs: Sequence[Array], product: Product) -> Array:
        """What leaves the blocks of a trunk of the kind simba (tmrld.rl.trunks)."""
        stream = self._layer(0, values, outs[0], product)
        for index in range(1, len(outs), 2):
            wide = self._layer(index, _normalised(stream), outs[index], product)
            self._activate(wide)
            stream += self._layer(index + 1, wide, outs[index + 1], product)
        return _normalised(stream)

    def _over_sphere(self, values: Array, outs: Sequence[Array], product: Product) -> Array:
        """The same for the kind simba2."""
        stream = _unit(self._layer(0, values, outs[0], product))
        for block, share in enumerate(self._shares):
            index = 2 * block + 1
            wide = self._layer(index, stream, outs[index], product)
            self._activate(wide)
            aim = _unit(self._layer(index + 1, wide, outs[index + 1], product))
            stream = _unit(stream + share * (aim - stream))
        return stream * np.float32(sqrt(stream.shape[-1]))

    def _layer(self, index: int, values: Array, out: Array, product: Product) -> Array:
        """Write what a layer makes of its inputs, without an activation."""
        weight, bias = self._layers[index]
        product(weight, values, out)
        out += bias
        return out

    def _read_images(self, observation: Sequence[Array] | Array, row: Array) -> None:
        """Write what is read from the images of one observation behind the vector in this row of inputs."""
        start = self._vector_size
        for part, reader in self._images:
            reader.read(observation if isinstance(observation, np.ndarray) else observation[part])
            end = start + len(reader.out)
            row[start:end] = reader.out
            start = end

    def _actions(self, head: Array, deterministic: bool, rng: np.random.Generator, noise: Array | None) -> Array:
        """From what the last layer gives, (…, 2 · action_size), to actions (…, action_size)."""
        size = self.spec.action_size
        mean = head[..., :size]
        if deterministic:
            action: Array = np.tanh(mean)
            return action
        log_std = np.minimum(head[..., size:], self._options.log_std_max)
        np.maximum(log_std, self._options.log_std_min, out=log_std)  # together they take half of the time of np.clip
        if noise is None:
            noise = rng.standard_normal(mean.shape, np.float32)
        sampled: Array = np.tanh(mean + np.exp(log_std) * noise)
        return sampled

    def _rows(self, count: int) -> list[Array]:
        """Buffers for a batch: that of the inputs, then one per layer, (count, width) each; made anew only for a larger batch."""
        if not self._batch or len(self._batch[0]) < count:
            widths = [len(self._inputs), *(len(bias) for _, bias in self._layers)]
            self._batch = [np.empty((count, width), np.float32) for width in widths]
        return [buffer[:count] for buffer in self._batch]


def load_actor(weights: Weights, spec: EnvSpec) -> Actor:
    """The policy in a Weights file, for an environment of this spec.

    Raises WeightsError when the file is damaged, does not fit the spec, or holds another network than its manifest says.
    """
    options, tensors = open_policy(weights.data, spec)
    return Actor(spec, options, tensors)
