"""The simulator as rtgym interfaces: a `SimWorld` per flavour, and the picture that goes with it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.beams import Beams
from tmrld.envs.sim.camera import camera
from tmrld.envs.sim.ground import ground_of
from tmrld.envs.sim.track import named
from tmrld.envs.sim.world import SimWorld
from tmrld.envs.trackmania.interface import LidarInterface
from tmrld.envs.trackmania.reward import Progress
from tmrld.envs.trackmania.spec import lidar_spec
from tmrld.errors import WorldError


class SimLidar(LidarInterface):
    """The simulator's LIDAR flavour, with a picture to look at."""

    def __init__(self, world: SimWorld, progress: Progress, options: EnvironmentOptions) -> None:
        super().__init__(world, progress, lidar_spec(options))
        self._ground = ground_of(world.track)
        self._camera = camera(options.window_width, options.window_height)

    def picture(self, info: dict[str, Any]) -> NDArray[np.uint8]:
        """The frame seen from the place that ``info`` tells: RGB, the window's (height, width, 3)."""
        return self._camera.render(self._ground, info["x"], info["z"], info["heading"])


def lidar_interface(options: EnvironmentOptions) -> SimLidar:
    """The simulator as ``options`` ask for it.  Raises WorldError on an unknown track or a capture later than the step."""
    if options.clock == "lockstep" and options.start_obs_capture_s > options.time_step_s:
        raise WorldError(
            f"start_obs_capture_s is {options.start_obs_capture_s}: in lockstep it must not be later than time_step_s, "
            f"{options.time_step_s}"
        )
    track = named(options.track)
    world = SimWorld(
        track,
        Beams(options.window_width, options.window_height),
        options.time_step_s,
        options.start_obs_capture_s,
        time.perf_counter if options.clock == "realtime" else None,
    )
    return SimLidar(world, Progress(track.line, options.reward), options)
