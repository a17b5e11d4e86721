"""Means of what an algorithm measures, kept on its device and read from there once."""

from __future__ import annotations

import torch
from torch import Tensor


class Averages:
    """The mean of each named number since the last `take`.  ``sums`` and ``count`` are its whole state."""

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self.names = names
        self.sums = torch.zeros(len(names), device=device)
        self.count = 0

    def add(self, *values: Tensor) -> None:
        """One value () per name; nothing is read from the device."""
        self.sums += torch.stack(values)
        self.count += 1

    def take(self) -> dict[str, float]:
        """The means, and start anew; empty when nothing was added."""
        if not self.count:
            return {}
        means = (self.sums / self.count).tolist()
        self.sums.zero_()
        self.count = 0
        return dict(zip(self.names, means, strict=True))
