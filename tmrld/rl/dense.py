"""Hidden layers with relu and what comes behind them, run straight through.

Nearly every policy and every critic without images is such a network (`is_dense`).  On a processor, each small step around its matrix
products is cold in the cache by the time it comes round again, and takes as long as some hundred thousand multiplications.  So there
are as few of them as can be here: between two products stands one loop (tmrld.rl.kernels), all that they fill is allocated once, and
torch's gradients see the whole network as one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmrld.payloads import Array, EnvSpec
from tmrld.rl import kernels
from tmrld.rl.devices import Product, hidden_product
from tmrld.rl.layers import EnsembleLinear, EnsembleQuantiles, EnsembleValue, Linear
from tmrld.rl.observations import image_parts
from tmrld.rl.options import NetworkOptions, Precision

Layer = Linear | EnsembleLinear | EnsembleValue
Step = Callable[[], object]


def is_dense(spec: EnvSpec, options: NetworkOptions) -> bool:
    """Whether a network is no more than hidden layers of relu on the flat vector."""
    return options.trunk == "mlp" and options.activation == "relu" and not options.gru and not image_parts(spec)


class Dense:
    """Hidden layers, each followed by relu, and a last layer; ``normalised`` (tmrld.rl.layers) before each relu, or not.

    The layers keep their parameters; this is another way through them, on a processor.  ``members`` is how many networks they are, 0
    for one that is not of several.  Hidden layers multiply in the ``precision`` that is asked for (tmrld.rl.devices).
    """

    def __init__(
        self, layers: Sequence[Layer], members: int = 0, normalised: bool = False, precision: Precision = "auto"
    ) -> None:
        self.layers = list(layers)
        self.members = members
        self.normalised = normalised
        self.precision = precision
        self._parameters = [each for layer in layers for each in (layer.weight, layer.bias)]
        self._room: _Room | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy has parameters of its own, and so it makes room of its own."""
        return self.__dict__ | {"_room": None}

    def __call__(self, vector: Tensor, action: Tensor | None = None, for_policy: bool = False) -> Tensor:
        """What the last layer gives for inputs (batch, inputs), the last of which are the action, if there is one.

        Differentiable in the parameters and the action; ``for_policy``: in the action alone.  Gradients have to be asked for and used
        before the next call, which writes over them.
        """
        if self._room is None or self._room.batch != len(vector):
            self._room = _Room(self, len(vector))
        learned = () if for_policy else self._parameters
        return _Pass.apply(self._room, vector, action, *learned)  # type: ignore[no-untyped-call, no-any-return]


def gradients(given: Tensor, of_given: Tensor) -> Sequence[Tensor]:
    """Those of the parameters, from what a `Dense` gave last and its gradient: torch would find the same, and takes longer."""
    step: Any = given.grad_fn
    return step.room.back(step.number, of_given, learned=True)  # type: ignore[no-any-return]


class _Room:
    """Memory for a pass of ``batch`` rows through a network and back, and the steps of both, ready to be called."""

    def __init__(self, network: Dense, batch: int) -> None:
        self.batch = batch
        self.passes = 0
        """How many have begun."""
        self.inputs = torch.empty(batch, _weight(network.layers[0]).shape[-2])
        below, of_below = self.inputs.expand(*_several(network), -1, -1), None
        stages = []
        for layer in network.layers:
            stages.append(_Stage(network, layer, below, of_below))
            below, of_below = stages[-1].gives, stages[-1].of_gives
        back = [(stage, step) for stage in reversed(stages) for step in stage.backwards]
        self.forwards = [step for stage in stages for step in stage.forwards]
        self._backwards = [step for _, step in back]
        self._backwards_to_inputs = [step for stage, step in back if step is not stage.to_weight]
        self._gradients = [gradient for stage in stages for gradient in (stage.of_weight, stage.of_bias)]
        self._first = stages[0]
        self.outputs, self._of_outputs = (_shown(network.layers[-1], each) for each in (stages[-1].gives, stages[-1].of_gives))

    def back(self, number: int, of_outputs: Tensor, learned: bool) -> Sequence[Tensor]:
        """Take the steps of this pass backwards, from the gradient of the outputs; gives that of the parameters, if it is ``learned``
        from.  Raises RuntimeError when another pass has begun since.
        """
        if number != self.passes:
            raise RuntimeError("gradients of a pass through a network were asked for after its next pass had begun")
        self._of_outputs.copy_(of_outputs)
        for step in self._backwards if learned else self._backwards_to_inputs:
            step()
        return self._gradients if learned else ()

    def of_action(self, size: int) -> Tensor:
        """The gradient of the last ``size`` inputs, once the steps backwards were taken: (batch, size)."""
        gradient = torch.empty(self.batch, size)
        kernels.inputs_back(self._first.of_made, self._first.weight, gradient.numpy())
        return gradient


