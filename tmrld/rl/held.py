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
from tmrld.rl.policy import FIRST_LAYER, Policy

PREFIX = "held"
"""Of its arrays in a checkpoint."""


class Hold:
    """Keeps ``policy``, as it is when this is made, doing the same for raw inputs."""

    def __init__(self, policy: Policy) -> None:
        parameters = dict(policy.named_parameters())
        self._layer = {kind: parameters[f"{FIRST_LAYER}.{kind}"] for kind in ("weight", "bias")}
        self._raw = {kind: parameter.detach().clone() for kind, parameter in self._layer.items()}

    def follow(self, normaliser: Normaliser) -> None:
        """Have the policy do the same with what the normaliser makes of the inputs by now."""
        weight, bias = normaliser.unfolded(self._raw["weight"], self._raw["bias"])
        with torch.no_grad():
            self._layer["weight"].copy_(weight)
            self._layer["bias"].copy_(bias)

    def arrays(self) -> dict[str, Array]:
        """What `restored` takes."""
        return {f"{PREFIX}.{kind}": snapshots.to_array(tensor) for kind, tensor in self._raw.items()}

    @classmethod
    def restored(cls, policy: Policy, arrays: Mapping[str, Array]) -> Hold | None:
        """The hold on a policy when the checkpoint was made; None if there was none.  Raises BadInput as `snapshots.fill` does."""
        if not any(name.startswith(f"{PREFIX}.") for name in arrays):
            return None
        hold = cls(policy)
        for kind, tensor in hold._raw.items():
            snapshots.fill(tensor, arrays, f"{PREFIX}.{kind}")
        return hold
