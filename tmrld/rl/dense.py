"""Hidden layers with relu and what comes behind them, run straight through.

Nearly every policy and every critic without images is such a network (`is_dense`).  On a processor, each small step around its matrix
products is cold in the cache by the time it comes round again, and takes as long as some hundred thousand multiplications.  So there
are as few of them as can be here: no look at modules, and no gradient that nobody wants.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tmrld.payloads import EnvSpec
from tmrld.rl.layers import EnsembleLinear, EnsembleValue, Linear, normalised
from tmrld.rl.observations import image_parts
from tmrld.rl.options import NetworkOptions


def is_dense(spec: EnvSpec, options: NetworkOptions) -> bool:
    """Whether a network is no more than hidden layers of relu on the flat vector, in float32."""
    plain = options.trunk == "mlp" and options.activation == "relu" and options.precision != "bfloat16"
    return plain and not options.gru and not image_parts(spec)


class Dense:
    """Hidden layers, each followed by relu, and a last layer; ``normalised`` (tmrld.rl.layers) before each relu, or not.

    The layers keep their parameters; this is another way through them, on a processor.  ``members`` is how many networks they are, 0
    for one that is not of several.
    """

    def __init__(
        self, layers: Sequence[Linear | EnsembleLinear | EnsembleValue], members: int = 0, normalised: bool = False
    ) -> None:
        self._kinds = [type(layer) for layer in layers]
        self._parameters: list[Tensor] = [each for layer in layers for each in (layer.weight, layer.bias)]
        self._members = members
        self._normalised = normalised

    def __call__(self, vector: Tensor) -> Tensor:
        """What the last layer gives for inputs (batch, inputs)."""
        values = vector if not self._members else vector.expand(self._members, -1, -1)
        weight, bias, *others = self._parameters
        return self._behind_first(self._kinds[0].of(values, weight, bias), others)

    def of_action(self, vector: Tensor, action: Tensor) -> Tensor:
        """The same for inputs that come in two pieces, differentiable in the second alone."""
        weight, bias, *others = (parameter.detach() for parameter in self._parameters)
        size = vector.shape[1]
        first = self._kinds[0].of(vector.expand(self._members, -1, -1), weight[:, :size], bias)
        return self._behind_first(torch.baddbmm(first, action.expand(self._members, -1, -1), weight[:, size:]), others)

    def _behind_first(self, values: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """What the layers behind the first one make of what that one gives; the parameters are theirs."""
        for kind, weight, bias in zip(self._kinds[1:], parameters[::2], parameters[1::2], strict=True):
            if self._normalised:
                values = normalised(values)
            values = kind.of(values.relu_(), weight, bias)
        return values
