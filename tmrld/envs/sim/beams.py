"""The LIDAR's fast path: looks at the pixels on the beams alone, instead of drawing a frame and measuring it.

It gives, beam for beam, what `trackmania.lidar.distances` measures in `camera.Camera.render`: pixels, ground and arithmetic
are the same, and nothing but the border is ever dark.  Most pixels need no look at all: a beam is cut into blocks, and a block
is skipped when no border is as near to its middle as its ends are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.camera import PLAIN, Look, camera
from tmrld.envs.sim.ground import BORDER, TILE, Ground
from tmrld.envs.trackmania.lidar import beam_pixels

BLOCK = 8
"""Pixels in a block."""


class Beams:
    """The 19 beams of one size of window, as blocks of spots on the ground."""

    def __init__(self, width: int, height: int) -> None:
        view = camera(width, height)
        blocks: list[NDArray[np.complex64]] = []
        starts, counts, free = [], [], []
        for rows, columns in beam_pixels(width, height):
            free.append(len(rows) - 1)
            on_ground = rows >= view.first_row  # beams only climb: the near part
            spots = view.spots(rows[on_ground], columns[on_ground])
            starts.append(len(blocks) * BLOCK)
            counts.append(len(spots))
            padded = np.pad(spots, (0, -len(spots) % BLOCK), mode="edge") if len(spots) else spots
            blocks.extend(padded.reshape(-1, BLOCK))
        self._blocks = np.array(blocks)  # (blocks, BLOCK), beam after beam, nearest first
        self._starts = np.array(starts)  # of each beam, in pixels of the blocks
        self._counts = np.array(counts)
        self._free = np.array(free, np.float32)
        self._reach = float(np.abs(self._blocks).max()) + 1.0
        middles = (self._blocks[:, 0] + self._blocks[:, -1]) / 2
        self._radii = np.abs(self._blocks - middles[:, None]).max(axis=1)
        self._middles = (middles / TILE).astype(np.complex64)
        self._height = 1.0
        self._needed = self._rings_needed(1.0)

    def distances(self, ground: Ground, x: float, z: float, heading: float, look: Look = PLAIN) -> NDArray[np.float32]:
        """The 19 distances in pixels seen from that pose: float32 (19,)."""
        if not look.border_is_dark:
            return self._free.copy()
        height = look.height
        if height != self._height:
            self._height, self._needed = height, self._rings_needed(height)
        block = (ground.rings(self._middles, x, z, heading, height) <= self._needed).nonzero()[0]
        spots = self._blocks.take(block, axis=0).reshape(-1)
        dark = (ground.seen(spots, self._reach, x, z, heading, height) == BORDER).nonzero()[0]
        if not len(dark):
            return self._free.copy()
        pixel = block.take(dark // BLOCK) * BLOCK
        pixel += dark % BLOCK
        # The first dark pixel from each beam's start on; it counts if it lies on that beam.
        first = pixel.take(pixel.searchsorted(self._starts), mode="clip")
        first -= self._starts
        return np.where((first >= 0) & (first < self._counts), first, self._free).astype(np.float32)

    def _rings_needed(self, height: float) -> NDArray[np.uint8]:
        """A border cell on a block lies at most this many tiles from the block's middle."""
        radii = self._radii * height + 0.5  # half a cell for rounding
        needed: NDArray[np.uint8] = np.minimum(radii // TILE + 1, 255).astype(np.uint8)
        return needed
