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

BLOCK = 16
"""Pixels in a block."""


class Beams:
    """The 19 beams of one size of window, as blocks of spots on the ground."""

    def __init__(self, width: int, height: int) -> None:
        view = camera(width, height)
        blocks: list[NDArray[np.complex64]] = []
        begins, before, free = [0], list[int](), list[int]()
        for rows, columns in beam_pixels(width, height):
            free.append(len(rows) - 1)
            on_ground = rows >= view.first_row  # beams only climb: the near part
            spots = view.spots(rows[on_ground], columns[on_ground])
            # The last block is filled up with its last spot: that one is found first.
            padded = np.pad(spots, (0, -len(spots) % BLOCK), mode="edge") if len(spots) else spots
            blocks.extend(padded.reshape(-1, BLOCK))
            begins.append(len(blocks))
            before.extend(range(0, len(padded), BLOCK))
        self._blocks = np.array(blocks)  # (blocks, BLOCK), beam after beam, nearest first
        self._begins = np.array(begins)  # the first block of each beam, and the end
        self._before = np.array(before)  # pixels of the beam that lie before each block
        self._free = np.array(free, np.float32)
        self._reach = float(np.abs(self._blocks).max()) + 1.0
        middles = (self._blocks[:, 0] + self._blocks[:, -1]) / 2
        self._radii = np.abs(self._blocks - middles[:, None]).max(axis=1)
        self._middles = (np.stack((middles.real, middles.imag, np.full(len(middles), TILE))) / TILE).astype(np.float32)
        self._height = 1.0
        self._needed = self._rings_needed(1.0)

    def distances(self, ground: Ground, x: float, z: float, heading: float, look: Look = PLAIN) -> NDArray[np.float32]:
        """The 19 distances in pixels seen from that pose: float32 (19,)."""
        measured = self._free.copy()
        if not look.border_is_dark:
            return measured
        height = look.height
        if height != self._height:
            self._height, self._needed = height, self._rings_needed(height)
        near = (ground.rings(self._middles, x, z, heading, height) <= self._needed).nonzero()[0]
        spots = self._blocks.take(near, axis=0).reshape(-1)
        dark = (ground.seen(spots, self._reach, x, z, heading, height) == BORDER).nonzero()[0]
        # Where each beam begins among these blocks, and among their dark pixels: it met one if the next beam begins further on.
        begins = dark.searchsorted(near.searchsorted(self._begins) * BLOCK)
        met = (begins[:-1] < begins[1:]).nonzero()[0]
        pixel = dark.take(begins.take(met))
        measured[met] = self._before.take(near.take(pixel // BLOCK)) + pixel % BLOCK
        return measured

    def _rings_needed(self, height: float) -> NDArray[np.uint8]:
        """A border cell on a block lies at most this many tiles from the block's middle."""
        radii = self._radii * height + 0.5  # half a cell for rounding
        needed: NDArray[np.uint8] = np.minimum(radii // TILE + 1, 255).astype(np.uint8)
        return needed
