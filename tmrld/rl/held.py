"""A policy that starts from weights and is held for a while: it does what they do, whatever becomes of the normaliser.

Weights are for raw inputs (tmrld.rl.normaliser); a policy that learns gets normalised ones, which look a little different after
every batch.  So the raw first layer is kept, and the policy's own is worked out from it again.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tmrld.payloads import Array
from tmrld.rl import snapshots
from tmrld.rl.normaliser import Normaliser
from tmrld.rl.options import NetworkOptions
from tmrld.rl.policy import Policy, first_layer

WEIGHT, BIAS = "held.weight", "held.bias"
"""In a checkpoint."""


class Hold:
    """Keeps ``policy``, as it is when this is made, doing the same for raw inputs.

    ``weight`` and ``bias`` are those of its first layer, for such inputs.
    """

    def __init__(self, policy: Policy, options: NetworkOptions) -> None:
        parameters, name = dict(policy.named_parameters()), first_layer(options)
        self._weight, self._bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        self.weight, self.bias = self._weight.detach().clone(), self._bias.detach().clone()

    def follow(self, normaliser: Normaliser) -> None:
        """Have the policy do the same with what the normaliser makes of the inputs by now."""
        weight, bias = normaliser.unfolded(self.weight, self.bias)
        with torch.no_grad():
            self._weight.copy_(weight)
            self._bias.copy_(bias)

    def arrays(self) -> dict[str, Array]:
        """What `restored` takes."""
        return {WEIGHT: snapshots.to_array(self.weight), BIAS: snapshots.to_array(self.bias)}

    @classmethod
    def restored(cls, policy: Policy, options: NetworkOptions, arrays: Mapping[str, Array]) -> Hold | None:
        """The hold on a policy when the checkpoint was made; None if there was none.  Raises BadInput as `snapshots.fill` does."""
        if WEIGHT not in arrays:
            return None
        hold = cls(policy, options)
        snapshots.fill(hold.weight, arrays, WEIGHT)
        snapshots.fill(hold.bias, arrays, BIAS)
        return hold
