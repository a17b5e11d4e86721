"""The policy: a Gaussian whose mean and deviation a network computes, squashed into [-1, 1] by tanh.

``u = mean + std * noise``, ``action = tanh(u)``.  arXiv 1801.01290, appendix C.  Without exploration the action is tanh(mean).
The acting side has the same policy without torch: tmrld.rl.inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from tmrld.payloads import EnvSpec
from tmrld.rl.dense import Dense, is_dense
from tmrld.rl.layers import Linear
from tmrld.rl.networks import Encoder, Observation, Trunk
from tmrld.rl.observations import VECTOR
from tmrld.rl.options import NetworkOptions


def first_layer(options: NetworkOptions) -> str:
    """Where the flat vector enters the policy, first of all its inputs: the name of that layer in `Policy`."""
    return "encoder.recurrence.read" if options.gru else "trunk.layers.0"


@dataclass(frozen=True)
class TanhGaussian:
    """A distribution over actions for each observation of a batch; both fields are (batch, action_size)."""

    mean: Tensor
    log_std: Tensor

    def sample(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions (batch, action_size) and their log-densities (batch,), differentiable in both fields."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        pre_tanh = torch.addcmul(self.mean, self.log_std.exp(), noise)
        return torch.tanh(pre_tanh), self._log_density(noise, pre_tanh)

    def mode(self) -> Tensor:
        """The action without exploration: (batch, action_size)."""
        return torch.tanh(self.mean)

    def log_prob(self, pre_tanh: Tensor) -> Tensor:
        """Log-density of the squashed action: (batch, action_size) → (batch,)."""
        return self._log_density((pre_tanh - self.mean) * torch.exp(-self.log_std), pre_tanh)

    def divergence(self, other: TanhGaussian) -> Tensor:
        """Kullback-Leibler divergence from the other one, in nats: (batch,).  Squashing both alike does not change it."""
        spread = torch.exp(2.0 * (self.log_std - other.log_std))
        apart = ((self.mean - other.mean) * torch.exp(-other.log_std)).square()
        return (0.5 * (spread + apart - 1.0) + other.log_std - self.log_std).sum(dim=1)

    def _log_density(self, noise: Tensor, pre_tanh: Tensor) -> Tensor:
        """arXiv 1801.01290, eq. 21, with log(1 - tanh²u) = 2 (log 2 - u - softplus(-2u)), which does not overflow."""
        squashing = torch.sub(pre_tanh, functional.softplus(pre_tanh, beta=-2.0), alpha=2.0)  # u + softplus(-2u)
        gaussian = torch.addcmul(self.log_std, noise, noise, value=0.5)
        constant = noise.shape[1] * (2.0 * log(2.0) + 0.5 * log(2.0 * pi))
        return torch.sub(2.0 * squashing, gaussian).sum(dim=1) - constant


class Policy(nn.Module):
    """Observation → `TanhGaussian`.  The head's first half of outputs is the mean, the second the logarithm of the deviation."""

    def __init__(self, spec: EnvSpec, options: NetworkOptions, generator: Generator) -> None:
        super().__init__()
        self.encoder = Encoder(spec, options, generator)
        self.trunk = Trunk(self.encoder.size, options, generator)
        self.head = Linear(self.trunk.size, 2 * spec.action_size, generator)
        self._log_std_bounds = (options.log_std_min, options.log_std_max)
        self._dense = Dense([*self.trunk.layers, self.head]) if is_dense(spec, options) else None

    def forward(self, observation: Observation) -> TanhGaussian:
        if self._dense is not None and observation[VECTOR].is_cpu:
            made = self._dense(observation[VECTOR])
        else:
            made = self.head(self.trunk(self.encoder(observation)))
        mean, log_std = made.chunk(2, dim=1)
        return TanhGaussian(mean, log_std.clamp(*self._log_std_bounds))
