"""Prioritised replay, arXiv 1511.05952: what was badly foretold is drawn more often, and counts so much less when it is.

The proportional variant: transition i is drawn with P(i) = p_i^α / Σ p_k^α (equation 1), where p_i is how far the critics were off
when it was last learned from.  A new one gets the largest priority so far, so that it is learned from soon.  A batch takes one
transition from each of as many equal parts of the sum (section 3.3).  What each adds to the critics' loss is weighted by
(N · P(i))^-β, divided by the largest of these weights in the batch, while β rises to 1 in a straight line (section 3.4).

p_i^α is kept as a whole number of units (`UNIT`), so that sums are exact and a resumed training draws the same (tmrld.rl.sum_tree).
The smallest is one unit, which is what the paper adds a small ε for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tmrld.errors import BadInput
from tmrld.payloads import Array
from tmrld.rl.options import ReplayOptions
from tmrld.rl.sum_tree import LARGEST, SumTree

UNIT = 2**16
"""So many units are the priority of an error of 1, which is also that of the very first transitions."""
PRIORITIES, LARGEST_SO_FAR, OFFSETS, STEPS = "priorities", "largest_priority", "priority_offsets", "priority_steps"
"""In a checkpoint."""


@dataclass(frozen=True)
class Prioritised:
    """How priorities are used: the exponents α and β, and over how many updates β rises to 1 (0: it stays)."""

    alpha: float
    beta: float
    beta_updates: int

    @classmethod
    def of(cls, options: ReplayOptions) -> Prioritised | None:
        """What the options ask for; None if all transitions are to be drawn alike."""
        if not options.prioritised:
            return None
        return cls(options.priority_alpha, options.priority_beta, options.priority_beta_updates)

    def beta_after(self, updates: int) -> float:
        """β after so many updates."""
        done = min(1.0, updates / self.beta_updates) if self.beta_updates else 0.0
        return self.beta + (1.0 - self.beta) * done


class Priorities:
    """Those of the transitions in a ring of so many ``places``; a place that holds none has the priority 0."""

    def __init__(self, places: int, options: Prioritised) -> None:
        self._options = options
        self._tree = SumTree(places)
        self._largest = UNIT
        self._known: deque[tuple[int, Array]] = deque()
        """Those of chunks that are to come in again, with their offsets, oldest first."""

    def enter(self, places: Array, offset: int) -> None:
        """New transitions of a chunk at ``offset`` stand at these places."""
        while self._known and self._known[0][0] < offset:
            self._known.popleft()
        if self._known and self._known[0][0] == offset and len(self._known[0][1]) == len(places):
            self._tree.set(places, self._known.popleft()[1])
        else:
            self._tree.set(places, self._largest)

    def leave(self, places: Array) -> None:
        """Nothing stands there any more."""
        self._tree.set(places, 0)

    def prioritise(self, places: Array, errors: Array) -> None:
        """The transitions there were foretold with these errors, at least 0: both (batch,).

        One that is not finite changes nothing.
        """
        told = np.isfinite(errors)
        raised = np.power(errors[told].astype(np.float64), self._options.alpha)
        values = np.clip(np.rint(raised * UNIT), 1, LARGEST).astype(np.uint32)
        if len(values):
            self._tree.set(places[told], values)
            self._largest = max(self._largest, int(values.max()))

    def draw(self, count: int, first: int, rng: np.random.Generator) -> Array:
        """So many places, one from each equal part of the sum, which is counted from the place ``first`` on: (count,)."""
        total = self._tree.total
        sums = ((np.arange(count) + rng.random(count)) * (total / count)).astype(np.int64)
        return self._tree.find((np.minimum(sums, total - 1) + self._tree.before(first)) % total)

    def weights(self, places: Array, updates: int) -> Array:
        """How much the transitions there count after so many updates: (batch,) → (batch,) float32.

        (N · P(i))^-β over the largest of these, in which N and the sum of all priorities cancel out.
        """
        values = self._tree.get(places)
        weights: Array = np.power(values.min() / values, self._options.beta_after(updates)).astype(np.float32)
        return weights

    def state(self, places: Array, offsets: list[int], steps: list[int]) -> dict[str, Array]:
        """What `restore` takes: the places of all transitions, oldest first, and offset and steps of each of their chunks."""
        return {
            PRIORITIES: self._tree.get(places).astype(np.uint32),
            LARGEST_SO_FAR: np.asarray(self._largest, np.int64),
            OFFSETS: np.asarray(offsets, np.int64),
            STEPS: np.asarray(steps, np.int64),
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Give the priorities of a `state` back to the chunks of the same offsets, as they come in again in the same order.

        Without one, as when priorities were not in use, they come in as new ones.  Raises BadInput when it does not fit together.
        """
        if PRIORITIES not in arrays:
            return
        ends = np.cumsum(arrays[STEPS])
        if len(arrays[OFFSETS]) != len(ends) or arrays[PRIORITIES].shape != (int(ends[-1]) if len(ends) else 0,):
            raise BadInput("the checkpoint's priorities are not those of its chunks: go on from another checkpoint")
        self._largest = int(arrays[LARGEST_SO_FAR])
        pieces = np.split(arrays[PRIORITIES], ends[:-1]) if len(ends) else []
        self._known = deque(zip(arrays[OFFSETS].tolist(), pieces, strict=True))
