"""rtgym's real-time loop around an interface, made safe to live with.

`PacedEnv` is rtgym's ``real-time-gym-ts-v1`` environment: the interface is made and called in a thread of its own, and each step
lasts as long as it should.  Added here: ``close()`` ends that thread; an exception in the interface reaches the caller (rtgym would
wait for ever); seeds follow Gymnasium's rules; actions are checked, and no array is shared with the caller.

The clock is rtgym's elastic one, but time steps begin more exactly.  In rtgym the interface's thread sleeps until a time step ends,
wakes the driver, and is woken again with the action: two changes of threads lie between the moment and the control, and each is
as slow as a busy computer makes it.  Here the driver leaves the action ready, and the interface's thread, which the system is asked
to run soon (`tmrld.envs.scheduling`), gives it at the moment itself, before it wakes the driver: ``benchmarks/pacing.py`` has the
numbers.

In lockstep a time step has no length: it is over when it begins, in the caller's thread, so that nothing waits and no thread takes
turns with another; the interface keeps its own simulated time.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from rtgym import RealTimeGymInterface
from rtgym.envs import RealTimeEnvTS
from rtgym.envs.utils.benchmark import Benchmark

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.scheduling import run_soon
from tmrld.errors import WorldError

log = logging.getLogger(__name__)

LOCKSTEP = {"time_step_duration": 1e-9, "start_obs_capture": 0.0, "time_step_timeout_factor": 1e18}
"""rtgym parameters under which no step ever waits, and none is ever late."""


RENDER_MODES = ("rgb_array",)


class PacedEnv(RealTimeEnvTS):  # type: ignore[misc]  # rtgym has no types
    """An rtgym environment around what ``make_interface`` makes, real-time or in lockstep as ``options.clock`` says."""

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 20}  # noqa: RUF012  # Gymnasium's attribute

    is_waiting: bool  # rtgym's: paused until the next reset
    running: bool  # rtgym's: between the reset and the end of an episode

    def __init__(
        self, make_interface: Callable[[], RealTimeGymInterface], options: EnvironmentOptions, render_mode: str | None = None
    ) -> None:
        """Raises what ``make_interface`` raises; it is called in the thread in which the interface is called."""
        self.lockstep = options.clock == "lockstep"
        """Whether it waits for its driver, however long a step takes."""
        self._driven = _Interface(make_interface) if self.lockstep else _PunctualInterface(make_interface, self)
        self._outcome: tuple[list[Any], float, bool, dict[str, Any]] = [], 0.0, False, {}
        self._closed = False
        self.look_s = self.end_s = -math.inf
        """When the running time step is looked at, and when it ends, by ``time.perf_counter``."""
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
        settings = {
            "interface": self._driven.built,
            **(LOCKSTEP if self.lockstep else pace),
            "ep_max_length": options.max_steps,
            "act_buf_len": options.action_buffer,
            "reset_act_buf": options.reset_action_buffer,
            "wait_on_done": options.wait_on_done,
            "benchmark": options.benchmark,
        }
        try:
            super().__init__(settings)
        except BaseException:
            self._end_thread()
            raise
        if self.benchmark:
            self.bench = self._driven.bench = _Benchmark(self.benchmark_polyak)
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
        self._driven.raise_error()
        self._info = info
        self._late_this_episode = False
        return self._own(observation), info

    def step(self, action: Any) -> tuple[tuple[Any, ...], float, bool, bool, dict[str, Any]]:
        """Hand in the next action; returns what was captured in the time step that just ended (the action before acted in it)."""
        self._require_open()
        if not self.running:
            self._driven.raise_error()
            raise WorldError("no episode is being driven: it has ended, was let go of, or never began; call reset before step")
        checked = self._checked(action)
        if self.current_step + 1 < self.ep_max_length:  # the last action of an episode is never given
            self._driven.ready = checked
        observation, reward, terminated, truncated, info = super().step(checked)
        self._driven.raise_error()
        self._info = info
        if info.get("user_drives") and not (terminated or truncated):
            truncated = True  # what happens from here on is not the policy's doing
            self.running = False
            self.wait()
        return self._own(observation), reward, terminated, truncated, info

    @property
    def interface(self) -> RealTimeGymInterface:
        """What is driven; another one may take its place between episodes, such as one that measures it."""
        return self._driven.interface

    @interface.setter
    def interface(self, interface: RealTimeGymInterface) -> None:
        self._driven.interface = interface

    @property
    def user_drives(self) -> bool:
        """Whether a person has taken the controls over: an episode that begins now would not be the policy's."""
        return bool(getattr(self._driven.interface, "user_drives", False))

    def wait(self) -> None:
        """Pause the world, as its interface understands it, when the running time step has ended."""
        self._require_open()
        super().wait()
        self._driven.raise_error()

    def release(self) -> None:
        """Let go of the controls at once, in the middle of an episode: nobody drives until the next reset."""
        if not self._closed:
            self.running = False
            self._in_the_interfaces_thread(self._driven.release)

    def render(self) -> NDArray[np.uint8] | None:
        """The frame that belongs to the newest observation, RGB (height, width, 3), if ``render_mode`` is "rgb_array"."""
        if self.render_mode is None:
            return None
        frame: NDArray[np.uint8] = self._driven.picture(self._info)
        return frame

    def close(self) -> None:
        """Let go of the world, and end the thread; closing again does nothing."""
        if not self._closed:
            self._closed = True
            try:
                self._in_the_interfaces_thread(self._driven.close)
            finally:
                self._end_thread()

    def _in_the_interfaces_thread(self, task: Callable[[], None]) -> None:
        """Do this there, and come back when it is done.  Raises what it raises."""
        done = self._driven.instead_of_pausing(task)
        super().wait()
        done.result()

    def _end_thread(self) -> None:
        RealTimeEnvTS.__del__(self)

    def _get_action_space(self) -> Any:
        """Called by rtgym when it is made, once the interface was."""
        self._driven.raise_error()
        return super()._get_action_space()

    def _initialize_time(self) -> None:
        """Called by rtgym within each reset.  The first time step begins now and cannot be late."""
        super()._initialize_time()
        self.end_s = time.perf_counter()
        self.is_waiting = True

    def _run_time_step(self, action: NDArray[np.float32]) -> None:
        """Called by rtgym to begin a time step."""
        if self.lockstep:
            self._driven.send_control(action)
            self._outcome = self._driven.get_obs_rew_terminated_info()
        else:
            self._driven.ready = None
            super()._run_time_step(action)

    def _retrieve_obs_rew_terminated_info(self) -> Any:
        """Called by rtgym for what was captured in the time step that just ended."""
        return self._outcome if self.lockstep else super()._retrieve_obs_rew_terminated_info()

    def _update_timestamps(self) -> None:
        """Called by rtgym at the start of each time step: `begin_time_step` was called by then.

        The moments that rtgym has noted for itself, at the reset, are over, so that it never waits.
        """

    def begin_time_step(self) -> None:
        """Called in the interface's thread when a control was given: works out when this time step is looked at, and ends.

        It begins when the one before ended, so that small delays do not add up; after a large one the clock starts anew.  Such
        late steps are counted, and logged once per episode, unless the world was paused.
        """
        now = time.perf_counter()
        start = self.end_s
        if now >= start + self.time_step_timeout:
            start = now
            if not self.is_waiting:
                if not self._late_this_episode:
                    log.warning("a time step began more than %.3f s late: the clock was restarted", self.time_step_timeout)
                self._late_this_episode = True
                self.late_steps += 1
        self.is_waiting = False
        self.look_s = start + self.start_obs_capture
        self.end_s = start + self.time_step_duration

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


