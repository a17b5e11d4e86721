"""What descends on a loss: Adam, AdamW or plain gradient descent, and how its settings change while it remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from tmrld.rl.options import OptimizerName


@dataclass(frozen=True)
class Descent:
    """How one network descends.  ``decay`` is an L2 penalty's for Adam and plain descent; AdamW takes it off the weights alone."""

    learning_rate: float
    betas: tuple[float, ...]
    decay: float

    def settings(self) -> dict[str, Any]:
        """By the names that torch has for them; plain descent has no use for the betas, nor any harm from them."""
        return {"lr": self.learning_rate, "betas": self.betas, "weight_decay": self.decay}


def make_optimizer(name: OptimizerName, parameters: Sequence[nn.Parameter], descent: Descent) -> Optimizer:
    """An optimizer that has not stepped yet."""
    match name:
        case "adam":
            return Adam(parameters, fused=True, **descent.settings())
        case "adamw":
            return AdamW(parameters, fused=True, **descent.settings())
        case "sgd":
            return SGD(parameters, lr=descent.learning_rate, weight_decay=descent.decay, fused=True)


def retune(optimizer: Optimizer, descent: Descent) -> None:
    """Go on like this from the next step on; what the optimizer remembers stays."""
    for group in optimizer.param_groups:
        group.update(descent.settings())


def on_the_way(first: float, last: float, updates: int, over: int) -> float:
    """Where a value is that moves in a straight line from one to another over so many updates, and stays there; 0: it never moves."""
    return first + (last - first) * min(1.0, updates / over) if over else first
