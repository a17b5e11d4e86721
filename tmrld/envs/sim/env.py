"""The simulator as rtgym interfaces: a `SimWorld` per flavour, and the picture that goes with it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.camera import camera
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.sensors import LidarSensor
from tmrld.envs.sim.timing import Lockstep, Timing, WallClock
from tmrld.envs.sim.tracks import named
from tmrld.envs.sim.world import SimWorld
from tmrld.envs.trackmania.interface import Info, LidarInterface, Observation
from tmrld.envs.trackmania.reward import Progress
from tmrld.envs.trackmania.spec import lidar_spec
from tmrld.errors import WorldError


class SimLidar(LidarInterface):
    """The simulator's LIDAR flavour, with a picture to look at."""

    def __init__(self, world: SimWorld, options: EnvironmentOptions) -> None:
        super().__init__(world, Progress(world.track.line, options.reward), lidar_spec(options))
        self._sim = world
        self._track = world.track
        self._reward = options.reward
        self._camera = camera(options.window_width, options.window_height)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """A new lap, on the seed's track."""
        result = super().reset(seed, options)
        if self._sim.track is not self._track:
            self._track = self._sim.track
            self._progress = Progress(self._track.line, self._reward)
        return result

    def picture(self, info: dict[str, Any]) -> NDArray[np.uint8]:
        """The frame seen from the place that ``info`` tells: RGB, the window's (height, width, 3)."""
        return self._camera.render(ground_of(self._track), info["x"], info["z"], info["heading"])


def lidar_interface(options: EnvironmentOptions) -> SimLidar:
    """The simulator as ``options`` ask for it.  Raises WorldError on an unknown track or a capture later than the step."""
    if options.clock == "lockstep" and options.start_obs_capture_s > options.time_step_s:
        raise WorldError(
            f"start_obs_capture_s is {options.start_obs_capture_s}: in lockstep it must not be later than time_step_s, "
            f"{options.time_step_s}"
        )
    timing: Timing
    if options.clock == "lockstep":
        timing = Lockstep(options.time_step_s, options.start_obs_capture_s, options.time_step_s * options.timeout_factor)
    else:
        timing = WallClock(time.perf_counter, options.time_step_s)
    sensor = LidarSensor(options.window_width, options.window_height)
    world = SimWorld(lambda seed: named(options.track), sensor, timing, options.randomisation)
    return SimLidar(world, options)
