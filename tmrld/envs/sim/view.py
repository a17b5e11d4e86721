"""A small picture of what the car sees, with the LIDAR's beams as lines in it: for people, never for policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.camera import PLAIN, Look, camera
from tmrld.envs.sim.drawing import Colour, speed_colour
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.tracks import named
from tmrld.envs.trackmania.lidar import FIRST_PIXEL, beam_lines

WIDTH = 480
"""Of the picture, in pixels, if the window is no smaller; its shape is the window's."""
NEAR_BEAM, FAR_BEAM = 30.0, 330.0
"""Beams are coloured from red to green between these distances, in pixels."""


class View:
    """Draws pictures for one size of window, on the track that is driven; ``width`` is the picture's."""

    def __init__(self, options: EnvironmentOptions, width: int | None = None, look: Look = PLAIN) -> None:
        window = options.window
        self.width = min(WIDTH, window[0]) if width is None else width
        self.height = max(1, round(window[1] * self.width / window[0]))
        self._window = window
        self._look = look
        self._track = named(options.track)
        self._camera = camera(self.width, self.height)

    def image(self, info: Mapping[str, Any]) -> NDArray[np.uint8]:
        """What is seen from the place that ``info`` tells: RGB (height, width, 3)."""
        driven = info.get("track", self._track.name)
        if driven != self._track.name:  # another one than in the episode before
            self._track = named(driven)
        ground = ground_of(self._track, self._track.deck(info["progress"] * self._track.length))
        return self._camera.render(ground, info["x"], info["z"], info["heading"], self._look)

    def beams(self, lidar: NDArray[np.float32]) -> list[list[float]]:
        """The beams that read these distances (19,), as lines ``[x0, y0, x1, y1]`` in pixels of the picture."""
        return beam_lines(lidar, self._window, self.width)


def beam_colour(distance: float) -> Colour:
    """Of a beam that reads this distance: red is near."""
    return speed_colour((distance + FIRST_PIXEL - NEAR_BEAM) / (FAR_BEAM - NEAR_BEAM))
