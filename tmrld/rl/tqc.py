"""Truncated Quantile Critics, arXiv 2005.04269: SAC with critics that know how the value of an action is distributed.

Algorithm 1 of the paper.  What differs from tmrld.rl.sac: each critic tells quantiles of what an action may bring, at the shares
(2m - 1) / 2M; the targets are all quantiles of all target critics but the largest, which are the least to be believed
(`AlgorithmOptions.dropped_quantiles`); and the policy climbs the mean of all.  The paper has 5 critics with 25 quantiles each, whose
hidden layers are (512, 512, 512).

`TQC.stats` reports what `SAC.stats` does; ``loss_critic`` is the loss below, and ``q`` and ``q_target`` are means over the quantiles.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional

from tmrld.rl.devices import widest_float
from tmrld.rl.networks import Critics, Observation
from tmrld.rl.sac import SAC, weighted


def truncated(values: Tensor, dropped: int) -> Tensor:
    """The smallest of all critics' quantiles: (members, quantiles, batch) → (members · (quantiles - dropped), batch), or members if
    that is more.  They are the z of equation 11.
    """
    members, quantiles, _ = values.shape
    left = members * max(1, quantiles - dropped)
    return values.flatten(0, 1).T.sort(dim=1).values[:, :left].T


def quantile_loss(values: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Quantile Huber loss: (members, quantiles, batch), (atoms, batch) from the smallest to the largest → ().

    Quantile regression of each critic on all atoms (arXiv 1710.10044, equation 10): an atom above the quantile at the share τ pulls
    it up with the weight τ, one below pulls it down with 1 - τ, and those further than 1 away pull as hard as those that are 1 away.
    Averaged over critics, quantiles, atoms and batch, whose ``weights`` (batch,) are heeded if there are any.

    A quantile meets hundreds of atoms.  Rather than each with each, sums over all that are near or far, above or below, are taken,
    which are differences of running sums; in the widest float that there is (tmrld.rl.devices), and around the mean atom, as the
    sums are large and their differences small.
    """
    quantiles, wide = values.shape[1], widest_float(values.device)
    atoms = target.T.to(wide)  # (batch, atoms)
    middle = atoms.mean(dim=1, keepdim=True)
    atoms = (atoms - middle).contiguous()
    value = (values.flatten(0, 1).T.to(wide) - middle).contiguous()  # (batch, members · quantiles)
    share = ((torch.arange(quantiles, device=values.device) + 0.5) / quantiles).repeat(len(values))
    totals = [functional.pad(power.cumsum(dim=1), (1, 0)) for power in (atoms, atoms.square())]
    with torch.no_grad():
        near, here, far = (torch.searchsorted(atoms, value + distance) for distance in (-1.0, 0.0, 1.0))
        least, most = torch.zeros_like(here), torch.full_like(here, atoms.shape[1])

    def linear(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """How many atoms there are from one place to before another, and the sum of their distances above the value."""
        total, _ = totals
        count = last - first
        return count, total.gather(1, last) - total.gather(1, first) - count * value

    def squared(first: Tensor, last: Tensor) -> Tensor:
        """The sum of the squares of these distances."""
        total, squares = (total.gather(1, last) - total.gather(1, first) for total in totals)
        return squares - 2.0 * value * total + (last - first) * value.square()

    (below, under), (above, over) = linear(least, near), linear(far, most)
    pull_down = -under - 0.5 * below + 0.5 * squared(near, here)
    pull_up = over - 0.5 * above + 0.5 * squared(here, far)
    return weighted(((1.0 - share) * pull_down + share * pull_up).T, weights).to(values.dtype) / atoms.shape[1]


class TQC(SAC):
    """An Algorithm (tmrld.rl.algorithm)."""

    NAME: ClassVar[str] = "tqc"
    CRITICS: ClassVar[int] = 5

    def _make_critics(self, members: int, generator: Generator) -> Critics:
        return Critics(self._spec, self._network, members, generator, self.options.quantiles).to(self._device)

    def _next_value(self, observation: Observation, action: Tensor) -> Tensor:
        """What may come after: (atoms, batch), and so the target becomes."""
        return truncated(self.target_critics(observation, action), self.options.dropped_quantiles)

    def _critic_loss(self, values: Tensor, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        values = values.detach().requires_grad_()
        loss = quantile_loss(values, target, weights)
        (of_values,) = torch.autograd.grad(loss, [values])
        return loss.detach(), of_values

    def _error(self, values: Tensor, target: Tensor) -> Tensor:
        """Of the means of the distributions."""
        return super()._error(values.mean(dim=1), target.mean(dim=0))

    def _policy_value(self, observation: Observation, action: Tensor) -> Tensor:
        """The mean of all quantiles of all critics: (batch,)."""
        value: Tensor = self.critics(observation, action, for_policy=True).mean(dim=(0, 1))
        return value
