"""Driving to see whether this machine keeps time: `tmrld env bench`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from tmrld.envs.measuring import Timed
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import describe, keeps_real_time, make
from tmrld.envs.timekeeping import Distribution
from tmrld.errors import BadInput
from tmrld.worker.driving import await_hands_off, driver_named
from tmrld.worker.options import EvaluationOptions

RTGYM = {
    "step": "time_step_duration",
    "capture": "get_obs_duration",
    "inference": "inference_duration",
    "control": "send_control_duration",
}
"""What rtgym's own benchmark calls what is measured here."""


@dataclass(frozen=True)
class Measured:
    """What was measured, in seconds.

    ``step`` holds how far each time step began from its place on the grid, positive is late, and is empty in lockstep; the others are
    durations.  ``rtgym`` has rtgym's own averages, each with its average deviation, under the same names.
    """

    steps: int
    episodes: int
    late: int
    seconds: float
    step: list[float]
    capture: list[float]
    inference: list[float]
    control: list[float]
    rtgym: dict[str, tuple[float, float]]

    def distributions(self) -> dict[str, Distribution | None]:
        """Each by its name."""
        return {name: Distribution.of(getattr(self, name)) for name in RTGYM}


def measured(
    options: EnvironmentOptions,
    policy: str,
    steps: int,
    seed: int,
    *,
    perturbed: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> Measured:
    """Drive so many steps, through as many episodes as that takes.

    Raises BadInput where there is no rtgym loop to measure, and for what cannot wait as lockstep has it.
    """
    env = make(options.model_copy(update={"benchmark": True}))
    try:
        own = env.unwrapped
        if not isinstance(own, PacedEnv):
            raise BadInput(f"{options.id} goes by no clock that could be measured: ours do, and rtgym interfaces of your own")
        real_time = keeps_real_time(env, options)
        if real_time and options.clock == "lockstep":
            raise BadInput(f"--lockstep lets the world wait, and {options.id} goes by the wall clock alone: leave it out")
        timed = own.interface = Timed(own.interface)
        driver = driver_named(policy, describe(env, options), seed)
        inference: list[float] = []
        took_s, left = 0.0, steps
        for number in itertools.count(seed):
            await_hands_off(env, options, say)
            driver.begin()
            observation, info = env.reset(seed=number, options=EvaluationOptions().start if perturbed else None)
            began = time.perf_counter()
            ended = False
            while left and not ended:
                asked = time.perf_counter()
                choice = driver.choose(observation, info)
                inference.append(time.perf_counter() - asked)
                observation, _, terminated, truncated, info = env.step(choice.action)
                ended = terminated or truncated
                left -= 1
            took_s += time.perf_counter() - began
            if not left:
                break
        own_numbers = own.benchmarks()
        rtgym = {name: own_numbers[theirs] for name, theirs in RTGYM.items() if own_numbers[theirs][0] is not None}
        return Measured(
            steps=steps,
            episodes=len(timed.episodes),
            late=own.late_steps,
            seconds=took_s,
            step=timed.errors(options) if real_time else [],
            capture=timed.looks,
            inference=inference,
            control=timed.controls,
            rtgym=rtgym,
        )
    finally:
        env.close()
