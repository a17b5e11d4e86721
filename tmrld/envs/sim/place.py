"""Where along its track a car is: what tells the two roads of a crossing apart."""

from __future__ import annotations

import numpy as np

from tmrld.envs.sim.track import Track

STEP_M = 1.0
"""Places are told apart by about this much."""
BEHIND, AHEAD = 10, 20
"""Such steps around the last place: a car moves 3 m at most between two looks."""
LOST_M = 20.0
"""Further away from the line than this, the car has left its road: it may have cut across to another part of the track."""


class Place:
    """The place of one car on one track: it starts at the start line."""

    def __init__(self, track: Track) -> None:
        s = np.linspace(0.0, track.length, round(track.length / STEP_M) + 1)
        x, z, _ = track.centre(s)
        self._metres = s.tolist()
        self._points = z + 1j * x
        self._decks = track.deck(s).tolist()
        self._heights = track.height(s).tolist()
        self._nearest = 0

    def follow(self, x: float, z: float) -> None:
        """The car moved on to (x, z): call it every few metres."""
        car = complex(z, x)
        first = max(0, self._nearest - BEHIND)
        distances = np.abs(self._points[first : self._nearest + AHEAD] - car)
        nearest = int(distances.argmin())
        self._nearest = first + nearest
        if distances[nearest] > LOST_M:
            self._nearest = int(np.abs(self._points - car).argmin())

    @property
    def metres(self) -> float:
        """Along the centre line."""
        return float(self._metres[self._nearest])

    @property
    def deck(self) -> int:
        """Which deck of the track it drives on."""
        return int(self._decks[self._nearest])

    @property
    def height(self) -> float:
        """Of the road there, metres."""
        return float(self._heights[self._nearest])
