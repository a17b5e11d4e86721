"""The simulator as rtgym interfaces: a `SimWorld` per flavour, and the picture that goes with it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrld.envs.options import FULL_ID, EnvironmentOptions
from tmrld.envs.sim.camera import camera
from tmrld.envs.sim.ground import Ground
from tmrld.envs.sim.images import ImageSensor
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.sensors import LidarSensor, Sensor
from tmrld.envs.sim.timing import Lockstep, Timing, WallClock
from tmrld.envs.sim.tracks import named
from tmrld.envs.sim.world import SimWorld
from tmrld.envs.trackmania.interface import TrackmaniaInterface
from tmrld.errors import WorldError


class SimInterface(TrackmaniaInterface):
    """The simulator's side of a flavour, with a picture to look at."""

    def __init__(self, world: SimWorld, options: EnvironmentOptions) -> None:
        super().__init__(world, options)
        self._sim = world
        self._camera = camera(*options.window)

    def picture(self, info: dict[str, Any]) -> NDArray[np.uint8]:
        """The frame seen from the place that ``info`` tells: RGB, the window's (height, width, 3)."""
        return self._camera.render(self.ground(info), info["x"], info["z"], info["heading"], self._sim.appearance)

    def ground(self, info: dict[str, Any]) -> Ground:
        """What lies around the place that ``info`` tells."""
        track = self._sim.track
        return ground_of(track, track.deck(info["progress"] * track.length))


def sim_interface(options: EnvironmentOptions) -> SimInterface:
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
    world = SimWorld(lambda seed: named(options.track, seed), _sensor(options), timing, options.randomisation)
    return SimInterface(world, options)


def _sensor(options: EnvironmentOptions) -> Sensor:
    if options.id == FULL_ID:
        return ImageSensor(options.image_width, options.image_height, options.grayscale, *options.window)
    return LidarSensor(*options.window)
