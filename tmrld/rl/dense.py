"""Hidden layers with relu and what comes behind them, run straight through, with the gradients written out.

Nearly every policy and every critic without images is such a network (`is_dense`).  On a processor, each small step around its matrix
products is cold in the cache by the time it comes round again, and takes as long as some hundred thousand multiplications.  So there
are as few of them as can be here: no look at modules, no gradient that nobody wants, and no new memory where some is free again.
The way back is the chain rule, layer by layer; tests hold it against torch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tmrld.payloads import EnvSpec
from tmrld.rl.layers import EnsembleLinear, EnsembleValue, Linear
from tmrld.rl.observations import image_parts
from tmrld.rl.options import NetworkOptions

EPSILON = 1e-5
"""What layer normalisation adds to the variance, as torch has it."""


def is_dense(spec: EnvSpec, options: NetworkOptions) -> bool:
    """Whether a network is no more than hidden layers of relu on the flat vector, in float32."""
    plain = options.trunk == "mlp" and options.activation == "relu" and options.precision != "bfloat16"
    return plain and not options.gru and not image_parts(spec)


class Dense:
    """Hidden layers, each followed by relu, and a last layer; ``normalised`` (tmrld.rl.layers) before each relu, or not.

    The layers keep their parameters; this is another way through them, on a processor.  ``members`` is how many networks they are,
    or None for one that is not of several.
    """

    def __init__(
        self, layers: Sequence[Linear | EnsembleLinear | EnsembleValue], members: int | None = None, normalised: bool = False
    ) -> None:
        self.kinds = [type(layer) for layer in layers]
        self.parameters: list[nn.Parameter] = [each for layer in layers for each in (layer.weight, layer.bias)]
        self.members = members
        self.normalised = normalised

    def __call__(self, fixed: Tensor, free: Tensor | None = None, frozen: bool = False) -> Tensor:
        """What the last layer gives for inputs (batch, …) that come in two pieces: no gradient is wanted of those that are ``fixed``.

        ``frozen``: none is wanted of the parameters either.
        """
        if torch.is_grad_enabled():
            out: Tensor = _Through.apply(self, fixed, free, *(() if frozen else self.parameters))  # type: ignore[no-untyped-call]
            return out
        return self.run(fixed, free)

    def run(self, fixed: Tensor, free: Tensor | None, kept: list[Tensor] | None = None) -> Tensor:
        """The same without gradients; ``kept`` gets what the way back has to know: the inputs of each layer, and where they were
        normalised, what they were before, its mean and its deviation.
        """
        values = fixed if free is None else torch.cat((fixed, free), dim=1)
        if self.members is not None:
            values = values.expand(self.members, -1, -1)
        last = len(self.kinds) - 1
        for index, kind in enumerate(self.kinds):
            if kept is not None:
                kept.append(values)
            values = kind.of(values, self.parameters[2 * index], self.parameters[2 * index + 1])
            if index < last:
                if self.normalised:
                    raw = values
                    values, mean, deviation = torch.native_layer_norm(raw, raw.shape[-1:], None, None, EPSILON)
                    if kept is not None:
                        kept += (raw, mean, deviation)
                values.relu_()
        return values


class _Through(torch.autograd.Function):
    """A `Dense` network forwards, and back."""

    @staticmethod
    def forward(ctx: Any, network: Dense, fixed: Tensor, free: Tensor | None, *parameters: nn.Parameter) -> Tensor:
        kept: list[Tensor] = []
        out = network.run(fixed, free, kept)
        ctx.network, ctx.first = network, fixed.shape[1]
        ctx.save_for_backward(*kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        network: Dense = ctx.network
        kept: list[Tensor] = list(ctx.saved_tensors)
        _, _, of_free, *of_parameters = ctx.needs_input_grad
        found: list[Tensor] = []
        for index in reversed(range(1, len(network.kinds))):
            kind, values = network.kinds[index], kept.pop(-1)
            if of_parameters:
                found[:0] = kind.gradients(gradient, values)
            gradient = kind.back(gradient, network.parameters[2 * index])
            torch.ops.aten.threshold_backward.grad_input(gradient, values, 0, grad_input=gradient)  # of relu, in place
            if network.normalised:
                raw, mean, deviation = kept[-3:]
                del kept[-3:]
                gradient, _, _ = torch.ops.aten.native_layer_norm_backward(
                    gradient, raw, raw.shape[-1:], mean, deviation, None, None, [True, False, False]
                )
        (values,) = kept
        if of_parameters:
            found[:0] = network.kinds[0].gradients(gradient, values)
        if not of_free:
            return None, None, None, *found
        to_free = network.kinds[0].back(gradient, network.parameters[0][:, ctx.first :])
        return None, None, to_free if network.members is None else to_free.sum(dim=0), *found
