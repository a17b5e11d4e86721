"""Steps that last as long as they should, around an interface that keeps to one thread, may fail, and may be taken over."""

from __future__ import annotations

import threading
import time
from typing import Any, Literal

import numpy as np
import pytest
import rtgym.envs.utils.benchmark
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from rtgym import RealTimeGymInterface

from tests.envs.virtual_time import PATIENCE_S, VirtualEnv
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.errors import WorldError

Clock = Literal["lockstep", "realtime"]

ACTION = np.zeros(1, np.float32)
STEP_S, LOOK_S = 0.5, 0.25
"""On the virtual clock, where they are exact."""

both_clocks = pytest.mark.parametrize("clock", ["lockstep", "realtime"])


class Counter(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """Shows how many controls it was given, and writes down what was asked of it: each word with its thread and moment."""

    def __init__(self, broken: str = "", at: int = 0, taken_at: int | None = None, ends_at: int | None = None) -> None:
        """After ``at`` controls, what ``broken`` names fails; a person takes over and the episode ends after so many of them."""
        self.calls: list[tuple[str, int, float]] = []
        self.controls: list[float] = []
        self.clock: Any = time
        self._broken = broken
        self._at = at
        self._taken_at = taken_at
        self._ends_at = ends_at
        self._asked("make")

    @property
    def words(self) -> list[str]:
        return [word for word, _, _ in self.calls]

    @property
    def user_drives(self) -> bool:
        return self._taken_at is not None and len(self.controls) >= self._taken_at

    def get_observation_space(self) -> Any:
        self._asked("observation_space")
        return spaces.Tuple((spaces.Box(0, 100, (1,), np.float32),))

    def get_action_space(self) -> Any:
        self._asked("action_space")
        return spaces.Box(-100, 100, (1,), np.float32)

    def get_default_action(self) -> Any:
        self._asked("default_action")
        return np.zeros(1, np.float32)

    def send_control(self, control: Any) -> None:
        self._asked("control")
        self.controls.append(float(control[0]))

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        self._asked("reset")
        self.controls = []
        return [np.zeros(1, np.float32)], {}

    def get_obs_rew_terminated_info(self) -> Any:
        self._asked("look")
        count = len(self.controls)
        info = {"thread": threading.get_ident(), "user_drives": self.user_drives}
        return [np.full(1, count, np.float32)], 1.0, count == self._ends_at, info

    def wait(self) -> None:
        self._asked("wait")

    def release(self) -> None:
        self._asked("release")

    def close(self) -> None:
        self._asked("close")

    def _asked(self, word: str) -> None:
        self.calls.append((word, threading.get_ident(), self.clock.perf_counter()))
        if word == self._broken and len(self.controls) >= self._at:
            raise OSError(f"the cable was pulled: {word}")


def options(clock: Clock, **settings: Any) -> EnvironmentOptions:
    return EnvironmentOptions(clock=clock, time_step_s=0.002, start_obs_capture_s=0.001, **settings)


def paced(interface: Counter, clock: Clock, **settings: Any) -> PacedEnv:
    return PacedEnv(lambda: interface, options(clock, **settings))


def virtual(early: bool = True, kwargs: dict[str, Any] | None = None, **settings: Any) -> tuple[VirtualEnv, Counter]:
    """A counter in real time, whose clock is virtual, and the counter."""
    chosen = EnvironmentOptions(
        id=f"{__name__}:Counter", kwargs=kwargs or {}, time_step_s=STEP_S, start_obs_capture_s=LOOK_S, **settings
    )
    env = VirtualEnv(chosen, early=early)
    env.env.interface.clock = env.time
    return env, env.env.interface


def action(value: float) -> Any:
    return np.full(1, value, np.float32)


def moments(counter: Counter, word: str) -> list[float]:
    return [moment for called, _, moment in counter.calls if called == word]


def test_in_lockstep_steps_run_in_the_drivers_own_thread() -> None:
    env = paced(Counter(), "lockstep")
    env.reset()
    info = env.step(ACTION)[-1]
    env.close()

    assert info["thread"] == threading.get_ident()


def test_in_real_time_the_interface_is_made_and_called_in_one_thread_of_its_own() -> None:
    made: list[Counter] = []

    def make() -> Counter:
        made.append(Counter())
        return made[-1]

    env = PacedEnv(make, options("realtime"))
    env.reset()
    for _ in range(3):
        env.step(ACTION)
    env.wait()
    env.reset()
    env.release()
    env.close()

    assert {"make", "action_space", "reset", "control", "look", "wait", "release", "close"} <= set(made[0].words)
    assert threading.get_ident() not in {thread for _, thread, _ in made[0].calls}
    assert len({thread for _, thread, _ in made[0].calls}) == 1


@both_clocks
def test_each_step_returns_what_the_control_before_it_led_to(clock: Clock) -> None:
    env = paced(Counter(), clock)
    env.reset()
    seen = [env.step(ACTION)[0][0].item() for _ in range(4)]
    env.close()

    assert seen == [1, 2, 3, 4]  # the first control is the default action, given by the reset


def test_in_lockstep_an_exception_reaches_the_driver_in_the_step_that_led_to_it() -> None:
    env = paced(Counter("look", at=3), "lockstep")
    env.reset()
    env.step(ACTION)
    with pytest.raises(OSError, match="cable"):
        env.step(ACTION)
    env.reset()

    assert env.step(ACTION)[0][0].item() == 1
    env.close()


@both_clocks
@pytest.mark.parametrize(
    "broken",
    ["make", "observation_space", "action_space", "default_action", "reset", "control", "look", "wait", "release", "close"],
)
def test_an_exception_reaches_the_caller_and_the_thread_ends_all_the_same(broken: str, clock: Clock) -> None:
    before = set(threading.enumerate())

    def drive() -> None:
        env = PacedEnv(lambda: Counter(broken), options(clock))
        try:
            env.reset()
            for _ in range(3):
                env.step(ACTION)
            env.wait()
            env.release()
        finally:
            env.close()

    with pytest.raises(OSError, match=f"the cable was pulled: {broken}"):
        drive()
    assert set(threading.enumerate()) <= before


@both_clocks
def test_after_an_exception_the_next_reset_tries_again(clock: Clock) -> None:
    counter = Counter("look", at=2)
    env = paced(counter, clock)
    env.reset()

    def drive_on() -> None:
        for _ in range(3):
            env.step(ACTION)

    for _ in range(2):  # the second time without a reset
        with pytest.raises(OSError, match="cable"):
            drive_on()
    counter._broken = ""
    env.reset()

    assert env.step(ACTION)[0][0].item() == 1
    env.close()


@pytest.mark.parametrize("early", [True, False])
def test_controls_and_looks_lie_on_an_even_grid(early: bool) -> None:
    env, counter = virtual(early)
    env.time.now = 10.0
    env.reset(0)
    for k in range(1, 4):
        env.step(action(k))
    env.close()

    assert moments(counter, "control")[:4] == [10.0, 10.5, 11.0, 11.5]
    assert moments(counter, "look")[:3] == [10.25, 10.75, 11.25]
    assert counter.controls == [0, 1, 2, 3]


def test_a_control_is_given_at_the_moment_itself_however_slowly_the_driver_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    env, counter = virtual()
    retrieve = env.env._retrieve_obs_rew_terminated_info

    def drowsily() -> Any:
        env.time.now += 0.125
        return retrieve()

    monkeypatch.setattr(env.env, "_retrieve_obs_rew_terminated_info", drowsily)
    env.reset(0)
    for k in range(1, 4):
        env.step(action(k))
    env.close()

    assert moments(counter, "control") == [0.0, 0.5, 1.0, 1.5]
    assert moments(counter, "look")[:3] == [0.25, 0.75, 1.25]


def test_an_action_that_is_ready_before_the_time_step_has_begun_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver may be quicker than the thread: it waits for the end of a time step whose own control was not given yet."""
    driver_waits = threading.Event()
    waited: list[None] = []
    waited_before_control: list[int] = []

    class Attentive(Counter):
        def send_control(self, control: Any) -> None:
            waited_before_control.append(len(waited))
            super().send_control(control)

    env = paced(Attentive(), "realtime")
    begin, wait = env._driven.send_control, env._wait_thread

    def slowly(control: Any) -> None:
        assert driver_waits.wait(PATIENCE_S)
        monkeypatch.undo()
        begin(control)

    def observed() -> None:
        driver_waits.set()
        wait()
        waited.append(None)
        driver_waits.clear()

    env._wait_thread = observed
    monkeypatch.setattr(env._driven, "send_control", slowly)
    env.reset()
    before = len(waited)
    env.step(ACTION)
    env.close()

    assert waited_before_control == [before, before]


def test_an_action_of_a_driver_that_was_interrupted_is_not_given_in_the_next_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    env, counter = virtual()
    env.reset(0)
    monkeypatch.setattr(env.env, "_retrieve_obs_rew_terminated_info", interrupted)
    with pytest.raises(KeyboardInterrupt):
        env.step(action(7))
    monkeypatch.undo()
    env.reset(1)
    for k in range(1, 4):
        env.step(action(k))
    env.close()

    assert counter.controls == [0, 1, 2, 3]


def interrupted() -> Any:
    raise KeyboardInterrupt


@given(st.lists(st.sampled_from([0.0, 0.125, 0.75]), min_size=1, max_size=12), st.booleans(), st.booleans())
@settings(max_examples=30)
def test_each_action_but_the_last_is_given_once_and_in_order(late: list[float], early: bool, terminated: bool) -> None:
    count = len(late)
    env, counter = virtual(early, {"ends_at": count} if terminated else {}, max_steps=1000 if terminated else count)
    env.reset(0)
    for k, late_s in enumerate(late, 1):
        *_, ends, is_cut, _ = env.step(action(k), late_s)
    env.close()

    assert (ends, is_cut) == (terminated, not terminated)
    assert counter.controls == list(range(count))


def test_on_the_wall_clock_each_action_but_the_last_is_given_once_and_in_order() -> None:
    counter = Counter()
    env = PacedEnv(
        lambda: counter, EnvironmentOptions(clock="realtime", time_step_s=0.001, start_obs_capture_s=0.0005, max_steps=100)
    )
    env.reset()
    for k in range(1, 101):
        env.step(action(k % 50))
    env.close()

    assert counter.controls == [k % 50 for k in range(100)]


def test_a_policy_that_hangs_gives_no_control_again_so_that_a_guard_misses_it() -> None:
    counter = Counter()
    step_s = 0.01
    env = PacedEnv(lambda: counter, EnvironmentOptions(clock="realtime", time_step_s=step_s, start_obs_capture_s=step_s / 2))
    env.reset()
    for k in range(1, 4):
        env.step(action(k))
    time.sleep(20 * step_s)
    given_meanwhile = list(counter.controls)
    env.step(action(4))
    env.close()

    assert given_meanwhile == [0, 1, 2, 3]
    assert counter.controls == [0, 1, 2, 3, 4]


@both_clocks
def test_an_episode_that_a_person_takes_over_is_cut_off(clock: Clock) -> None:
    counter = Counter(taken_at=3)
    env = paced(counter, clock)
    env.reset()
    assert not env.user_drives
    steps: list[Any] = []
    while not steps or not steps[-1][3]:
        steps.append(env.step(ACTION))

    assert [bool(step[-1]["user_drives"]) for step in steps] == [False, False, True]
    assert not any(step[2] for step in steps)
    assert counter.words[-1] == "wait"
    assert env.user_drives
    with pytest.raises(WorldError, match="reset"):
        env.step(ACTION)
    env.reset()
    assert not env.step(ACTION)[3]
    env.close()


@both_clocks
def test_controls_are_let_go_of_in_the_middle_of_an_episode(clock: Clock) -> None:
    counter = Counter()
    env = paced(counter, clock)
    env.release()  # nothing is held yet
    env.reset()
    env.step(ACTION)
    env.release()
    env.release()
    assert counter.words[-2:] == ["release", "release"]
    with pytest.raises(WorldError, match="call reset"):
        env.step(ACTION)
    assert counter.words[-1] == "release"
    env.reset()
    assert env.step(ACTION)[0][0].item() == 1
    env.close()
    env.release()

    assert counter.words[-1] == "close"


def test_an_interface_that_holds_nothing_is_let_go_of_and_closed_all_the_same() -> None:
    class Plain(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
        get_observation_space = Counter.get_observation_space
        get_action_space = Counter.get_action_space
        get_default_action = Counter.get_default_action

        def _asked(self, word: str) -> None:
            pass

    env = PacedEnv(Plain, options("realtime"))
    env.release()
    env.close()

    assert not env._at_thread.is_alive()


@both_clocks
def test_closing_closes_the_interface_once(clock: Clock) -> None:
    counter = Counter()
    env = paced(counter, clock)
    env.reset()
    env.close()
    env.close()

    assert counter.words.count("close") == 1
    assert counter.words[-1] == "close"
    for call in (env.reset, env.wait, lambda: env.step(ACTION)):
        with pytest.raises(WorldError, match="closed"):
            call()


def test_nothing_is_driven_before_the_first_reset() -> None:
    env = paced(Counter(), "realtime")
    with pytest.raises(WorldError, match="call reset"):
        env.step(ACTION)
    env.close()


@both_clocks
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("ends_at", [2, None], ids=["terminated", "truncated"])
def test_the_world_pauses_at_the_end_of_an_episode_if_wanted(clock: Clock, waits: bool, ends_at: int | None) -> None:
    counter = Counter(ends_at=ends_at)
    env = paced(counter, clock, wait_on_done=waits, max_steps=2)
    env.reset()
    env.step(ACTION)
    env.step(ACTION)
    env.close()

    assert counter.words.count("wait") == waits
    assert counter.words[-2:] == ["wait" if waits else "look", "close"]


def test_the_last_time_step_is_whole_before_the_world_pauses() -> None:
    env, counter = virtual(max_steps=2)
    env.reset(0)
    env.step(ACTION)
    env.step(ACTION)
    env.close()

    assert moments(counter, "wait") == [2 * STEP_S]


def test_a_world_that_was_paused_within_an_episode_goes_on_with_the_next_step() -> None:
    env, counter = virtual()
    env.reset(0)
    env.step(action(1))
    env._on_time(env.env.wait)
    env.time.now = 50.0
    env.step(action(2))
    env.step(action(3))
    env.close()

    assert moments(counter, "wait") == [1.0]
    assert moments(counter, "control") == [0.0, 0.5, 50.0, 50.5]
    assert env.env.late_steps == 0


@pytest.mark.parametrize(("begins_empty", "shown"), [(True, [0, 0]), (False, [2, 0])])
@both_clocks
def test_an_episode_begins_with_the_actions_before_it_if_wanted(clock: Clock, begins_empty: bool, shown: list[int]) -> None:
    env = paced(Counter(), clock, reset_action_buffer=begins_empty, action_buffer=2, max_steps=3)
    env.reset()
    last = [env.step(action(k))[0][1:] for k in (1, 2, 3)][-1]
    first = env.reset()[0][1:]
    env.close()

    assert [part.item() for part in last] == [2, 3]
    assert [part.item() for part in first] == shown  # the last action was never given: the default one is


class Busy(Counter):
    """Controls take 1/64 s, looks 1/8 s."""

    def send_control(self, control: Any) -> None:
        super().send_control(control)
        self.clock.now += 1 / 64

    def get_obs_rew_terminated_info(self) -> Any:
        self.clock.now += 1 / 8
        return super().get_obs_rew_terminated_info()


@pytest.mark.parametrize("early", [True, False])
def test_rtgyms_measurements_tell_work_from_waiting(early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that takes 1/16 s, if it is early."""
    env, _ = virtual(early, benchmark=True)
    env.env.interface = Busy()
    env.env.interface.clock = env.time
    monkeypatch.setattr(rtgym.envs.utils.benchmark, "time", env.time)
    env.reset(0)
    for _ in range(4):
        env.time.now += early / 16
        env.step(ACTION)
    measured = env.env.benchmarks()
    env.close()

    assert measured["time_step_duration"] == (STEP_S, 0.0)
    assert measured["send_control_duration"] == (1 / 64, 0.0)
    assert measured["get_obs_duration"] == (1 / 8, 0.0)
    if early:
        assert measured["inference_duration"] == (1 / 16, 0.0)
        assert measured["step_duration"] == measured["join_duration"] == (STEP_S - 1 / 16, 0.0)


@both_clocks
def test_rtgyms_measurements_are_there_if_wanted(clock: Clock) -> None:
    env = paced(Counter(), clock, benchmark=True)
    env.reset()
    for _ in range(3):
        env.step(ACTION)
    measured = env.benchmarks()
    env.close()

    assert set(measured) == {
        *("time_step_duration", "step_duration", "join_duration", "inference_duration"),
        *("send_control_duration", "get_obs_duration"),
    }
    assert all(mean >= 0 and deviation >= 0 for mean, deviation in measured.values())


def test_rtgyms_measurements_are_not_there_otherwise() -> None:
    env = paced(Counter(), "lockstep")
    with pytest.raises(AssertionError, match="benchmark option"):
        env.benchmarks()
    env.close()
