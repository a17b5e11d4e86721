"""The policy: a Gaussian whose mean and deviation a network computes, squashed into [-1, 1] by tanh.

``u = mean + std * noise``, ``action = tanh(u)``.  arXiv 1801.01290, appendix C.  Without exploration the action is tanh(mean).
The acting side has the same policy without torch: tmrld.rl.inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable
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
        if torch.is_grad_enabled():
            action, log_prob = _Squashed.apply(self.mean, self.log_std, noise)  # type: ignore[no-untyped-call]
            return action, log_prob
        return _squashed(self.mean, self.log_std, noise)[:2]

    def mode(self) -> Tensor:
        """The action without exploration: (batch, action_size)."""
        return torch.tanh(self.mean)

    def log_prob(self, pre_tanh: Tensor) -> Tensor:
        """Log-density of the squashed action: (batch, action_size) → (batch,)."""
        return _log_density((pre_tanh - self.mean) * torch.exp(-self.log_std), pre_tanh, self.log_std)

    def divergence(self, other: TanhGaussian) -> Tensor:
        """Kullback-Leibler divergence from the other one, in nats: (batch,).  Squashing both alike does not change it."""
        spread = torch.exp(2.0 * (self.log_std - other.log_std))
        apart = ((self.mean - other.mean) * torch.exp(-other.log_std)).square()
        return (0.5 * (spread + apart - 1.0) + other.log_std - self.log_std).sum(dim=1)


def _log_density(noise: Tensor, pre_tanh: Tensor, log_std: Tensor) -> Tensor:
    """arXiv 1801.01290, eq. 21, with log(1 - tanh²u) = 2 (log 2 - u - softplus(-2u)), which does not overflow."""
    half = functional.softplus(pre_tanh, beta=-2.0)  # -softplus(-2u) / 2
    squashing = 2.0 * torch.sub(pre_tanh, half, alpha=2.0)
    constant = noise.shape[1] * (2.0 * log(2.0) + 0.5 * log(2.0 * pi))
    return torch.addcmul(squashing - log_std, noise, noise, value=-0.5).sum(dim=1) - constant


def _squashed(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The action that this noise makes, its log-density, and the deviation."""
    deviation = log_std.exp()
    pre_tanh = torch.addcmul(mean, deviation, noise)
    return torch.tanh(pre_tanh), _log_density(noise, pre_tanh, log_std), deviation


class _Squashed(torch.autograd.Function):
    """`_squashed`, with the gradients written out (tmrld.rl.dense says why).

    The noise is given, so all hangs on u = mean + deviation · noise: d tanh(u) / du = 1 - tanh²(u), and of the log-density
    d (-log(1 - tanh²(u))) / du = 2 tanh(u).  What it has of the deviation besides is -log(deviation).
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob, deviation = _squashed(mean, log_std, noise)
        ctx.save_for_backward(action, deviation.mul_(noise))
        return action, log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_action: Tensor, of_log_prob: Tensor) -> tuple[Tensor, Tensor, None]:
        action, spread = ctx.saved_tensors
        of_log_prob = of_log_prob[:, None]
        of_mean = torch.addcmul(of_action, of_action * action, action, value=-1.0).addcmul_(of_log_prob, action, value=2.0)
        return of_mean, torch.addcmul(-of_log_prob, of_mean, spread), None


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