def _sleep_until(moment_s: float) -> None:
    """One sleep, if it is not too late already."""
    delay_s = moment_s - time.perf_counter()
    if delay_s > 0.0:
        time.sleep(delay_s)


class _Benchmark(Benchmark):  # type: ignore[misc]  # rtgym has no types
    """rtgym's, for whose moments its environment is too early or too late: `_Interface` calls the methods of the base."""

    def start_send_control_time(self) -> None:
        """Perhaps the control was given already."""

    def end_send_control_time(self) -> None:
        """The same."""

    def start_get_obs_time(self) -> None:
        """It is not yet time to look."""

    def end_get_obs_time(self) -> None:
        """This was some time ago."""


class _Interface(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """Makes the interface, and passes every call on.

    An exception is kept for the caller's thread: rtgym's own thread would die of it unheard.
    """

    def __init__(self, make_interface: Callable[[], RealTimeGymInterface]) -> None:
        self.interface: Any = None
        self.bench: Any = None
        """Is told how long controls and looks take, if anybody wants to know."""
        self.ready: NDArray[np.float32] | None = None
        """The next control, if it has been chosen."""
        self._make_interface = make_interface
        self._error: Exception | None = None
        self._last: list[Any] = []
        self._task: tuple[Callable[[], None], Future[None]] | None = None

    def built(self) -> _Interface:
        """With its interface; called by rtgym in its thread."""
        try:
            self.interface = self._make_interface()
        except Exception as error:
            self._error = error
        return self

    def get_observation_space(self) -> Any:
        return self._answer("get_observation_space")

    def get_action_space(self) -> Any:
        return self._answer("get_action_space")

    def get_default_action(self) -> Any:
        return self._answer("get_default_action")

    def _answer(self, question: str) -> Any:
        if self._error is None:
            try:
                return getattr(self.interface, question)()
            except Exception as error:
                self._error = error
        return None

    def raise_error(self) -> None:
        """Raise what the interface raised, in the thread of whoever asked for the step; a reset tries again."""
        if self._error is not None:
            raise self._error

    def send_control(self, control: NDArray[np.float32] | None) -> None:
        if self.bench is not None:
            Benchmark.start_send_control_time(self.bench)
        if self._error is None:
            try:
                self.interface.send_control(control)
            except Exception as error:
                self._error = error
        if self.bench is not None:
            Benchmark.end_send_control_time(self.bench)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[list[Any], dict[str, Any]]:
        self._error = None
        try:
            self._last, info = self.interface.reset(seed=seed, options=options)
        except Exception as error:
            self._error = error
            return [], {}
        return list(self._last), info

    def get_obs_rew_terminated_info(self) -> tuple[list[Any], float, bool, dict[str, Any]]:
        outcome: tuple[list[Any], float, bool, dict[str, Any]] = [], math.nan, True, {}
        if self.bench is not None:
            Benchmark.start_get_obs_time(self.bench)
        if self._error is None:
            try:
                outcome = self.interface.get_obs_rew_terminated_info()
            except Exception as error:
                self._error = error
        if self.bench is not None:
            Benchmark.end_get_obs_time(self.bench)
        return outcome

    def instead_of_pausing(self, task: Callable[[], None]) -> Future[None]:
        """What rtgym's next call of `wait` shall do, and what becomes of it."""
        done: Future[None] = Future()
        self._task = task, done
        return done

    def wait(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            _do(*task)
            return
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


class _PunctualInterface(_Interface):
    """In rtgym's thread: looks when it is time to, and gives the next control, if it is ready, as the time step ends."""

    def __init__(self, make_interface: Callable[[], RealTimeGymInterface], env: PacedEnv) -> None:
        super().__init__(make_interface)
        self._env = env
        self._given = False

    def built(self) -> _Interface:
        run_soon()
        return super().built()

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[list[Any], dict[str, Any]]:
        self.ready, self._given = None, False
        return super().reset(seed, options)

    def send_control(self, control: NDArray[np.float32] | None) -> None:
        """Called by rtgym to begin a time step, if that has not begun yet: the first, and after a late driver."""
        if self._given:
            self._given = False
        else:
            self._begin(control)

    def get_obs_rew_terminated_info(self) -> tuple[list[Any], float, bool, dict[str, Any]]:
        _sleep_until(self._env.look_s)
        outcome = super().get_obs_rew_terminated_info()
        _sleep_until(self._env.end_s)
        control, self.ready = self.ready, None
        if control is not None and not outcome[2]:  # unless it has terminated
            self._begin(control)
            self._given = True
        return outcome

    def _begin(self, control: NDArray[np.float32] | None) -> None:
        super().send_control(control)
        self._env.begin_time_step()


def _do(task: Callable[[], None], done: Future[None]) -> None:
    try:
        task()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)
