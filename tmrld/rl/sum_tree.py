"""A tree of sums: weighted draws from many values that change, a batch at a time.

The leaves are whole numbers, so every sum is exact: what is drawn depends on the values in their order alone, neither on how often
they changed nor on what else the tree held.  Each block of `FANOUT` numbers has its sum in the level above it, up to a level of one
block.  A walk from there to a leaf passes a few blocks, each of them adjacent in memory; a binary tree's (arXiv 1511.05952,
appendix B.2.1) passes four times as many places.
"""

from __future__ import annotations

import numpy as np

from tmrld.payloads import Array

FANOUT = 16
LARGEST = 2**32 - 1
"""The largest value of a leaf: 2^31 of them can be summed."""


def size_bytes(leaves: int) -> int:
    """What a tree of so many leaves takes."""
    below, *above = _blocks(leaves)
    return FANOUT * (4 * below + 8 * sum(above))


def _blocks(leaves: int) -> list[int]:
    """How many blocks there are on each level, that of the leaves first."""
    blocks = [-(-leaves // FANOUT)]
    while blocks[-1] > 1:
        blocks.append(-(-blocks[-1] // FANOUT))
    return blocks


class SumTree:
    """So many leaves, all of them 0 at first."""

    def __init__(self, leaves: int) -> None:
        below, *above = _blocks(leaves)
        self._leaves: Array = np.zeros((below, FANOUT), np.uint32)  # what is beyond the last one stays 0
        self._above: list[Array] = [np.zeros((blocks, FANOUT), np.int64) for blocks in above]

    @property
    def total(self) -> int:
        """The sum of all leaves."""
        return int([self._leaves, *self._above][-1].sum())

    def get(self, leaves: Array) -> Array:
        """The values of these leaves: (batch,) integers → (batch,) int64."""
        values: Array = self._leaves.reshape(-1)[leaves].astype(np.int64)
        return values

    def set(self, leaves: Array, values: Array | int) -> None:
        """Give these leaves (batch,) these values, from 0 to `LARGEST`; where a leaf is named twice, the last one counts."""
        below = self._leaves
        below.reshape(-1)[leaves] = values
        for level in self._above:
            leaves = leaves // FANOUT
            level.reshape(-1)[leaves] = below[leaves].sum(axis=1, dtype=np.int64)
            below = level

    def before(self, leaf: int) -> int:
        """The sum of all leaves before this one."""
        total = 0
        for level in (self._leaves, *self._above):
            block, place = divmod(leaf, FANOUT)
            total += int(level[block, :place].sum())
            leaf = block
        return total

    def find(self, sums: Array) -> Array:
        """The leaf at which the running sum over the leaves exceeds each of these (batch,), from 0 to below the total."""
        which = np.arange(len(sums))
        block = np.zeros(len(sums), np.int64)
        left = sums.astype(np.int64)
        for level in (*reversed(self._above), self._leaves):
            running = level.take(block, axis=0).T.cumsum(axis=0, dtype=np.int64)  # (FANOUT, batch)
            place = np.count_nonzero(running <= left, axis=0)
            left -= np.where(place > 0, running[place - 1, which], 0)
            block = block * FANOUT + place
        return block
