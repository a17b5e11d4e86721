"""From a picture of the game's window to what a flavour sees of it: LIDAR distances, or a small image.

Pictures are (height, width, 4), uint8, blue first, as screens are captured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import FULL_ID, EnvironmentOptions
from tmrld.envs.trackmania.lidar import distances
from tmrld.errors import GameError

Eye = Callable[[NDArray[np.uint8]], NDArray[Any]]


def eye_of(options: EnvironmentOptions) -> Eye:
    """The eye of the flavour that ``options`` name.  What it returns is an array of its own.  Raises GameError."""
    if options.id == FULL_ID:
        return image_eye(options.image_width, options.image_height, gray=options.grayscale)
    return distances


def image_eye(width: int, height: int, *, gray: bool) -> Eye:
    """Shrinks to (height, width) in gray, or (height, width, 3) in RGB: uint8, as TMRL does, with OpenCV's bilinear resize.

    TMRL drops the fourth channel first.  Shrinking it along and dropping it then gives the same bits, without a copy of the picture.
    Raises GameError where OpenCV is missing.
    """
    try:
        import cv2
    except (ImportError, OSError) as missing:
        libraries = "; on Linux also: apt install libgl1 libglib2.0-0" if sys.platform == "linux" else ""
        raise GameError(f'images need OpenCV ({missing}): pip install "tmrld[game]"{libraries}') from missing
    size = (width, height)
    colours = cv2.COLOR_BGRA2GRAY if gray else cv2.COLOR_BGRA2RGB

    def see(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return cast("NDArray[np.uint8]", cv2.cvtColor(cv2.resize(image, size), colours))

    return see
