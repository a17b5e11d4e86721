"""The policy: a Gaussian whose mean and deviation a network computes, squashed into [-1, 1] by tanh.

``u = mean + std * noise``, ``action = tanh(u)``.  arXiv 1801.01290, appendix C.  Without exploration the action is tanh(mean).
The acting side has the same policy without torch: tmrld.rl.inference.
"""

from __future__ import annotations

from functools import cached_property
from math import inf, log, pi
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from tmrld.payloads import EnvSpec
from tmrld.rl import kernels
from tmrld.rl.dense import Dense, is_dense
from tmrld.rl.layers import Linear
from tmrld.rl.networks import Encoder, Observation, Trunk
from tmrld.rl.observations import VECTOR
from tmrld.rl.options import NetworkOptions


def first_layer(options: NetworkOptions) -> str:
    """Where the flat vector enters the policy, first of all its inputs: the name of that layer in `Policy`."""
    return "encoder.recurrence.read" if options.gru else "trunk.layers.0"


class TanhGaussian:
    """A distribution over actions for each observation of a batch.

    A head gives its parameters, (batch, 2 · action_size): the mean, then the logarithm of the deviation, which is kept between
    ``low`` and ``high``.
    """

    def __init__(self, head: Tensor, low: float = -inf, high: float = inf) -> None:
        self._head = head
        self._bounds = low, high

    @cached_property
    def mean(self) -> Tensor:
        """Before it is squashed: (batch, action_size)."""
        return self._head.chunk(2, dim=1)[0]

    @cached_property
    def log_std(self) -> Tensor:
        """Logarithm of the deviation: (batch, action_size)."""
        return self._head.chunk(2, dim=1)[1].clamp(*self._bounds)

    def sample(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions (batch, action_size) and their log-densities (batch,), differentiable in the head."""
        batch, parameters = self._head.shape
        noise = torch.randn(batch, parameters // 2, generator=generator, device=self._head.device)
        if self._head.is_cpu and self._head.dtype == torch.float32:
            return _Squash.apply(self._head, *self._bounds, noise)  # type: ignore[no-untyped-call, no-any-return]
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


class _Squash(torch.autograd.Function):
    """What `TanhGaussian.sample` gives, on a processor: one loop instead of some twenty steps, and one back."""

    @staticmethod
    def forward(ctx: Any, head: Tensor, low: float, high: float, noise: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob = torch.empty_like(noise), torch.empty(len(noise))
        kernels.squash(head.numpy(), low, high, noise.numpy(), action.numpy(), log_prob.numpy())
        ctx.save_for_backward(head, noise, action)
        ctx.bounds = low, high
        return action, log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_action: Tensor, of_log_prob: Tensor) -> tuple[Tensor, None, None, None]:
        head, noise, action = ctx.saved_tensors
        of_head = torch.empty_like(head)
        given = (each.numpy() for each in (noise, action.detach(), of_action, of_log_prob, of_head))
        kernels.squash_back(head.detach().numpy(), *ctx.bounds, *given)
        return of_head, None, None, None


class Policy(nn.Module):
    """Observation → `TanhGaussian`."""

    def __init__(self, spec: EnvSpec, options: NetworkOptions, generator: Generator) -> None:
        super().__init__()
        self.encoder = Encoder(spec, options, generator)
        self.trunk = Trunk(self.encoder.size, options, generator)
        self.head = Linear(self.trunk.size, 2 * spec.action_size, generator)
        self._log_std_bounds = (options.log_std_min, options.log_std_max)
        self._dense = Dense([*self.trunk.layers, self.head], precision=options.precision) if is_dense(spec, options) else None

    def forward(self, observation: Observation) -> TanhGaussian:
        if self._dense is not None and observation[VECTOR].is_cpu:
            return TanhGaussian(self._dense(observation[VECTOR]), *self._log_std_bounds)
        return TanhGaussian(self.head(self.trunk(self.encoder(observation))), *self._log_std_bounds)