class _Stage:
    """A layer in a pass: what it gives of what is ``below``, the gradients of both, and the steps that fill them."""

    def __init__(self, network: Dense, layer: Layer, below: Tensor, of_below: Tensor | None) -> None:
        def array(tensor: Tensor) -> Array:
            """As the kernels want it: (members, …), with one member if there are not several."""
            return (tensor if network.members else tensor[None]).numpy()

        last = layer is network.layers[-1]
        weight, bias = _weight(layer), layer.bias.detach().view(*_several(network), -1)
        batch = below.shape[-2]
        made = torch.empty(*_several(network), batch, weight.shape[-1])
        self.gives, self.of_gives = made, torch.empty_like(made)
        self.of_weight, self.of_bias = torch.empty_like(layer.weight), torch.empty_like(layer.bias)
        of_bias = self.of_bias.view_as(bias)
        self.weight, self.of_made = array(weight), array(self.of_gives)

        product: Product = torch.bmm if network.members else torch.mm
        if not last:
            product = hidden_product(network.precision, product, weights=weight.shape[-2] * weight.shape[-1])
        multiply = partial(product, below, weight, out=made)
        if _outputs_first(layer):
            self.to_weight = partial(product, self.of_gives.mT, below, out=self.of_weight)
        else:
            self.to_weight = partial(product, below.mT, self.of_gives, out=self.of_weight)
        to_below = [] if of_below is None else [partial(product, self.of_gives, weight.mT, out=of_below)]

        to_made: Step = partial(torch.sum, self.of_gives, -2, out=of_bias)
        if isinstance(layer, EnsembleValue):
            numbers = (array(each.squeeze(-1)) for each in (weight, bias, made))
            self.forwards: list[Step] = [partial(kernels.value, array(below), *numbers)]
        elif last:
            self.forwards = [multiply, partial(made.add_, bias[..., None, :])]
        elif network.normalised:
            self.gives, factors = torch.empty_like(made), np.empty(self.of_made.shape[:2], np.float32)
            self.forwards = [multiply, partial(kernels.normalise, array(made), array(bias), array(self.gives), factors)]
            to_made = partial(kernels.normalise_back, self.of_made, array(made), factors, array(of_bias))
        else:
            self.forwards = [multiply, partial(kernels.activate, array(made), array(bias))]
            to_made = partial(kernels.activate_back, self.of_made, array(made), array(of_bias))
        self.backwards: list[Step] = [to_made, self.to_weight, *to_below]


def _several(network: Dense) -> tuple[int, ...]:
    """What stands before the axes of one network."""
    return (network.members,) if network.members else ()


def _outputs_first(layer: Layer) -> bool:
    """Whether its weight is (…, outputs, inputs)."""
    return isinstance(layer, Linear | EnsembleValue)


def _weight(layer: Layer) -> Tensor:
    """Its weight as (…, inputs, outputs)."""
    return layer.weight.detach().mT if _outputs_first(layer) else layer.weight.detach()


def _shown(layer: Layer, made: Tensor) -> Tensor:
    """What this last layer makes, in the shape in which it gives it."""
    if isinstance(layer, EnsembleValue):
        return made.squeeze(-1)
    return made.mT if isinstance(layer, EnsembleQuantiles) else made


class _Pass(torch.autograd.Function):
    """Through a network, one step of torch's gradients."""

    @staticmethod
    def forward(ctx: Any, room: _Room, vector: Tensor, action: Tensor | None, *parameters: Tensor) -> Tensor:
        room.passes += 1
        ctx.room, ctx.number = room, room.passes
        ctx.size = 0 if action is None else action.shape[1]
        if action is None:
            room.inputs.copy_(vector)
        else:
            torch.cat((vector, action), dim=1, out=room.inputs)
        for step in room.forwards:
            step()
        return room.outputs.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        room: _Room = ctx.room
        _, _, of_action, *of_parameters = ctx.needs_input_grad
        gradients = room.back(ctx.number, of_outputs, learned=any(of_parameters)) or (None,) * len(of_parameters)
        return None, None, room.of_action(ctx.size) if of_action else None, *gradients
