"""How many steps per second one simulated car makes in lockstep, through rtgym, on one core: with LIDAR, and with images.

A recorded drive of the scripted driver is replayed, so that the car is on the road at ordinary speed and no policy is timed.
Images are 4 × 64 × 64 in gray, made of a window of 256 × 128.  Peers, measured in the same run: steps per second of processor
time (which hardly depends on what else the machine does), our interface without rtgym, and rtgym around one that does nothing.
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

from tmrld.envs.options import FULL_ID, LIDAR_ID, EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import make
from tmrld.envs.sim.env import sim_interface
from tmrld.envs.sim.scripted import scripted

TARGETS = {"sim_steps_per_s": (LIDAR_ID, 10_000.0), "sim_full_steps_per_s": (FULL_ID, 4_000.0)}
"""Of each metric: which flavour it measures, and what must be reached."""


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


def rate(run: Callable[[int], None], steps: int) -> tuple[float, float]:
    """Steps per second, and per second of processor time."""
    start, busy = time.perf_counter(), time.process_time()
    run(steps)
    return steps / (time.perf_counter() - start), steps / (time.process_time() - busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000, help="steps per repeat (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="repeats, of which the median counts (default: %(default)s)")
    parser.add_argument("--track", default="default", help="track of the simulator (default: %(default)s)")
    arguments = parser.parse_args()

    if hasattr(os, "sched_setaffinity"):  # one core, as a worker's engine has
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lidar = EnvironmentOptions(track=arguments.track, max_steps=100_000)
    actions = recorded_drive(lidar)[:-2]  # before the finish, so that no repeat ends early
    nothing = PacedEnv(Nothing, lidar)
    runs = {"rtgym around nothing": stepping(nothing, actions)}
    environments: list[Any] = [nothing]
    for metric, (flavour, _) in TARGETS.items():
        options = lidar.model_copy(update={"id": flavour})
        environments.append(make(options))
        runs[metric] = stepping(environments[-1], actions)
        runs[f"{metric} without rtgym"] = calling(sim_interface(options), actions)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for run in runs.values():
        run(min(500, arguments.steps))
    for _ in range(arguments.repeats):  # taking turns, so that a busy moment of the machine hits all alike
        for name, run in runs.items():
            rates[name].append(rate(run, arguments.steps))
    for environment in environments:
        environment.close()

    def median(name: str, column: int = 0) -> float:
        return round(statistics.median(values[column] for values in rates[name]), 1)

    print_report(
        "sim_speed",
        [
            {
                "metric": metric,
                "value": median(metric),
                "unit": "steps/s",
                "target": target,
                "best": round(max(rates[metric])[0], 1),
                "peers": {
                    "per processor second": median(metric, 1),
                    "without rtgym": median(f"{metric} without rtgym"),
                    "rtgym around nothing": median("rtgym around nothing"),
                },
            }
            for metric, (_, target) in TARGETS.items()
        ],
    )


if __name__ == "__main__":
    main()
