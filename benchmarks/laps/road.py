"""The road as the optimisers see it: a mesh over arc length, its curvature and its width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.track import BORDER_M, Track

Floats = NDArray[np.float64]

EDGE_M = 0.1
"""Kept free along the edge of the paint: the simulator's ground is a raster of that cell size."""


@dataclass(frozen=True)
class Road:
    """A track cut into pieces of constant curvature; ``n`` pieces have ``n + 1`` ends."""

    track: Track
    s: Floats
    """Arc length of the centre line at the ends of the pieces, metres: (n + 1,)."""
    curvature: Floats
    """Of each piece, 1/m, positive to the right: (n,)."""
    reach: Floats
    """How far to either side of the centre line both axles may be, at the ends of the pieces, metres: (n + 1,)."""


def road_of(track: Track, spacing_m: float = 1.0) -> Road:
    """The mesh of a track: every segment in equal pieces of about ``spacing_m``."""
    s, curvature = [0.0], []
    for segment in track.segments:
        count = max(1, round(segment.length / spacing_m))
        start = s[-1]
        s.extend(start + segment.length * (k + 1) / count for k in range(count))
        curvature.extend([segment.curvature] * count)
    nodes = np.array(s)
    return Road(track, nodes, np.array(curvature), track.half_width(nodes) + BORDER_M - EDGE_M)
