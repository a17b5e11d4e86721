"""TrackMania to rtgym: what the car shows becomes observations, its place on the line becomes reward.

It only ties parts together.  A `World` is either the game or its simulator: it takes controls and tells, at a moment,
what the car shows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from rtgym import RealTimeGymInterface

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.trackmania.compat import Rules, rules_of
from tmrld.envs.trackmania.reward import REWARD_TERMS, Progress
from tmrld.envs.trackmania.spec import ACTION_SIZE, action_space, flavour_spec, frame_space

Observation = list[NDArray[Any]]
Info = dict[str, Any]


@dataclass(slots=True)
class Moment:
    """What a world shows when it is looked at: metres, radians, metres per second."""

    x: float
    y: float
    z: float
    heading: float
    speed: float
    gear: int  # 0 is reverse
    rpm: float
    seen: NDArray[Any]  # one frame of the flavour's last part: distances, or an image
    finished: bool
    lap_time_s: float | None
    next_gate_m: float = math.inf
    """Where along the line the next checkpoint lies that a lap needs, in metres; never reached where that is unknown."""
    held: tuple[float, float, float] | None = None
    """Gas, brake and steer as the car obeys them, whoever drives; None where nobody can tell."""


class Course(Protocol):
    """What a lap is driven on."""

    @property
    def name(self) -> str:
        """As in the settings; a world that varies its tracks names each."""

    @property
    def line(self) -> NDArray[np.float64]:
        """The reward line, (n, 3) points 0.1 m apart."""


class World(Protocol):
    """The game, or what stands in for it."""

    @property
    def track(self) -> Course:
        """That of this episode."""

    def reset(self, seed: int | None, options: dict[str, Any]) -> Moment:
        """A new lap from the start line; what is seen there."""

    def control(self, gas: float, brake: float, steer: float) -> None:
        """From now on these controls are held: gas and brake 0 to 1, steer -1 to 1."""

    def look(self) -> Moment:
        """What is seen now."""

    def pause(self) -> None:
        """Nobody drives until the next reset."""

    @property
    def user_drives(self) -> bool:
        """Whether a person has taken the controls over, so that what is chosen here is not obeyed."""

    def release(self) -> None:
        """Let go of the controls at once, wherever the car is."""

    def close(self) -> None:
        """Let go of what lies outside this process."""


READINGS: dict[str, Callable[[Moment, Progress, Rules], float]] = {
    "speed": lambda moment, progress, rules: rules.speed(moment.speed),
    "gear": lambda moment, progress, rules: moment.gear,
    "rpm": lambda moment, progress, rules: moment.rpm,
    "progress": lambda moment, progress, rules: progress.place,
}
"""The parts of an observation that are one number."""


class TrackmaniaInterface(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """A flavour as an rtgym interface.  Spaces: `tmrld.envs.trackmania.spec`; reward: `reward` and `compat` beside it."""

    def __init__(self, world: World, options: EnvironmentOptions) -> None:
        spec = flavour_spec(options)
        self._world = world
        self._spec = spec
        self._reward = options.reward
        self._track = world.track
        self._rules = rules_of(options)
        self._progress = self._rules.progress(self._track.line, self._reward)
        *numbers, seen = spec.parts
        self._readings = [READINGS[part.name] for part in numbers]
        self._history = seen.observed_shape
        self._frames: deque[NDArray[Any]] = deque(maxlen=seen.history)

    def get_observation_space(self) -> spaces.Tuple[Any]:
        """The parts of the flavour."""
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
        """A new lap; the first frame fills the history."""
        moment = self._world.reset(seed, options or {})
        if self._world.track is not self._track:
            self._track = self._world.track
            self._progress = self._rules.progress(self._track.line, self._reward)
        self._progress.reset()
        self._frames.extend([moment.seen] * self._history[0])
        return self._observation(moment), self._info(moment, dict.fromkeys(REWARD_TERMS, 0.0))

    def get_obs_rew_terminated_info(self) -> tuple[Observation, float, bool, Info]:
        """Look, and judge what was achieved since the last look."""
        moment = self._world.look()
        progress = self._progress
        outcome = progress.step(moment.x, moment.y, moment.z, moment.finished)
        self._frames.append(moment.seen)
        ended = outcome.terminated or progress.missed(moment.next_gate_m)
        return self._observation(moment), outcome.reward, ended, self._info(moment, outcome.terms())

    def wait(self) -> None:
        """Between episodes nobody drives."""
        self._world.pause()

    @property
    def user_drives(self) -> bool:
        """Whether a person has taken the controls over."""
        return self._world.user_drives

    def release(self) -> None:
        """Let go of the controls at once."""
        self._world.release()

    def close(self) -> None:
        """Let go of the world."""
        self._world.close()

    def _observation(self, moment: Moment) -> Observation:
        progress, rules = self._progress, self._rules
        observation: Observation = [np.array((reading(moment, progress, rules),), np.float32) for reading in self._readings]
        observation.append(np.concatenate(self._frames).reshape(self._history))  # a copy: the frames stay ours
        return observation

    def _info(self, moment: Moment, terms: dict[str, float]) -> Info:
        return {
            "x": moment.x,
            "z": moment.z,
            "heading": moment.heading,
            "speed": moment.speed,
            "gear": moment.gear,
            "rpm": moment.rpm,
            "progress": 1.0 if moment.finished else self._progress.share,
            "finished": moment.finished,
            "lap_time_s": moment.lap_time_s,
            "held": moment.held,
            "track": self._track.name,
            "user_drives": self._world.user_drives,
            "reward_terms": terms,
        }
