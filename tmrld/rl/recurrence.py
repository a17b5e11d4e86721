"""What policy and critics remember of an episode: a gated recurrent unit over what they read, step after step.

GRU, arXiv 1406.1078, in the form that torch has: with x what is read of an observation and h what is remembered, both as wide as
`NetworkOptions.gru`,

    r, z = sigmoid(of x + of h);  n = tanh(of x + r · (of h));  h = (1 - z) · n + z · h

What the hidden layers get is x and h side by side, so that what is seen now takes no way through the past.  Policy and critics each
remember for themselves (arXiv 2110.05038, section 4.1).

They learn from windows of episodes (tmrld.rl.sequences): an observation has the axes (windows, positions, …), and says at which
`PLACES` it is wanted.  What comes out has one row for each, and all that follows knows nothing of windows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

PLACES = "places"
"""In an observation of windows: which of all its positions are wanted, counted through window after window: (rows,) int64."""
STATE = "state"
"""In an observation of windows, if it is known: what the policy remembers where each begins, (windows, gru)."""

MakeLayer = Callable[[int, int], nn.Module]


class Recurrence(nn.Module):
    """Reads windows from their beginnings on: (…, windows · positions, inputs) → (…, rows, 2 · gru).

    ``make`` makes one layer of so many inputs and outputs, of one network or of several at once.
    """

    def __init__(self, inputs: int, gru: int, activation: Callable[[Tensor], Tensor], make: MakeLayer) -> None:
        super().__init__()
        self.read = make(inputs, gru)
        self.input = make(gru, 3 * gru)
        self.state = make(gru, 3 * gru)
        self.size = 2 * gru
        self._activation = activation

    def forward(self, values: Tensor, windows: int, places: Tensor, state: Tensor | None = None) -> Tensor:
        seen: Tensor = self._activation(self.read(values))
        remembered = self._remembered(self.input(seen).unflatten(-2, (windows, -1)), state)
        return torch.cat((seen, remembered.flatten(-3, -2)), dim=-1).index_select(-2, places)

    def _remembered(self, inputs: Tensor, state: Tensor | None) -> Tensor:
        """From what x contributes, (…, windows, positions, 3 · gru), to h after each position: (…, windows, positions, gru)."""
        size = inputs.shape[-1] // 3
        known = inputs.new_zeros(*inputs.shape[:-2], size) if state is None else state
        states: list[Tensor] = []
        for of_input in inputs.unbind(-2):
            of_state = self.state(known)
            reset, update = torch.sigmoid(of_input[..., : 2 * size] + of_state[..., : 2 * size]).chunk(2, dim=-1)
            new = torch.tanh(torch.addcmul(of_input[..., 2 * size :], reset, of_state[..., 2 * size :]))
            known = torch.lerp(new, known, update)
            states.append(known)
        return torch.stack(states, dim=-2)


def both(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """Two observations as one that has the rows of both: of windows, which they share, their places are joined."""
    if PLACES in first:
        return {**first, PLACES: torch.cat((first[PLACES], second[PLACES]))}
    return {name: torch.cat((tensor, second[name])) for name, tensor in first.items()}
