"""How exactly time is kept: an interface that notes when it is called and how long that takes.

Seconds throughout, by ``time.perf_counter``.
"""

from __future__ import annotations

import time
from typing import Any

from rtgym import RealTimeGymInterface

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.timekeeping import grid_errors


class Timed(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """Passes every call on to ``interface``, in the thread in which it comes, and notes when controls are given and looks taken."""

    def __init__(self, interface: RealTimeGymInterface) -> None:
        self._interface = interface
        self.episodes: list[list[float]] = []
        """When each control of each episode was given; each begins a time step."""
        self.controls: list[float] = []
        self.looks: list[float] = []
        """How long each took."""

    def errors(self, options: EnvironmentOptions, since: int = 0) -> list[float]:
        """How far each time step began from its place on the grid, in all episodes from number ``since`` on."""
        step_s, timeout_s = options.time_step_s, options.time_step_s * options.timeout_factor
        return [error for starts in self.episodes[since:] for error in grid_errors(starts, step_s, timeout_s)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interface, name)  # what an interface may have beyond rtgym's: a picture, an end

    def get_observation_space(self) -> Any:
        return self._interface.get_observation_space()

    def get_action_space(self) -> Any:
        return self._interface.get_action_space()

    def get_default_action(self) -> Any:
        return self._interface.get_default_action()

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episodes.append([])
        return self._interface.reset(seed=seed, options=options)

    def send_control(self, control: Any) -> None:
        began = time.perf_counter()
        self._interface.send_control(control)
        self.controls.append(time.perf_counter() - began)
        self.episodes[-1].append(began)

    def get_obs_rew_terminated_info(self) -> Any:
        began = time.perf_counter()
        result = self._interface.get_obs_rew_terminated_info()
        self.looks.append(time.perf_counter() - began)
        return result

    def wait(self) -> None:
        self._interface.wait()
