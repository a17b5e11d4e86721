"""The entropy coefficient alpha, fixed or learned, behind one interface.

A learned alpha follows its gradient so that the policy's entropy meets a target: arXiv 1812.05905, eq. 18, in log(alpha), which
keeps it positive (as TMRL does).
"""

from __future__ import annotations

from math import log
from typing import Protocol

import torch
from torch import Tensor, nn

from tmrld.rl.optimizers import Adam, Descent
from tmrld.rl.phases import phase

BETAS = (0.9, 0.999)
"""Adam's, as its paper has them."""


class Temperature(Protocol):
    """What weighs entropy against reward."""

    alpha: Tensor
    """Its present value, (), on the algorithm's device, without a gradient."""

    def update(self, mean_log_prob: Tensor) -> Tensor:
        """Adjust alpha given the mean log-density of the policy's actions, (), without a gradient; returns the loss, ()."""
        ...


class FixedTemperature:
    """Stays what it is."""

    def __init__(self, alpha: float, device: torch.device) -> None:
        self.alpha = torch.tensor(alpha, device=device)
        self._loss = torch.zeros((), device=device)

    def update(self, mean_log_prob: Tensor) -> Tensor:
        """Changes nothing; the loss is 0."""
        return self._loss


class LearnedTemperature:
    """Rises while the policy's entropy is below the target and falls while it is above."""

    def __init__(self, alpha: float, target_entropy: float, learning_rate: float, device: torch.device) -> None:
        self.target_entropy = target_entropy
        self.log_alpha = nn.Parameter(torch.tensor(log(alpha), device=device))
        self.optimizer = Adam([self.log_alpha], Descent(learning_rate, BETAS, 0.0))
        self.alpha = self.log_alpha.detach().exp()

    @phase("temperature")
    def update(self, mean_log_prob: Tensor) -> Tensor:
        """One step of Adam on ``-log(alpha) * (mean_log_prob + target_entropy)``, whose gradient in log(alpha) is plain to see."""
        gradient = -self.target_entropy - mean_log_prob
        loss = self.log_alpha.detach() * gradient
        self.optimizer.step([gradient])
        self.refresh()
        return loss

    def retune(self, target_entropy: float, learning_rate: float) -> None:
        """Aim at this from the next update on, with steps of this size; what Adam remembers stays."""
        self.target_entropy = target_entropy
        self.optimizer.descent = Descent(learning_rate, BETAS, 0.0)

    def refresh(self) -> None:
        """Bring alpha up to date with log_alpha."""
        torch.exp(self.log_alpha.detach(), out=self.alpha)
