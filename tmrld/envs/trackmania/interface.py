"""TrackMania to rtgym: what the car shows becomes observations, its place on the line becomes reward.

It only ties parts together.  A `World` is either the game or its simulator: it takes controls and tells, at a moment,
what the car shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from rtgym import RealTimeGymInterface

from tmrld.envs.trackmania.lidar import BEAMS
from tmrld.envs.trackmania.reward import REWARD_TERMS, Progress
from tmrld.envs.trackmania.spec import ACTION_SIZE, MAX_SPEED_KMH, action_space, frame_space
from tmrld.payloads import EnvSpec

MISSED_M = 10.0
"""A checkpoint counts as missed when the car is so far past it; a lap without it is none, so the episode ends."""

Observation = list[NDArray[np.float32]]
Info = dict[str, Any]


@dataclass(slots=True)
class Moment:
    """What a world shows when it is looked at: metres, radians, metres per second."""

    x: float
    y: float
    z: float
    heading: float
    speed: float
    lidar: NDArray[np.float32]  # (19,)
    finished: bool
    lap_time_s: float | None
    next_gate_m: float = math.inf
    """Where along the line the next checkpoint lies that a lap needs, in metres; never reached where that is unknown."""


class World(Protocol):
    """The game, or what stands in for it."""

    def reset(self, seed: int | None, options: dict[str, Any]) -> Moment:
        """A new lap from the start line; what is seen there."""

    def control(self, gas: float, brake: float, steer: float) -> None:
        """From now on these controls are held: gas and brake 0 to 1, steer -1 to 1."""

    def look(self) -> Moment:
        """What is seen now."""

    def pause(self) -> None:
        """Nobody drives until the next reset."""


class LidarInterface(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """The LIDAR flavour as an rtgym interface.  Spaces: `tmrld.envs.trackmania.spec`; reward: `tmrld.envs.trackmania.reward`."""

    def __init__(self, world: World, progress: Progress, spec: EnvSpec) -> None:
        self._world = world
        self._progress = progress
        self._spec = spec
        history = next(part.history for part in spec.parts if part.name == "lidar")
        self._lidar = np.zeros((history, BEAMS), np.float32)

    def get_observation_space(self) -> spaces.Tuple[Any]:
        """Speed and distances."""
        return frame_space(self._spec)

    def get_action_space(self) -> spaces.Box:
        """Gas, brake, steer."""
        return action_space()

    def get_default_action(self) -> NDArray[np.float32]:
        """Hands off."""
        return np.zeros(ACTION_SIZE, np.float32)

    def send_control(self, control: NDArray[np.float32] | None) -> None:
        """Hold these controls from now on."""
        if control is not None:
            gas, brake, steer = control.tolist()
            self._world.control(max(gas, 0.0), max(brake, 0.0), steer)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """A new lap; the first measurement fills the history."""
        moment = self._world.reset(seed, options or {})
        self._progress.reset()
        self._lidar = np.broadcast_to(moment.lidar, self._lidar.shape).copy()
        return self._observation(moment), self._info(moment, dict.fromkeys(REWARD_TERMS, 0.0))

    def get_obs_rew_terminated_info(self) -> tuple[Observation, float, bool, Info]:
        """Look, and judge what was achieved since the last look."""
        moment = self._world.look()
        outcome = self._progress.step(moment.x, moment.y, moment.z, moment.finished)
        lidar = np.empty_like(self._lidar)
        lidar[:-1] = self._lidar[1:]
        lidar[-1] = moment.lidar
        self._lidar = lidar
        ended = outcome.terminated or self._progress.metres > moment.next_gate_m + MISSED_M
        return self._observation(moment), outcome.reward, ended, self._info(moment, outcome.terms())

    def wait(self) -> None:
        """Between episodes nobody drives."""
        self._world.pause()

    def _observation(self, moment: Moment) -> Observation:
        return [np.array((min(moment.speed * 3.6, MAX_SPEED_KMH),), np.float32), self._lidar.copy()]

    def _info(self, moment: Moment, terms: dict[str, float]) -> Info:
        return {
            "x": moment.x,
            "z": moment.z,
            "heading": moment.heading,
            "speed": moment.speed,
            "progress": 1.0 if moment.finished else self._progress.share,
            "finished": moment.finished,
            "lap_time_s": moment.lap_time_s,
            "reward_terms": terms,
        }
