"""The building blocks of policy and critics.

Several critics are one batched computation: each layer holds the weights of all of them, (members, in, out), and one batched
matrix product runs it.  Initial values are those of `torch.nn.Linear`, uniform within ±1/√in for weights and biases (what TMRL
uses too), drawn from a generator that is handed in, so that nothing depends on torch's global random state.

A policy's tensors, as a Weights file holds them, all float32:

======================================  ================================================================================
``encoder.images.I.layers.N.weight``    (outputs, inputs, kernel, kernel): convolution N that reads image part I of the spec
``encoder.images.I.layers.N.bias``      (outputs,)
``encoder.recurrence.read.weight``      (gru, inputs): what is remembered from (tmrld.rl.recurrence)
``encoder.recurrence.read.bias``        (gru,)
``encoder.recurrence.input.weight``     (3 · gru, gru): of what is read, for r, z and n
``encoder.recurrence.input.bias``       (3 · gru,)
``encoder.recurrence.state.weight``     (3 · gru, gru): of what is remembered, for r, z and n
``encoder.recurrence.state.bias``       (3 · gru,)
``trunk.layers.N.weight``               (outputs, inputs): hidden layer N, as tmrld.rl.trunks lists them
``trunk.layers.N.bias``                 (outputs,); of a trunk of the kind simba2, the first layer alone has it
``trunk.layers.N.scale``                (outputs,): of that kind alone, as `tmrld.rl.trunks.trunk_scales` stores it
``head.weight``                         (2 · action_size, inputs): means, then logarithms of deviations
``head.bias``                           (2 · action_size,)
======================================  ================================================================================

Both numbers count from 0; a policy without images and without `NetworkOptions.gru` has no encoder.  The activation follows each
layer but the head, those of a trunk as tmrld.rl.trunks says, and of a recurrence the first.  What enters the first layer behind the
convolutions, which is ``read`` where there is one, is the flat vector (tmrld.rl.observations: scaled parts, then the action buffer),
then for each image part what its last convolution gives, flattened from (channels, height, width), and normalised where
`NORMALISED` of tmrld.rl.convolutions says so.  The first convolution reads the image divided by the part's ``scale``, as
(history · colours, height, width), oldest frame first (tmrld.rl.convolutions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from tmrld.payloads import EnvSpec, PartSpec
from tmrld.rl.convolutions import NORMALISED, Convolution, convolutions, image_shape, images_size
from tmrld.rl.devices import hidden_precision
from tmrld.rl.observations import VECTOR, image_parts, vector_size
from tmrld.rl.optimizers import Optimizer
from tmrld.rl.options import NetworkOptions
from tmrld.rl.recurrence import PLACES, STATE, Recurrence
from tmrld.rl.trunks import SHIFT, Scale, trunk_layers, trunk_scales, trunk_size

Observation = dict[str, Tensor]
"""What networks see: the flat vector, normalised, under `VECTOR`, and each image part, made `readable`, under its name."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu_,
    "tanh": torch.tanh,
    "silu": functional.silu,
}
"""Each may write over what it is given, which is what a layer has just made: memory that is new costs more than the arithmetic."""


EPSILON = 1e-12
"""What is shorter than this is not brought to length 1."""


class Linear(nn.Module):
    """One layer: (batch, inputs) → (batch, outputs)."""

    def __init__(self, inputs: int, outputs: int, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound, generator=generator))

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight, self.bias)


class EnsembleLinear(nn.Module):
    """The same layer of several networks at once: (members, batch, inputs) → (members, batch, outputs)."""

    def __init__(self, members: int, inputs: int, outputs: int, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound, generator=generator))

    def forward(self, values: Tensor) -> Tensor:
        return torch.bmm(values, self.weight).add_(self.bias)


class EnsembleValue(nn.Module):
    """The last layer of several networks, one number each: (members, batch, inputs) → (members, batch)."""

    def __init__(self, members: int, inputs: int, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, 1, inputs).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(members, 1).uniform_(-bound, bound, generator=generator))

    def forward(self, values: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], values, self.weight.transpose(1, 2)).squeeze(2)


