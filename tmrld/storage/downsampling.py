"""Fewer points that look like all of them.  Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tmrld.payloads import Array

POINT = np.dtype([("update", "<i8"), ("transitions", "<i8"), ("received_at", "<f8"), ("value", "<f8")])
"""One point of a curve; ``received_at`` in seconds since 1970."""


def bucket_extremes(buckets: Array, values: Array) -> NDArray[np.intp]:
    """Positions of the least and the greatest value of each bucket, in order: at most two per bucket, at least one.

    ``buckets`` (n,) never decreases; ``values`` (n,).  NaN counts only where a bucket has nothing else.
    """
    if len(buckets) == 0:
        return np.zeros(0, np.intp)
    starts = np.flatnonzero(np.r_[True, buckets[1:] != buckets[:-1]])
    sizes = np.diff(np.r_[starts, len(buckets)])
    chosen = [
        _first_equal(values, np.repeat(extreme.reduceat(values, starts), sizes), starts) for extreme in (np.fmin, np.fmax)
    ]
    return np.unique(np.concatenate(chosen))


def _first_equal(values: Array, targets: Array, starts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Per bucket, the first position where the value is the target."""
    hits = np.flatnonzero((values == targets) | np.isnan(targets))
    return hits[np.searchsorted(hits, starts)]


def thinned(pieces: list[Array], max_points: int) -> list[Array]:
    """Curves (arrays of `POINT`, by update) cut down to ``max_points`` in all, with every extreme that shows at that width.

    The first and last point stay, and of every stretch of updates the least and the greatest value.  More than ``max_points``
    come out only where there are more than ``max_points / 2 - 1`` pieces.
    """
    if sum(map(len, pieces)) <= max_points:
        return pieces
    filled = [piece for piece in pieces if len(piece)]
    first, last = min(piece["update"][0] for piece in filled), max(piece["update"][-1] for piece in filled)
    count = max(1, (max_points - 2) // 2 // len(filled))
    width = (int(last) - int(first)) // count + 1
    kept = [piece[bucket_extremes(_since(first, piece) // np.uint64(width), piece["value"])] for piece in filled]
    kept[0] = _with(kept[0], filled[0][:1], at_end=False)
    kept[-1] = _with(kept[-1], filled[-1][-1:], at_end=True)
    return kept


def _since(first: np.int64, points: Array) -> NDArray[np.uint64]:
    """How many updates each point is behind the first, exactly, even where that is more than a signed number holds."""
    return (points["update"] - first).view(np.uint64)


def _with(kept: Array, edge: Array, *, at_end: bool) -> Array:
    """The points with one more at an end, unless it is there already."""
    if kept["update"][-1 if at_end else 0] == edge["update"][0]:
        return kept
    return np.concatenate([kept, edge] if at_end else [edge, kept])


def summary(points: Array, stretch: int) -> Array:
    """First and last of some points (array of `POINT`, by update), and the least and greatest of each ``stretch`` of them."""
    inner = bucket_extremes(np.arange(len(points)) // stretch, points["value"])
    chosen: Array = points[np.unique(np.r_[0, inner, len(points) - 1])]
    return chosen
