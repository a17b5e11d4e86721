"""Which rows an observation is made of: pure index arithmetic, no data.

Rows are counted as in tmrld.payloads.  ``depth`` is `EnvSpec.depth`: an observation looks back on that many rows, its own
included.  A transition needs the observations before and after it, which overlap in all but one row each, so ``depth + 1`` rows
hold both.  Row 0 of an episode is repeated for all rows before it; a chunk is cut so that it starts at row 0 or holds all that
its first transition looks back on.  Therefore the *age* of a row, the number of rows before it in its chunk, decides alone how
far one can look back from it, and no index ever leaves the chunk.
"""

from __future__ import annotations

import numpy as np

from tmrld.payloads import Array

FURTHEST = 255
"""How far ahead a transition of several steps may look: what fits into one byte per row."""


def lead_rows(first_step: int, depth: int) -> int:
    """How many rows a chunk carries before its own steps, when ``first_step`` steps of the episode went before it."""
    return min(first_step, depth - 1) + 1


def ages(rows: int, depth: int) -> Array:
    """The age of each row of a chunk of so many rows, from 0 up to ``depth`` and no further: (rows,)."""
    return np.minimum(np.arange(rows), depth)


def rows_ahead(rows: int) -> Array:
    """How many rows follow each row of a chunk of so many rows, up to `FURTHEST` and no further: (rows,)."""
    return np.minimum(np.arange(rows)[::-1], FURTHEST)


def steps_back(age: Array, depth: int) -> Array:
    """How far the rows of a transition's window lie behind its own row, oldest first: (batch,) → (batch, depth + 1).

    The last ``H`` columns are the history of the observation after the transition, the ``H`` columns before the very last one
    that of the observation before it.  Where the chunk has no more rows, its first row stands in.
    """
    wanted = np.arange(depth, -1, -1)
    return np.minimum(wanted, age[:, None])


def before(history: int, depth: int) -> slice:
    """The columns of `steps_back` that show the newest ``history`` frames of the observation before the transition."""
    return slice(depth - max(1, history), depth)


def after(history: int, depth: int) -> slice:
    """The same for the observation after it."""
    return slice(depth + 1 - max(1, history), depth + 1)
