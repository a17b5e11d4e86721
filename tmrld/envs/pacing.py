"""rtgym's real-time loop around an interface, made safe to live with.

`PacedEnv` is rtgym's ``real-time-gym-ts-v1`` environment: the interface runs in a thread of its own, and each step lasts as
long as it should.  Added here: ``close()`` ends that thread; an exception in the interface reaches the caller (rtgym would
wait for ever); seeds follow Gymnasium's rules; actions are checked, and no array is shared with the caller.

In lockstep a time step has no length: it is over when it begins, in the caller's thread, so that nothing waits and no thread takes
turns with another; the interface keeps its own simulated time.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from rtgym import RealTimeGymInterface
from rtgym.envs import RealTimeEnvTS

from tmrld.envs.options import EnvironmentOptions
from tmrld.errors import WorldError

log = logging.getLogger(__name__)

LOCKSTEP = {"time_step_duration": 1e-9, "start_obs_capture": 0.0, "time_step_timeout_factor": 1e18}
"""rtgym parameters under which no step ever waits, and none is ever late."""


RENDER_MODES = ("rgb_array",)


class PacedEnv(RealTimeEnvTS):  # type: ignore[misc]  # rtgym has no types
    """An rtgym environment around ``interface``, real-time or in lockstep as ``options.clock`` says."""

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 20}  # noqa: RUF012  # Gymnasium's attribute

    is_waiting: bool  # rtgym's: paused until the next reset

    def __init__(self, interface: RealTimeGymInterface, options: EnvironmentOptions, render_mode: str | None = None) -> None:
        self._guard = _Guard(interface)
        self._lockstep = options.clock == "lockstep"
        self._outcome: tuple[list[Any], float, bool, dict[str, Any]] = [], 0.0, False, {}
        self._closed = False
        self._late_this_episode = False
        self.late_steps = 0
        """How many time steps came too late since the environment was made: the computer or the policy is too slow."""
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(1 / options.time_step_s)}
        pace = {
            "time_step_duration": options.time_step_s,
            "start_obs_capture": options.start_obs_capture_s,
            "time_step_timeout_factor": options.timeout_factor,
        }
        super().__init__(
            {
                "interface": lambda: self._guard,
                **(LOCKSTEP if self._lockstep else pace),
                "ep_max_length": options.max_steps,
                "act_buf_len": options.action_buffer,
                "reset_act_buf": options.reset_action_buffer,
                "wait_on_done": options.wait_on_done,
                "benchmark": options.benchmark,
            }
        )
        self._bounds = list(zip(self.action_space.low.ravel().tolist(), self.action_space.high.ravel().tolist(), strict=True))
        self._info: dict[str, Any] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A new episode.  Without a seed, each reset draws its own from the last one given."""
        self._require_open()
        gymnasium.Env.reset(self, seed=seed)
        draw = int(self.np_random.integers(2**31))
        self.time_initialized = False  # the clock starts anew: an episode begins with a whole time step
        observation, info = super().reset(seed=draw if seed is None else seed, options=options)
        self._guard.raise_error()
        self._info = info
        self._late_this_episode = False
        return self._own(observation), info

    def step(self, action: Any) -> tuple[tuple[Any, ...], float, bool, bool, dict[str, Any]]:
        """Hand in the next action; returns what was captured in the time step that just ended (the action before acted in it)."""
        self._require_open()
        observation, reward, terminated, truncated, info = super().step(self._checked(action))
        self._guard.raise_error()
        self._info = info
        if info.get("user_drives") and not (terminated or truncated):
            truncated = True  # what happens from here on is not the policy's doing
            self.running = False
            self.wait()
        return self._own(observation), reward, terminated, truncated, info

    @property
    def interface(self) -> RealTimeGymInterface:
        """What is driven; another one may take its place between episodes, such as one that measures it."""
        return self._guard.interface

    @interface.setter
    def interface(self, interface: RealTimeGymInterface) -> None:
        self._guard.interface = interface

    @property
    def user_drives(self) -> bool:
        """Whether a person has taken the controls over: an episode that begins now would not be the policy's."""
        return bool(getattr(self._guard.interface, "user_drives", False))

    def release(self) -> None:
        """Let go of the controls at once, in the middle of an episode: nobody drives until the next reset."""
        if not self._closed:
            self.stop()
            self.is_waiting = True
            self._guard.release()

    def render(self) -> NDArray[np.uint8] | None:
        """The frame that belongs to the newest observation, RGB (height, width, 3), if ``render_mode`` is "rgb_array"."""
        if self.render_mode is None:
            return None
        frame: NDArray[np.uint8] = self._guard.picture(self._info)
        return frame

    def close(self) -> None:
        """End the thread; closing again does nothing."""
        if not self._closed:
            self._closed = True
            RealTimeEnvTS.__del__(self)
            self._guard.close()

    def _initialize_time(self) -> None:
        """Called by rtgym within each reset.  The first time step cannot be late."""
        super()._initialize_time()
        self.is_waiting = True

    def _run_time_step(self, action: NDArray[np.float32]) -> None:
        """Called by rtgym to begin a time step."""
        if self._lockstep:
            self._guard.send_control(action)
            self._outcome = self._guard.get_obs_rew_terminated_info()
        else:
            super()._run_time_step(action)

    def _retrieve_obs_rew_terminated_info(self) -> Any:
        """Called by rtgym for what was captured in the time step that just ended."""
        return self._outcome if self._lockstep else super()._retrieve_obs_rew_terminated_info()

    def _update_timestamps(self) -> None:
        """Called by rtgym at the start of each time step.  A late one is counted and logged once per episode.

        rtgym calls ``warnings.warn`` instead: where warnings are errors, that would end its thread, and the next step would hang.
        It does not do so while ``is_waiting``, and clears that flag when a step was late.
        """
        paused, self.is_waiting = self.is_waiting, True
        super()._update_timestamps()
        late = not self.is_waiting
        self.is_waiting = False
        if late and not paused:
            if not self._late_this_episode:
                log.warning("a time step began more than %.3f s late: the clock was restarted", self.time_step_timeout)
            self._late_this_episode = True
            self.late_steps += 1

    def _require_open(self) -> None:
        if self._closed:
            raise WorldError("this environment is closed: make a new one")

    def _checked(self, action: Any) -> NDArray[np.float32]:
        """A copy of the action, within its bounds.  Raises WorldError on a wrong shape or a value that is no number."""
        space = self.action_space
        checked = np.array(action, np.float32)
        if checked.shape != space.shape:
            raise WorldError(f"an action of shape {checked.shape} was given, {space.shape} is expected")
        for value, (low, high) in zip(checked.ravel().tolist(), self._bounds, strict=True):
            if not low <= value <= high:
                break
        else:
            return checked
        if not np.isfinite(checked).all():
            raise WorldError(f"the action {checked.tolist()} holds a value that is not a number: the policy has diverged")
        return np.clip(checked, space.low, space.high)

    def _own(self, observation: tuple[Any, ...]) -> tuple[Any, ...]:
        """The observation with its own copies of the action buffer, which rtgym shares between observations."""
        frames = len(observation) - self.act_buf_len
        return (*observation[:frames], *(action.copy() for action in observation[frames:]))


