"""What a flavour sees of the simulator's ground.  No clock, no car.  See also `tmrld.envs.sim.images`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.sim.beams import Beams
from tmrld.envs.sim.camera import Look
from tmrld.envs.sim.ground import Ground


class Sensor(Protocol):
    """Eyes of one car.  Each look makes an array of its own."""

    def see(self, ground: Ground, x: float, z: float, heading: float, look: Look) -> NDArray[Any]:
        """What is seen from that pose (metres, radians)."""


class LidarSensor:
    """The LIDAR of one size of window: float32 (19,), in its pixels."""

    def __init__(self, window_width: int, window_height: int) -> None:
        self._beams = Beams(window_width, window_height)

    def see(self, ground: Ground, x: float, z: float, heading: float, look: Look) -> NDArray[np.float32]:
        """The distances, beam by beam."""
        return self._beams.distances(ground, x, z, heading, look)
