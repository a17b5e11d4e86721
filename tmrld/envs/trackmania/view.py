"""The picture that was taken of the game's window, for people: what the policy's observation was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.trackmania.lidar import beam_lines

WIDTH = 480
"""Pictures are at most so wide, in pixels."""


class CapturedView:
    """Shows the newest picture of one size of ``window`` (width, height), every n-th row and column of it."""

    def __init__(self, window: tuple[int, int], picture: Callable[[dict[str, Any]], NDArray[np.uint8]]) -> None:
        """``picture`` returns what was captured last, RGB."""
        self._window = window
        self._picture = picture
        self._every = -(-window[0] // WIDTH)
        self.width, self.height = (-(-side // self._every) for side in window)

    def image(self, info: Mapping[str, Any]) -> NDArray[np.uint8]:
        """RGB (height, width, 3)."""
        return self._picture(dict(info))[:: self._every, :: self._every]

    def beams(self, lidar: NDArray[np.float32]) -> list[list[float]]:
        """The beams that read these distances (19,), as lines ``[x0, y0, x1, y1]`` in pixels of the picture."""
        return beam_lines(lidar, self._window, self.width)
