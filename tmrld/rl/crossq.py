"""CrossQ, arXiv 1902.05605: SAC without target critics, which batch normalisation makes needless.

What differs from tmrld.rl.sac: the critics' inputs and hidden layers are normalised over the batch.  They read the batch and what
comes after it together, so that both are normalised alike, and what they say of the latter, with no gradient through it, takes the
place of the target critics; `AlgorithmOptions.tau` has no effect.  The policy asks critics that are normalised by running means.

The paper has wide critics (`NetworkOptions.hidden_critic`, 2048 twice), Adam with betas (0.5, 0.999), one update per transition and
one of the policy per three.  It normalises the policy over the batch, too; here its inputs alone are (tmrld.rl.normaliser), and a
policy is the same network whoever taught it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from tmrld.payloads import EnvSpec
from tmrld.rl.networks import Critics, Observation
from tmrld.rl.options import NetworkOptions
from tmrld.rl.recurrence import both
from tmrld.rl.sac import SAC

MOMENTUM = 0.01
"""Share of a batch in the running means: 0.99 of what was stays."""
WARM_UP = 100_000
"""Batches before the running means count while it learns; as in the paper's own code, like the two limits below."""
LARGEST_SCALE, LARGEST_SHIFT = 3.0, 5.0
EPSILON = 1e-3


class BatchRenorm(nn.Module):
    """Batch renormalisation, arXiv 1702.03275, algorithm 1, for each of several networks: (members, batch, width), the shape stays.

    While it trains, values get mean 0 and deviation 1 over the batch and, after a while, nearly what the running means make of them;
    otherwise just that.  It has no scale and shift of its own: the layer behind does that.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(members, 1, width))
        self.register_buffer("variance", torch.ones(members, 1, width))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, values: Tensor) -> Tensor:
        values = values.float()
        if not self.training:
            return (values - self.mean) * torch.rsqrt(self.variance + EPSILON)
        mean = values.mean(dim=1, keepdim=True)
        centred = values - mean
        variance = centred.square().mean(dim=1, keepdim=True)
        scale, shift = self._corrections(mean.detach(), variance.detach())
        return centred * torch.rsqrt(variance + EPSILON) * scale + shift

    def _corrections(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The r and d of the paper, and the running means one batch further."""
        deviation = torch.sqrt(self.variance + EPSILON)
        scale = (torch.sqrt(variance + EPSILON) / deviation).clamp(1.0 / LARGEST_SCALE, LARGEST_SCALE)
        shift = ((mean - self.mean) / deviation).clamp(-LARGEST_SHIFT, LARGEST_SHIFT)
        warm = self.batches >= WARM_UP
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance, MOMENTUM)
        self.batches += 1
        return torch.where(warm, scale, 1.0), torch.where(warm, shift, 0.0)


class BatchNormCritics(Critics):
    """Critics whose inputs and hidden layers are normalised over the batch."""

    def __init__(self, spec: EnvSpec, options: NetworkOptions, members: int, generator: Generator) -> None:
        super().__init__(spec, options, members, generator)
        activated = self.hidden if options.trunk == "mlp" else self.hidden[1:]
        self.norms = nn.ModuleList(BatchRenorm(members, width) for width in (self.encoder.size, *activated))

    def encode(self, observation: Observation, action: Tensor) -> Tensor:
        """The inputs, normalised over the batch."""
        values: Tensor = self.norms[0](super().encode(observation, action))
        return values

    def between(self, values: Tensor, layer: int) -> Tensor:
        """Activation, then normalisation over the batch."""
        normalised: Tensor = self.norms[layer + 1](self._activation(values))
        return normalised


class CrossQ(SAC):
    """An Algorithm (tmrld.rl.algorithm)."""

    NAME: ClassVar[str] = "crossq"

    def _make_critics(self, members: int, generator: Generator) -> Critics:
        return BatchNormCritics(self._spec, self._network, members, generator).to(self._device)

    def _make_targets(self) -> Critics:
        """The critics are their own targets."""
        return self.critics

    def _now_and_next(
        self, observation: Observation, action: Tensor, next_observation: Observation, next_action: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.critics.train()
        values, next_values = self.critics(both(observation, next_observation), torch.cat((action, next_action))).chunk(
            2, dim=1
        )
        return values, next_values.detach().amin(dim=0)

    def _policy_value(self, observation: Observation, action: Tensor) -> Tensor:
        self.critics.eval()
        return super()._policy_value(observation, action)

    def _move_targets(self) -> None:
        """There are none."""

    def _networks(self) -> dict[str, nn.Module]:
        networks = super()._networks()
        del networks["target_critics"]
        return networks
