"""The LIDAR's fast path: looks at the pixels on the beams alone, instead of drawing a frame and measuring it.

It gives, beam for beam, what `trackmania.lidar.distances` measures in `camera.Camera.render`: pixels, ground and arithmetic are the same,
and above the ground nothing is ever dark.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.camera import camera
from tmrld.envs.sim.track import BORDER, Ground
from tmrld.envs.trackmania.lidar import beam_pixels


class Beams:
    """The 19 beams of one size of window, as places on the ground."""

    def __init__(self, width: int, height: int) -> None:
        view = camera(width, height)
        beams = beam_pixels(width, height)
        # Beams only climb, so the ground is the near part of each.
        on_ground = [int((rows >= view.first_row).sum()) for rows, _ in beams]
        ends = np.cumsum(on_ground)
        self._ends = ends
        self._starts = ends - on_ground
        self._free = np.array([len(rows) - 1 for rows, _ in beams], np.float32)
        self._ahead, self._right = view.place(
            np.concatenate([rows[:count] for (rows, _), count in zip(beams, on_ground, strict=True)]),
            np.concatenate([columns[:count] for (_, columns), count in zip(beams, on_ground, strict=True)]),
        )

    def distances(self, ground: Ground, x: float, z: float, heading: float) -> NDArray[np.float32]:
        """The 19 distances in pixels seen from that pose: float32 (19,)."""
        border = ground.seen(self._ahead, self._right, x, z, heading) == BORDER
        hits = np.append(np.flatnonzero(border), len(border))
        first = hits[hits.searchsorted(self._starts)]
        return np.where(first < self._ends, first - self._starts, self._free).astype(np.float32)


