"""The building blocks of policy and critics.

Several critics are one batched computation: each layer holds the weights of all of them, (members, in, out), and one batched
matrix product runs it.  Initial values are those of `torch.nn.Linear`, uniform within ±1/√in for weights and biases (what TMRL
uses too), drawn from a generator that is handed in, so that nothing depends on torch's global random state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from tmrld.errors import BadInput
from tmrld.payloads import EnvSpec
from tmrld.rl.observations import VECTOR, image_parts, vector_size
from tmrld.rl.options import NetworkOptions

Observation = dict[str, Tensor]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "silu": functional.silu,
}


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
        return torch.baddbmm(self.bias, values, self.weight)


class EnsembleValue(nn.Module):
    """The last layer of several networks, one number each: (members, batch, inputs) → (members, batch).

    A matrix product with a single column is slow; a product and a sum are not.
    """

    def __init__(self, members: int, inputs: int, generator: Generator) -> None:
        super().__init__()
        bound = 1.0 / sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, 1, inputs).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(members, 1).uniform_(-bound, bound, generator=generator))

    def forward(self, values: Tensor) -> Tensor:
        return (values * self.weight).sum(dim=2) + self.bias


class Encoder(nn.Module):
    """Makes one vector of an observation; an MLP takes the flat vector as it is.  Raises BadInput when there are images."""

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        if images := image_parts(spec):
            names = ", ".join(f"'{part.name}' {part.shape}" for part in images)
            raise BadInput(f"{spec.id} shows images ({names}), which an MLP cannot read: use an environment without images")
        self.size = vector_size(spec)

    def forward(self, observation: Observation) -> Tensor:
        return observation[VECTOR]


class Trunk(nn.Module):
    """Hidden layers, each followed by the activation: (batch, inputs) → (batch, hidden[-1])."""

    def __init__(self, inputs: int, options: NetworkOptions, generator: Generator) -> None:
        super().__init__()
        widths = (inputs, *options.hidden)
        self.layers = nn.ModuleList(Linear(a, b, generator) for a, b in pairwise(widths))
        self._activation = ACTIVATIONS[options.activation]
        self.size = widths[-1]

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.layers:
            values = self._activation(layer(values))
        return values


class Critics(nn.Module):
    """Several action-value functions Q(o, a): observation and action (batch, action_size) → (members, batch)."""

    def __init__(self, spec: EnvSpec, options: NetworkOptions, members: int, generator: Generator) -> None:
        super().__init__()
        self.members = members
        self.encoder = Encoder(spec)
        widths = (self.encoder.size + spec.action_size, *options.hidden)
        self.layers = nn.ModuleList(EnsembleLinear(members, a, b, generator) for a, b in pairwise(widths))
        self.value = EnsembleValue(members, widths[-1], generator)
        self._activation = ACTIVATIONS[options.activation]
        self._layer_norm = options.critic_layer_norm

    def forward(self, observation: Observation, action: Tensor) -> Tensor:
        values = torch.cat((self.encoder(observation), action), dim=1).expand(self.members, -1, -1)
        for layer in self.layers:
            values = layer(values)
            if self._layer_norm:
                values = functional.layer_norm(values, values.shape[-1:])
            values = self._activation(values)
        return self.value(values)  # type: ignore[no-any-return]


def descend(optimizer: Optimizer, parameters: Sequence[nn.Parameter], loss: Tensor) -> None:
    """One step of an optimizer of these parameters down the gradient of a loss; gradients of others are not even computed."""
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def move_towards(targets: Sequence[Tensor], online: Sequence[Tensor], tau: float) -> None:
    """target = (1 - tau) * target + tau * online, for each pair, in place."""
    torch._foreach_lerp_(list(targets), list(online), tau)