class _Guard(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """Passes every call on.  An exception is kept for the caller's thread: rtgym's own thread would die of it unheard."""

    def __init__(self, interface: RealTimeGymInterface) -> None:
        self.interface = interface
        self._error: Exception | None = None
        self._last: list[Any] = []
        self.get_observation_space = interface.get_observation_space
        self.get_action_space = interface.get_action_space
        self.get_default_action = interface.get_default_action

    def raise_error(self) -> None:
        """Raise what the interface raised, in the thread of whoever asked for the step; a reset tries again."""
        if self._error is not None:
            raise self._error

    def send_control(self, control: NDArray[np.float32] | None) -> None:
        if self._error is None:
            try:
                self.interface.send_control(control)
            except Exception as error:
                self._error = error

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[list[Any], dict[str, Any]]:
        self._error = None
        try:
            self._last, info = self.interface.reset(seed=seed, options=options)
        except Exception as error:
            self._error = error
            return [], {}
        return list(self._last), info

    def get_obs_rew_terminated_info(self) -> tuple[list[Any], float, bool, dict[str, Any]]:
        if self._error is None:
            try:
                result: tuple[list[Any], float, bool, dict[str, Any]] = self.interface.get_obs_rew_terminated_info()
            except Exception as error:
                self._error = error
            else:
                return result
        return [], math.nan, True, {}

    def wait(self) -> None:
        if self._error is None:
            try:
                self.interface.wait()
            except Exception as error:
                self._error = error

    def release(self) -> None:
        """Let go of what the interface holds, if it knows how to."""
        getattr(self.interface, "release", lambda: None)()

    def close(self) -> None:
        """Let go of the interface's world, if it has one."""
        getattr(self.interface, "close", lambda: None)()

    def picture(self, info: dict[str, Any]) -> NDArray[np.uint8]:
        picture = getattr(self.interface, "picture", None)
        if picture is None:
            raise WorldError("this environment has no picture to render")
        frame: NDArray[np.uint8] = picture(info)
        return frame
