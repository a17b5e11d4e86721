"""Corners as roads are built: the curvature grows and falls steadily (a clothoid), in steps so small that they are not felt.

A clothoid has no closed form, short arcs do: a corner is a row of them, and tangents are continuous throughout.
"""

from __future__ import annotations

import math

from tmrld.envs.sim.track import Arc

PIECE_M = 4.0
"""About as long is each arc of an easement."""
PIECES = 4
"""At least so many arcs make an easement: the curvature changes by a quarter of the corner's at most."""
SHARE = 0.8
"""Most of a corner's turning that easements may take: some of it is left at the full curvature."""


def bend(radius: float, degrees: float, easement: float = 16.0) -> tuple[Arc, ...]:
    """A corner of this radius that turns by ``degrees`` in all, right if positive, with ``easement`` metres at both of its ends.

    The easements are shorter where the corner is too short for them.
    """
    turn = math.radians(abs(degrees))
    length = min(easement, SHARE * turn * radius)
    if length <= 0.0:
        return (Arc(radius, degrees),)
    count = max(PIECES, round(length / PIECE_M))
    way_in = []
    for i in range(count):
        share = (i + 0.5) / count  # of the curvature, in the middle of the piece
        way_in.append(Arc(radius / share, math.copysign(math.degrees(length / count * share / radius), degrees)))
    rest = Arc(radius, math.copysign(math.degrees(turn - length / radius), degrees))
    return (*way_in, rest, *reversed(way_in))
