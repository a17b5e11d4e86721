"""The layers of a trunk of the kind simba2, whose weights and values have norm 1; tmrld.rl.trunks has the formulas."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from tmrld.rl.trunks import SHIFT, Scale

EPSILON = 1e-12
"""What is shorter than this is not brought to length 1."""


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


def over_sphere(layers: nn.ModuleList, values: Tensor, between: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The same for a trunk of the kind simba2, whose stream has length 1 all the way."""
    first, *blocks = spherical(layers)
    stream = unit(first(values) * first.gain)
    for index, (widen, back) in enumerate(zip(blocks[::2], blocks[1::2], strict=True)):
        aim = unit(back(between(widen(stream) * widen.gain, index)))
        stream = unit(stream + back.gain * (aim - stream))
    return stream * sqrt(stream.shape[-1])


def unit(values: Tensor) -> Tensor:
    """Length 1 over the last axis."""
    return functional.normalize(values, dim=-1, eps=EPSILON)


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