class EnsembleQuantiles(EnsembleLinear):
    """The last layer of several networks, several numbers each: (members, batch, inputs) → (members, outputs, batch)."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values).transpose(1, 2)


class SphericalLinear(nn.Module):
    """A layer whose rows of weights, what one output makes of all inputs, have norm 1 (simba2 in tmrld.rl.trunks).

    Of one network, or of several at once, laid out as `Linear` and `EnsembleLinear` are: (…, inputs) → (…, outputs), not scaled yet,
    `gain` is by how much.  A row of the ``first`` layer of a trunk goes on with the weight of the constant beside its inputs; this
    weight, times the constant, is the bias.  Initial rows are orthogonal before they are of norm 1.
    """

    def __init__(
        self, inputs: int, outputs: int, scale: Scale, first: bool, generator: Generator, members: int | None = None
    ) -> None:
        super().__init__()
        rows = torch.empty(members or 1, outputs, inputs + first)
        for each in rows:
            nn.init.orthogonal_(each, generator=generator)
        weight, vector = (rows[0], (outputs,)) if members is None else (rows.mT, (members, 1, outputs))
        self.weight = nn.Parameter(weight[:, :inputs].clone(memory_format=torch.contiguous_format))  # inputs are axis 1 of both
        self.bias = nn.Parameter(SHIFT * rows[..., inputs:].reshape(vector)) if first else None
        self.scale = nn.Parameter(torch.full(vector, scale.stored))
        self._unit = scale.unit
        self.project()

    def forward(self, values: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            return functional.linear(values, self.weight, self.bias)
        return torch.bmm(values, self.weight) if self.bias is None else torch.baddbmm(self.bias, values, self.weight)

    @property
    def gain(self) -> Tensor:
        """What each output is multiplied by: (outputs,), or (members, 1, outputs)."""
        return self.scale * self._unit

    @torch.no_grad()
    def project(self) -> None:
        """Bring each row back to norm 1."""
        self._divide(self._norms())

    @torch.no_grad()
    def settle(self) -> None:
        """The same, with the scale so much larger: scaled, the layer gives what it gave."""
        norms = self._norms()
        self._divide(norms)
        self.scale.mul_(norms.view_as(self.scale))

    def _norms(self) -> Tensor:
        """Those of the rows, one per output: (outputs, 1), or (members, 1, outputs)."""
        norms: Tensor = torch.linalg.vector_norm(self.weight, dim=1, keepdim=True)
        if self.bias is not None:
            norms = torch.hypot(norms, self.bias.view_as(norms) / SHIFT)
        return norms.clamp_min(EPSILON)

    def _divide(self, norms: Tensor) -> None:
        self.weight.div_(norms)
        if self.bias is not None:
            self.bias.div_(norms.view_as(self.bias))


class ConvolutionLayer(nn.Module):
    """One convolution: (batch, inputs, …, …) → (batch, outputs, height, width)."""

    def __init__(self, shape: Convolution, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(shape.fan_in)
        kernel = (shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        self.weight = nn.Parameter(torch.empty(kernel).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(shape.outputs).uniform_(-bound, bound, generator=generator))
        self._stride = shape.stride

    def forward(self, values: Tensor) -> Tensor:
        return functional.conv2d(values, self.weight, self.bias, self._stride)


class EnsembleConvolutionLayer(nn.Module):
    """The same convolution of several networks at once: (batch, members · inputs, …, …) → (batch, members · outputs, height, width).

    Their channels lie side by side; the first layer, which is ``shared``, reads (batch, inputs, …, …) for all of them.
    """

    def __init__(self, members: int, shape: Convolution, shared: bool, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(shape.fan_in)
        kernel = (members, shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        self.weight = nn.Parameter(torch.empty(kernel).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(members, shape.outputs).uniform_(-bound, bound, generator=generator))
        self._stride = shape.stride
        self._groups = 1 if shared else members

    def forward(self, values: Tensor) -> Tensor:
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return functional.conv2d(values, weight, bias, self._stride, groups=self._groups)


def readable(spec: EnvSpec, seen: Observation) -> Observation:
    """The same with its images as networks read them: (…, *observed_shape) in their own dtype → (…, channels, height, width) float32.

    An update reads each several times, so it is done once: memory that is new costs more than the arithmetic.
    """
    return seen | {part.name: _readable_image(part, seen[part.name]) for part in image_parts(spec)}


def _readable_image(part: PartSpec, images: Tensor) -> Tensor:
    leading = images.shape[: images.dim() - len(part.observed_shape)]
    values = images.reshape(-1, *part.observed_shape)
    if len(part.shape) == 3:
        values = values.movedim(-1, -3)
    values = values.reshape(-1, *image_shape(part)).to(torch.float32, memory_format=torch.channels_last) / part.scale
    return values if len(leading) == 1 else values.reshape(*leading, *image_shape(part))


class ImageReader(nn.Module):
    """What convolutions make of one image part, made `readable`: (batch, channels, height, width) → (batch, members · size).

    A policy's has one member, and plain layers; the values of critics lie member after member.
    """

    def __init__(self, shapes: Sequence[Convolution], options: NetworkOptions, members: int, generator: Generator) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, shape in enumerate(shapes):
            if members == 1:
                layers.append(ConvolutionLayer(shape, generator))
            else:
                layers.append(EnsembleConvolutionLayer(members, shape, index == 0, generator))
        self.layers = nn.ModuleList(layers)
        self._activation = ACTIVATIONS[options.activation]
        self._precision = options.precision
        self._members = members
        self._normalised = options.cnn in NORMALISED

    def forward(self, values: Tensor) -> Tensor:
        with hidden_precision(self._precision, values.device, of_images=True):
            for layer in self.layers:
                values = self._activation(layer(values))
        values = values.float()
        if self._normalised:
            values = normalised(values.reshape(len(values), self._members, -1))
        return values.flatten(1)


def image_readers(spec: EnvSpec, options: NetworkOptions, members: int, generator: Generator) -> nn.ModuleList:
    """One `ImageReader` for each image part.  Raises BadInput for images that cannot be read."""
    return nn.ModuleList(ImageReader(shapes, options, members, generator) for shapes in convolutions(spec, options))


class Encoder(nn.Module):
    """Makes one vector of an observation, (batch, size): the flat vector as it is, then what is read from each image.

    With `NetworkOptions.gru`, what tmrld.rl.recurrence makes of these, for each place of the windows that is wanted.
    """

    def __init__(self, spec: EnvSpec, options: NetworkOptions, generator: Generator) -> None:
        super().__init__()
        self.images = image_readers(spec, options, 1, generator)
        self.size = vector_size(spec) + images_size(spec, options)
        if options.gru:
            activation = ACTIVATIONS[options.activation]
            self.recurrence = Recurrence(self.size, options.gru, activation, lambda a, b: Linear(a, b, generator))
            self.size = self.recurrence.size
        self._recurrent = options.gru > 0
        self._names = [part.name for part in image_parts(spec)]

    def forward(self, observation: Observation) -> Tensor:
        if self._recurrent:
            windows = len(observation[VECTOR])
            seen = self._seen(_in_a_row(observation))
            return self.recurrence(seen, windows, observation[PLACES], observation.get(STATE))  # type: ignore[no-any-return]
        return self._seen(observation)

    def _seen(self, observation: Observation) -> Tensor:
        if not self._names:
            return observation[VECTOR]
        read = [reader(observation[name]) for name, reader in zip(self._names, self.images, strict=True)]
        return torch.cat((observation[VECTOR], *read), dim=1)


class EnsembleEncoder(nn.Module):
    """The same for several networks, each with convolutions of its own, and the action behind: (members, batch, size).

    What each remembers begins with nothing, whatever the policy knows.
    """

    def __init__(self, spec: EnvSpec, options: NetworkOptions, members: int, generator: Generator) -> None:
        super().__init__()
        self.images = image_readers(spec, options, members, generator)
        self.size = vector_size(spec) + images_size(spec, options)
        if options.gru:
            activation = ACTIVATIONS[options.activation]
            self.recurrence = Recurrence(
                self.size, options.gru, activation, lambda a, b: EnsembleLinear(members, a, b, generator)
            )
            self.size = self.recurrence.size
        self.size += spec.action_size
        self._recurrent = options.gru > 0
        self._names = [part.name for part in image_parts(spec)]
        self._members = members

    def forward(self, observation: Observation, action: Tensor) -> Tensor:
        if self._recurrent:
            windows = len(observation[VECTOR])
            remembered = self.recurrence(self._seen(_in_a_row(observation)), windows, observation[PLACES])
            return torch.cat((remembered, action.expand(self._members, -1, -1)), dim=2)
        if not self._names:
            return torch.cat((observation[VECTOR], action), dim=1).expand(self._members, -1, -1)
        return torch.cat((self._seen(observation), action.expand(self._members, -1, -1)), dim=2)

    def _seen(self, observation: Observation) -> Tensor:
        vector = observation[VECTOR].expand(self._members, -1, -1)
        read = [
            reader(observation[name]).unflatten(1, (self._members, -1)).movedim(1, 0)
            for name, reader in zip(self._names, self.images, strict=True)
        ]
        return torch.cat((vector, *read), dim=2) if read else vector


def _in_a_row(observation: Observation) -> Observation:
    """What is seen in windows, (windows, positions, …), position after position: (windows · positions, …)."""
    return {name: tensor.flatten(0, 1) for name, tensor in observation.items() if name not in (PLACES, STATE)}


def normalised(values: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the last axis (layer normalisation, arXiv 1607.06450, without parameters of its own)."""
    return functional.layer_norm(values, values.shape[-1:])


