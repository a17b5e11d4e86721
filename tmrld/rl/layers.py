"""Layers of one network, and of several at once.

Several networks are one batched computation: each layer holds the weights of all of them, (members, in, out), and one batched
matrix product runs it.  Initial values are those of `torch.nn.Linear`, uniform within ±1/√in for weights and biases (what TMRL
uses too), drawn from a generator that is handed in, so that nothing depends on torch's global random state.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu_,
    "tanh": torch.tanh,
    "silu": functional.silu,
}
"""Each may write over what it is given, which is what a layer has just made: memory that is new costs more than the arithmetic."""


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


def normalised(values: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the last axis (layer normalisation, arXiv 1607.06450, without parameters of its own)."""
    return functional.layer_norm(values, values.shape[-1:])
