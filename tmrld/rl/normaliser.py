"""Inputs brought to mean 0 and deviation 1, by what the batches so far looked like.

A LIDAR sees the far end of the road move by a few pixels out of hundreds: to a network that is next to nothing, to a driver the
corner ahead.  The normaliser belongs to the algorithm; what leaves it, the policy's weights, has it folded into the first layer,
so that whoever acts needs to know nothing of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tmrld.rl import kernels
from tmrld.rl.devices import widest_float

LEAST_DEVIATION = 0.1
"""No input is magnified more than tenfold: what hardly moved until now may move tomorrow."""
MEMORY = 256_000
"""Rows that count: once so many were seen, older ones fade, and the policy may drive in places that it never saw at first."""


class Normaliser(nn.Module):
    """Running mean and variance of (batch, size) inputs (Chan, Golub and LeVeque, 1979), in buffers that a checkpoint keeps.

    They are float64, so that the many small steps of a long run add up, or the widest that ``device`` has (tmrld.rl.devices).  The
    ``count`` of rows stays with the processor, which works out by it how much the next ones count.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor
    shift: Tensor
    factor: Tensor

    def __init__(self, size: int, device: torch.device | None = None) -> None:
        super().__init__()
        wide = widest_float(device or torch.device("cpu"))
        self.register_buffer("count", torch.zeros((), dtype=wide))
        self.register_buffer("mean", torch.zeros(size, dtype=wide, device=device))
        self.register_buffer("variance", torch.ones(size, dtype=wide, device=device))
        self.register_buffer("shift", torch.zeros(size, device=device))
        self.register_buffer("factor", torch.ones(size, device=device))

    def see(self, values: Tensor) -> None:
        """Learn from a batch: (batch, size)."""
        seen = float(self.count)
        if values.is_cpu:
            state = self.mean, self.variance, self.shift, self.factor
            kernels.follow(values.numpy(), seen, LEAST_DEVIATION, *(each.numpy() for each in state))
        else:
            self.follow(values, seen)
        self.count.fill_(min(seen + len(values), MEMORY))

    def follow(self, values: Tensor, seen: float) -> None:
        """What tmrld.rl.kernels.follow does, on any device."""
        mean = values.mean(dim=0)
        variance = (values - mean).square_().mean(dim=0)  # torch.var_mean takes several times as long
        share = len(values) / (seen + len(values))
        difference = mean - self.mean
        self.variance.lerp_(variance.to(self.variance.dtype), share)
        self.variance.addcmul_(difference, difference, value=share * (1.0 - share))
        self.mean.add_(difference, alpha=share)
        self.shift.copy_(self.mean)
        self.factor.copy_(self.variance.clamp(min=LEAST_DEVIATION**2).rsqrt_())

    def forward(self, values: Tensor) -> Tensor:
        """(values - mean) / deviation, of the same shape."""
        return torch.sub(values, self.shift).mul_(self.factor)

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (outputs, inputs) and bias (outputs,) of a first layer that does the same to raw inputs.

        The inputs that are normalised are the first of its inputs; others may follow.
        """
        size = len(self.factor)
        raw = torch.cat((weight[:, :size] * self.factor, weight[:, size:]), dim=1)
        return raw, bias - raw[:, :size] @ self.shift

    def unfolded(self, raw: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `folded`: of a first layer for raw inputs, one that does the same to normalised ones."""
        size = len(self.factor)
        weight = torch.cat((raw[:, :size] / self.factor, raw[:, size:]), dim=1)
        return weight, bias + raw[:, :size] @ self.shift