def unit(values: Tensor) -> Tensor:
    """Length 1 over the last axis."""
    return functional.normalize(values, dim=-1, eps=EPSILON)


def through(layers: nn.ModuleList, trunk: str, values: Tensor, between: Callable[[Tensor, int], Tensor]) -> Tensor:
    """What the layers of a trunk (tmrld.rl.trunks) make of their inputs: (…, inputs) → (…, size of the trunk).

    ``between`` follows each layer that is activated, and does it; it is told how many it did before.
    """
    if trunk == "mlp":
        for index, layer in enumerate(layers):
            values = between(layer(values), index)
        return values
    if trunk == "simba2":
        return over_sphere(layers, values, between)
    values = layers[0](values)
    for index in range((len(layers) - 1) // 2):
        widen, back = layers[2 * index + 1], layers[2 * index + 2]
        values = values + back(between(widen(normalised(values)), index))
    return normalised(values)


def over_sphere(layers: nn.ModuleList, values: Tensor, between: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The same for a trunk of the kind simba2, whose stream has length 1 all the way."""
    first, *blocks = spherical(layers)
    stream = unit(first(values) * first.gain)
    for index, (widen, back) in enumerate(zip(blocks[::2], blocks[1::2], strict=True)):
        aim = unit(back(between(widen(stream) * widen.gain, index)))
        stream = unit(stream + back.gain * (aim - stream))
    return stream * sqrt(stream.shape[-1])


def make_layers(
    inputs: int, options: NetworkOptions, hidden: tuple[int, ...], generator: Generator, members: int | None = None
) -> nn.ModuleList:
    """Those of a trunk with fresh parameters, of one network or of several."""
    sizes = trunk_layers(inputs, options, hidden)
    if options.trunk == "simba2":
        scaled = enumerate(zip(sizes, trunk_scales(options, hidden), strict=True))
        return nn.ModuleList(SphericalLinear(a, b, scale, n == 0, generator, members) for n, ((a, b), scale) in scaled)
    if members is None:
        return nn.ModuleList(Linear(a, b, generator) for a, b in sizes)
    return nn.ModuleList(EnsembleLinear(members, a, b, generator) for a, b in sizes)


def spherical(layers: nn.ModuleList) -> list[SphericalLinear]:
    """Those of a trunk of the kind simba2, from the first to the last; of others there are none."""
    return [layer for layer in layers if isinstance(layer, SphericalLinear)]


def project(layers: nn.ModuleList) -> None:
    """Bring the rows of weights that should have norm 1 back to it, after a step of an optimizer has led them away."""
    for layer in spherical(layers):
        layer.project()


def settle(layers: nn.ModuleList) -> None:
    """The same for rows whose norms mean something: those of a first layer that acted on raw inputs (tmrld.rl.normaliser)."""
    for layer in spherical(layers)[:1]:
        layer.settle()


class Trunk(nn.Module):
    """Hidden layers of the policy: (batch, inputs) → (batch, size)."""

    def __init__(self, inputs: int, options: NetworkOptions, generator: Generator) -> None:
        super().__init__()
        self.layers = make_layers(inputs, options, options.hidden, generator)
        self.size = trunk_size(options, options.hidden)
        self._trunk = options.trunk
        self._activation = ACTIVATIONS[options.activation]
        self._precision = options.precision

    def forward(self, values: Tensor) -> Tensor:
        with hidden_precision(self._precision, values.device, of_images=False):
            return through(self.layers, self._trunk, values, lambda values, _: self._activation(values)).float()


class Critics(nn.Module):
    """Several action-value functions Q(o, a): observation and action (batch, action_size) → (members, batch).

    With ``quantiles``, each tells so many numbers: (members, quantiles, batch).  All parameters have one entry per member, first of
    their axes.
    """

    def __init__(
        self, spec: EnvSpec, options: NetworkOptions, members: int, generator: Generator, quantiles: int | None = None
    ) -> None:
        super().__init__()
        self.members = members
        self.encoder = EnsembleEncoder(spec, options, members, generator)
        self.hidden = options.hidden_critic or options.hidden
        self.layers = make_layers(self.encoder.size, options, self.hidden, generator, members)
        size = trunk_size(options, self.hidden)
        self.value = (
            EnsembleValue(members, size, generator)
            if quantiles is None
            else EnsembleQuantiles(members, size, quantiles, generator)
        )
        self._trunk = options.trunk
        self._activation = ACTIVATIONS[options.activation]
        self._layer_norm = options.critic_layer_norm and options.trunk == "mlp"
        self._precision = options.precision

    def forward(self, observation: Observation, action: Tensor) -> Tensor:
        values = self.encode(observation, action)
        with hidden_precision(self._precision, values.device, of_images=False):
            values = through(self.layers, self._trunk, values, self.between).float()
        return self.value(values)  # type: ignore[no-any-return]

    # What the critics of some algorithms replace

    def encode(self, observation: Observation, action: Tensor) -> Tensor:
        """What enters the first layer: (members, batch, size)."""
        values: Tensor = self.encoder(observation, action)
        return values

    def between(self, values: Tensor, layer: int) -> Tensor:
        """What the next layer gets of what this one gives, (members, batch, width)."""
        return self._activation(normalised(values) if self._layer_norm else values)


def descend(optimizer: Optimizer, parameters: Sequence[nn.Parameter], loss: Tensor) -> None:
    """One step of an optimizer of these parameters down the gradient of a loss; gradients of others are not even computed."""
    optimizer.step(torch.autograd.grad(loss, parameters))


def move_towards(targets: Sequence[Tensor], online: Sequence[Tensor], tau: float) -> None:
    """target = (1 - tau) * target + tau * online, for each pair, in place; no gradient ever goes that way."""
    with torch.no_grad():  # or each move would remember the one before it, for ever
        torch._foreach_lerp_(list(targets), list(online), tau)
