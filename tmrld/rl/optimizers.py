"""What descends on a loss: Adam, AdamW or plain gradient descent, and how its settings change while it remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tmrld.rl.options import OptimizerName

EPSILON = 1e-8
"""What keeps Adam from dividing by nothing; the paper's, and torch's."""


@dataclass(frozen=True)
class Descent:
    """How one network descends.  ``decay`` is an L2 penalty's for Adam and plain descent; AdamW takes it off the weights alone."""

    learning_rate: float
    betas: tuple[float, ...]
    decay: float


class Optimizer(Protocol):
    """Moves the parameters that it was made with."""

    descent: Descent
    """What it does from the next step on; whoever changes it leaves what it remembers as it is."""

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Down these gradients, one for each parameter."""
        ...

    def memory(self) -> list[dict[str, Tensor]]:
        """What it remembers of each parameter, by name, to read and to write: zeros before the first step."""
        ...


class Adam:
    """Adam (arXiv 1412.6980) or, ``decoupled``, AdamW (arXiv 1711.05101), as the kernel of torch has them.

    The classes of torch around that kernel take longer to find out what there is to do than it takes to do it.
    """

    def __init__(self, parameters: Sequence[Tensor], descent: Descent, decoupled: bool = False) -> None:
        self.descent = descent
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._parameters = list(parameters)
        self._steps = torch.zeros((), device=self._parameters[0].device)
        self._means, self._squares = ([torch.zeros_like(parameter) for parameter in parameters] for _ in range(2))

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Algorithm 1 of the paper."""
        beta1, beta2 = self.descent.betas
        with torch.no_grad():
            self._steps += 1.0
            self._kernel(
                self._parameters,
                [_laid_out(gradient, parameter) for gradient, parameter in zip(gradients, self._parameters, strict=True)],
                self._means,
                self._squares,
                [],
                [self._steps] * len(self._parameters),
                lr=self.descent.learning_rate,
                beta1=beta1,
                beta2=beta2,
                weight_decay=self.descent.decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def memory(self) -> list[dict[str, Tensor]]:
        """By the names that torch has for them."""
        return [
            {"step": self._steps, "exp_avg": mean, "exp_avg_sq": square}
            for mean, square in zip(self._means, self._squares, strict=True)
        ]


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient in the order in which its parameter lies in memory, the only one that the kernel knows.

    Those of convolutions come in another: their images have the channels last.
    """
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)


class PlainDescent:
    """Down the gradient, by the learning rate; it has no use for the betas and remembers nothing."""

    def __init__(self, parameters: Sequence[Tensor], descent: Descent) -> None:
        self.descent = descent
        self._parameters = list(parameters)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """As `Optimizer` has it."""
        with torch.no_grad():
            downhill = torch._foreach_add(list(gradients), self._parameters, alpha=self.descent.decay)
            torch._foreach_add_(self._parameters, downhill, alpha=-self.descent.learning_rate)

    def memory(self) -> list[dict[str, Tensor]]:
        """Nothing."""
        return [{} for _ in self._parameters]


def make_optimizer(name: OptimizerName, parameters: Sequence[Tensor], descent: Descent) -> Optimizer:
    """An optimizer that has not stepped yet."""
    match name:
        case "adam" | "adamw":
            return Adam(parameters, descent, decoupled=name == "adamw")
        case "sgd":
            return PlainDescent(parameters, descent)


def on_the_way(first: float, last: float, updates: int, over: int) -> float:
    """Where a value is that moves in a straight line from one to another over so many updates, and stays there; 0: it never moves."""
    return first + (last - first) * min(1.0, updates / over) if over else first
