"""The building blocks of policy and critics.

An encoder makes a vector of an observation (tmrld.rl.images, tmrld.rl.recurrence), a trunk of hidden layers follows
(tmrld.rl.layers, tmrld.rl.sphere), and then a head, or the values of actions.

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

import torch
from torch import Generator, Tensor, nn

from tmrld.payloads import EnvSpec
from tmrld.rl import dense
from tmrld.rl.convolutions import images_size
from tmrld.rl.dense import Dense, is_dense
from tmrld.rl.devices import hidden_precision
from tmrld.rl.images import image_readers
from tmrld.rl.layers import ACTIVATIONS, EnsembleLinear, EnsembleQuantiles, EnsembleValue, Linear, normalised
from tmrld.rl.observations import VECTOR, image_parts, vector_size
from tmrld.rl.optimizers import Optimizer
from tmrld.rl.options import NetworkOptions
from tmrld.rl.recurrence import PLACES, STATE, Recurrence
from tmrld.rl.sphere import SphericalLinear, over_sphere
from tmrld.rl.trunks import trunk_layers, trunk_scales, trunk_size

Observation = dict[str, Tensor]
"""What networks see: the flat vector, normalised, under `VECTOR`, and each image part, made `readable`, under its name.

Of windows, `PLACES` and maybe `STATE` besides (tmrld.rl.recurrence).
"""


class Encoder(nn.Module):
    """Makes one vector of an observation, (batch, size): the flat vector as it is, then what is read from each image.

    With `NetworkOptions.gru`, what tmrld.rl.recurrence makes of these, for each place of the windows that is wanted.
    """

    def __init__(self, spec: EnvSpec, options: NetworkOptions, generator: Generator) -> None:
        super().__init__()
        self.images = image_readers(spec, options, None, generator)
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
        ours = type(self).encode is Critics.encode and type(self).between is Critics.between
        self._dense = (
            Dense([*self.layers, self.value], members, self._layer_norm, options.precision)
            if ours and is_dense(spec, options)
            else None
        )

    def forward(self, observation: Observation, action: Tensor, for_policy: bool = False) -> Tensor:
        """``for_policy``: of all gradients, the action's alone will be asked for."""
        if self._dense is not None and action.is_cpu:
            return self._dense(observation[VECTOR], action, for_policy)
        values = self.encode(observation, action)
        with hidden_precision(self._precision, values.device, of_images=False):
            values = through(self.layers, self._trunk, values, self.between).float()
        return self.value(values)  # type: ignore[no-any-return]

    def gradients(self, values: Tensor, of_values: Tensor) -> Sequence[Tensor]:
        """Those of all parameters, from the gradient of what `forward` gave last."""
        if self._dense is not None and values.is_cpu:
            return dense.gradients(values, of_values)
        return torch.autograd.grad(values, list(self.parameters()), of_values)

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
