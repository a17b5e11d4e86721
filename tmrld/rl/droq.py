"""Dropout Q-functions, arXiv 2110.02034: REDQ with two critics that are ensembles in themselves.

Algorithm 2 of the paper.  What differs from tmrld.rl.redq: behind each hidden layer of a critic, some values are left out at random
(`AlgorithmOptions.dropout`) and the others are normalised, always anew, also where critics are asked by targets and policy.  Two such
critics do what REDQ's ten do, for a fraction of the work.  The paper makes 20 updates of the critics per transition
(`AlgorithmOptions.update_to_data`) and one of the policy after these (`AlgorithmOptions.policy_interval`).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor

from tmrld.payloads import EnvSpec
from tmrld.rl.layers import normalised
from tmrld.rl.networks import Critics
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.redq import REDQ


def left_out(values: Tensor, rate: float, generator: Generator) -> Tensor:
    """Each value with the probability ``rate`` replaced by 0, and the others by so much more: dropout, of the same shape."""
    kept = torch.empty_like(values).bernoulli_(1.0 - rate, generator=generator)
    return values * kept / (1.0 - rate)


class DropoutCritics(Critics):
    """Critics that leave something out; ``noise`` says what, and is not theirs."""

    def __init__(
        self, spec: EnvSpec, options: NetworkOptions, members: int, generator: Generator, rate: float, noise: Generator
    ) -> None:
        super().__init__(spec, options, members, generator)
        self.rate = rate
        self._noise = noise

    def between(self, values: Tensor, layer: int) -> Tensor:
        """Dropout, normalisation, activation: the paper's figure 1."""
        return self._activation(normalised(left_out(values, self.rate, self._noise)))


class DroQ(REDQ):
    """An Algorithm (tmrld.rl.algorithm)."""

    NAME: ClassVar[str] = "droq"
    CRITICS: ClassVar[int] = 2

    def set_options(self, options: AlgorithmOptions) -> None:
        """As SAC has it."""
        super().set_options(options)
        for critics in (self.critics, self.target_critics):
            assert isinstance(critics, DropoutCritics)
            critics.rate = options.dropout

    def _make_critics(self, members: int, generator: Generator) -> Critics:
        critics = DropoutCritics(self._spec, self._network, members, generator, self.options.dropout, self._noise)
        return critics.to(self._device)
