"""Randomized Ensembled Double Q-learning, arXiv 2101.05982: SAC with many critics, for many updates per transition.

Algorithm 1 of the paper.  What differs from tmrld.rl.sac: the targets believe the smallest value of a few target critics, which are
drawn anew for each update, and the policy climbs the mean of all critics.  So values are neither too high nor all alike, and an
update can learn more from the same data.  The paper has 10 critics, draws 2, makes 20 updates of the critics per transition
(`AlgorithmOptions.update_to_data`) and one of the policy after these (`AlgorithmOptions.policy_interval`).

`REDQ.stats` reports what `SAC.stats` does, and:

============  ==========================================================================================================
``q_spread``  standard deviation of the critics' values for the same action, mean over the batch; in scaled reward
============  ==========================================================================================================
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor

from tmrld.payloads import EnvSpec
from tmrld.rl.networks import Critics, Observation
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC


def spread(values: Tensor) -> Tensor:
    """How far the critics are apart, in the mean: (members, batch) → ()."""
    return values.std(dim=0, correction=0).mean()


class REDQ(SAC):
    """An Algorithm (tmrld.rl.algorithm)."""

    NAME: ClassVar[str] = "redq"
    CRITICS: ClassVar[int] = 10
    CRITIC_METRICS: ClassVar[tuple[str, ...]] = (*SAC.CRITIC_METRICS, "q_spread")

    def __init__(
        self, options: AlgorithmOptions, network: NetworkOptions, spec: EnvSpec, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(options, network, spec, seed, device)
        self._drawn = self._make_drawn(options)

    def set_options(self, options: AlgorithmOptions) -> None:
        """As SAC has it."""
        super().set_options(options)
        self._drawn = self._make_drawn(options)

    def _next_value(self, observation: Observation, action: Tensor) -> Tensor:
        """The smallest value of those target critics that are drawn: the minimum over M of algorithm 1."""
        value: Tensor = self._draw()(observation, action).amin(dim=0)
        return value

    def _policy_value(self, observation: Observation, action: Tensor) -> Tensor:
        """The mean value of all critics."""
        value: Tensor = self.critics(observation, action, for_policy=True).mean(dim=0)
        return value

    def _measured(self, loss: Tensor, values: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        return *super()._measured(loss, values, target), spread(values)

    def _draw(self) -> Critics:
        """Some of the target critics, none twice.  All parameters of critics have one entry per member, first of their axes."""
        members = self.target_critics.members
        if self._drawn.members == members:
            return self.target_critics
        which = torch.randperm(members, generator=self._noise, device=self._device)[: self._drawn.members]
        for some, every in zip(self._drawn.parameters(), self._target_parameters, strict=True):
            torch.index_select(every, 0, which, out=some)
        return self._drawn

    def _make_drawn(self, options: AlgorithmOptions) -> Critics:
        """Where those that are drawn are copied to."""
        return self._make_critics(min(options.critic_subset, self.critics.members), Generator()).requires_grad_(False)
