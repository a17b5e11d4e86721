"""From a picture of the game's window to what a flavour sees of it: LIDAR distances, or a small image.

Pictures are (height, width, 4), uint8, blue first, as screens are captured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import FULL_ID, EnvironmentOptions
from tmrld.envs.trackmania.lidar import distances

Eye = Callable[[NDArray[np.uint8]], NDArray[Any]]


def eye_of(options: EnvironmentOptions) -> Eye:
    """The eye of the flavour that ``options`` name.  What it returns is an array of its own."""
    if options.id == FULL_ID:
        return image_eye(options.image_width, options.image_height, gray=options.grayscale)
    return distances


def image_eye(width: int, height: int, *, gray: bool) -> Eye:
    """Shrinks to (height, width) in gray, or (height, width, 3) in RGB: uint8, as TMRL does, with OpenCV's bilinear resize."""
    import cv2  # needs libGL and libxcb on a bare Linux

    def see(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        small = cv2.resize(image[:, :, :3], (width, height))
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY if gray else cv2.COLOR_BGR2RGB), np.uint8)

    return see
