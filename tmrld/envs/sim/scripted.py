"""A driver that needs no training: it steers to the side that is free and drives as fast as the free distance allows.

It sees what a policy sees, the LIDAR observation alone, and finishes every track of the simulator: proof that they can be driven.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.trackmania.lidar import BEAMS

ANGLES = np.radians(np.arange(BEAMS) * 10.0 - 90.0)
"""Of each beam from straight up, to the left: -90° is beam 0, to the right."""
STEER_GAIN = 1.6
SLOW_KMH = 38.0
FAST_KMH = 190.0
NEAR_PX = 205.0
FAR_PX = 320.0


def scripted(observation: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
    """The action (gas, brake, steer) for a LIDAR observation of 958 × 488 pixels: float32 (3,)."""
    speed = float(observation[0][0])
    lidar = observation[1][-1]
    pull = float(lidar @ np.sin(ANGLES)) / float(lidar.sum() + 1.0)  # where the free space lies: left is positive
    steer = float(np.clip(-STEER_GAIN * pull * 4.0, -1.0, 1.0))
    ahead = float(lidar[8:11].max())
    share = np.clip((ahead - NEAR_PX) / (FAR_PX - NEAR_PX), 0.0, 1.0)
    wanted = SLOW_KMH + (FAST_KMH - SLOW_KMH) * share**2
    gas = float(np.clip((wanted - speed) / 15.0, 0.0, 1.0))
    brake = float(np.clip((speed - wanted) / 40.0, 0.0, 1.0))
    return np.array((gas, brake, steer), np.float32)
