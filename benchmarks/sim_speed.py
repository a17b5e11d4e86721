"""How many steps per second the simulated LIDAR environment makes in lockstep, through rtgym, on one core.

A recorded drive of the scripted driver is replayed, so that the car is on the road at ordinary speed and no policy is timed.
Peers, measured in the same run: rtgym around an interface that does nothing, and our interface without rtgym.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from report import print_report
from rtgym import RealTimeGymInterface

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import make
from tmrld.envs.sim.env import sim_interface
from tmrld.envs.sim.scripted import scripted

TARGET = 5000.0


class Nothing(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """The least an rtgym interface can do."""

    def get_observation_space(self) -> Any:
        return spaces.Tuple((spaces.Box(0, 1, (1,), np.float32),))

    def get_action_space(self) -> Any:
        return spaces.Box(-1, 1, (3,), np.float32)

    def get_default_action(self) -> Any:
        return np.zeros(3, np.float32)

    def send_control(self, control: Any) -> None:
        pass

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        return [np.zeros(1, np.float32)], {}

    def get_obs_rew_terminated_info(self) -> Any:
        return [np.zeros(1, np.float32)], 0.0, False, {}


def recorded_drive(options: EnvironmentOptions) -> list[Any]:
    """The actions of the scripted driver over one lap."""
    env = make(options)
    observation, _ = env.reset(seed=0)
    actions, ended = [], False
    while not ended:
        actions.append(scripted(observation))
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        ended = terminated or truncated
    env.close()
    return actions


def stepping(env: Any, actions: list[Any]) -> Callable[[int], None]:
    """Replays the drive as often as it takes, through ``env``."""

    def run(steps: int) -> None:
        done = 0
        while done < steps:
            env.reset(seed=0)
            for action in actions[: steps - done]:
                env.step(action)
            done += len(actions)

    return run


def calling(interface: Any, actions: list[Any]) -> Callable[[int], None]:
    """The same without rtgym: the interface's own two calls per step."""

    def run(steps: int) -> None:
        done = 0
        while done < steps:
            interface.reset(seed=0)
            for action in actions[: steps - done]:
                interface.send_control(action)
                interface.get_obs_rew_terminated_info()
            done += len(actions)

    return run


def rate(run: Callable[[int], None], steps: int) -> float:
    """Steps per second."""
    start = time.perf_counter()
    run(steps)
    return steps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000, help="steps per repeat (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="repeats, of which the median counts (default: %(default)s)")
    parser.add_argument("--track", default="default", help="track of the simulator (default: %(default)s)")
    arguments = parser.parse_args()

    if hasattr(os, "sched_setaffinity"):  # one core, as a worker's engine has; rtgym's two threads hand over faster there
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    options = EnvironmentOptions(track=arguments.track, max_steps=100_000)
    actions = recorded_drive(options)[:-2]  # before the finish, so that no repeat ends early
    actions = [action.astype(np.float32) for action in actions]
    env, bare = make(options), PacedEnv(Nothing(), options)
    runs = {
        "sim": stepping(env, actions),
        "rtgym around nothing": stepping(bare, actions),
        "sim without rtgym": calling(sim_interface(options), actions),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(min(500, arguments.steps))
    for _ in range(arguments.repeats):  # taking turns, so that a busy moment of the machine hits all alike
        for name, run in runs.items():
            rates[name].append(rate(run, arguments.steps))
    env.close()
    bare.close()

    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    value = medians.pop("sim")
    print_report(
        "sim_speed",
        [
            {
                "metric": "sim_steps_per_s",
                "value": value,
                "unit": "steps/s",
                "target": TARGET,
                "best": round(max(rates["sim"]), 1),
                "peers": medians,
            }
        ],
    )


if __name__ == "__main__":
    main()
