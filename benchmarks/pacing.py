"""How exact real time is: how far from an even grid each step's control is given, while a trainer keeps the processor busy.

The error of step k is how far the moment lies from ``t0 + k * step``.  The moment is that at which the interface's ``send_control``
is called, read off ``time.perf_counter``; t0 is when the clock of the episode began, which rtgym does within the reset (for the bare
loop: its first deadline).  A control that is a whole step late counts with that error, and the grid goes on from it, as rtgym's clock
does; such restarts are counted.  The driver is a loop that answers at once.  Three contenders, each with a grid of its own:

- ours: an interface that does nothing, in the environment that `tmrld.envs.registry` makes of it;
- rtgym: the same interface in ``real-time-gym-ts-v1``, with the same settings;
- bare sleep: a loop that sleeps until each deadline, counted from the first: the least that a program can do.

They run at the same time, so that whatever else the machine does hits all alike: in turns, one would meet a busy minute, and another
would not.  Each is a process of its own that sleeps all but one or two per cent of a step, and they begin a quarter of a step apart,
so that none is awake when another is due; the fourth is ours with a policy network of numpy.  Nothing is pinned to a core: the
trainer, one thread of Soft Actor-Critic updates, is moved about by the system as on anybody's machine.

    python benchmarks/pacing.py --csv benchmarks/results/pacing.csv --png benchmarks/results/pacing.png
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from plotting import histograms
from report import print_report
from rtgym import DEFAULT_CONFIG_DICT, RealTimeGymInterface
from training import keep

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import make

RATES_HZ = (20, 100)
CAPTURE = 0.8
"""When in a step the observation is captured, as a share of it; TMRL's 0.04 of 0.05 s."""
SLACK_MS = 0.5
"""How much worse than a bare loop we may be, at the worst step of a thousand."""
START_S = 1.0
"""From when all processes are ready until the first one begins."""

Moments = list[float]


class Nothing(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """An interface that does nothing but note when it is given a control."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments

    def get_observation_space(self) -> Any:
        return spaces.Tuple((spaces.Box(0, 1, (83,), np.float32),))

    def get_action_space(self) -> Any:
        return spaces.Box(-1, 1, (3,), np.float32)

    def get_default_action(self) -> Any:
        return np.zeros(3, np.float32)

    def send_control(self, control: Any) -> None:
        self._moments.append(time.perf_counter())

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        return [np.zeros(83, np.float32)], {}

    def get_obs_rew_terminated_info(self) -> Any:
        return [np.zeros(83, np.float32)], 0.0, False, {}


@dataclass(frozen=True, eq=False)
class Timing:
    """The moments at which a contender gave its controls, and the one from which its grid counts."""

    t0: float
    moments: Moments
    processor_share: float

    def errors_ms(self, step_s: float) -> tuple[NDArray[np.float64], int]:
        """How far each moment lies from the grid, and how often the grid began anew."""
        due, errors, restarts = self.t0, [], 0
        for moment in self.moments:
            errors.append(abs(moment - due) * 1000.0)
            if moment - due >= step_s:
                due, restarts = moment, restarts + 1
            due += step_s
        return np.array(errors), restarts


def ours(steps: int, step_s: float, begin: float, choose: Callable[[Any], Any]) -> Timing:
    """`PacedEnv`, as a worker drives it."""
    moments: Moments = []
    options = EnvironmentOptions(
        id="pacing:Nothing",
        kwargs={"moments": moments},
        time_step_s=step_s,
        start_obs_capture_s=CAPTURE * step_s,
        max_steps=10**8,
    )
    return driven(make(options), moments, steps, begin, choose)


def rtgyms(steps: int, step_s: float, begin: float, choose: Callable[[Any], Any]) -> Timing:
    """rtgym's own environment."""
    moments: Moments = []
    config = {
        **DEFAULT_CONFIG_DICT,
        "interface": Nothing,
        "interface_args": (moments,),
        "time_step_duration": step_s,
        "start_obs_capture": CAPTURE * step_s,
        "act_buf_len": 2,
    }
    env = gymnasium.make("real-time-gym-ts-v1", config=config, disable_env_checker=True)
    return driven(env, moments, steps, begin, choose)


def driven(env: gymnasium.Env[Any, Any], moments: Moments, steps: int, begin: float, choose: Callable[[Any], Any]) -> Timing:
    """One episode of so many steps."""
    paced: Any = env.unwrapped
    began: list[float] = []
    start_clock = paced._initialize_time

    def noted() -> None:
        start_clock()
        began.append(time.perf_counter())

    paced._initialize_time = noted
    sleep_until(begin)
    busy = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rtgym warns of late steps; they are counted here
        observation, _ = env.reset()
        for _ in range(steps):
            observation, *_ = env.step(choose(observation))
    paced.stop()
    busy = time.process_time() - busy
    env.close()
    return Timing(began[0], moments[:steps], busy / (moments[-1] - began[0]))


def bare_sleep(steps: int, step_s: float, begin: float, choose: Callable[[Any], Any]) -> Timing:
    """Nothing but sleeping until the next deadline."""
    observation = np.zeros(83, np.float32)
    moments: Moments = []
    sleep_until(begin)
    busy = time.process_time()
    due = t0 = time.perf_counter()
    for _ in range(steps):
        sleep_until(due)
        now = time.perf_counter()
        moments.append(now)
        if now - due >= step_s:
            due = now
        due += step_s
        choose(observation)
    return Timing(t0, moments, (time.process_time() - busy) / (moments[-1] - t0))


def sleep_until(moment: float) -> None:
    """One sleep, if it is not too late already."""
    delay = moment - time.perf_counter()
    if delay > 0.0:
        time.sleep(delay)


CONTENDERS = {"ours": ours, "rtgym": rtgyms, "bare sleep": bare_sleep, "ours, with a policy": ours}
METRICS = {
    "ours": "step_error_{rate}hz_p999_ms",
    "ours, with a policy": "step_error_{rate}hz_policy_p999_ms",
    "bare sleep": "bare_sleep_{rate}hz_p999_ms",
    "rtgym": "rtgym_error_{rate}hz_p999_ms",
}


def contend(name: str, step_s: float, steps: int, pipe: Connection) -> None:
    """The process of one contender: says that it is ready, is told when to begin, tells its timing."""
    action = np.zeros(3, np.float32)
    first, second = (np.full(shape, 0.01, np.float32) for shape in ((83, 256), (256, 256)))

    def at_once(observation: Any) -> Any:
        return action

    def policy(observation: Any) -> Any:
        """A policy network of two layers."""
        hidden = np.maximum(np.maximum(observation[0] @ first, 0.0) @ second, 0.0)
        return np.tanh(hidden[:3])

    choose = policy if "policy" in name else at_once
    pipe.send("ready")
    begin = pipe.recv()
    pipe.send(CONTENDERS[name](steps, step_s, begin, choose))


def train(pipe: Connection) -> None:
    """The process of the trainer: updates until it is told to end, and tells how many per second it made."""
    import torch
    from experience import LIDAR, filled

    from tmrld.rl.algorithm import make_algorithm
    from tmrld.rl.options import AlgorithmOptions, NetworkOptions

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rng = np.random.default_rng(0)
    replay = filled(LIDAR, rng, 200_000, 50)
    options = AlgorithmOptions()
    algorithm = make_algorithm(options, NetworkOptions(), LIDAR, seed=0)
    algorithm.update(replay.sample(options.batch_size, rng))
    pipe.send("ready")
    updates, began, busy = 0, time.perf_counter(), time.process_time()
    while not pipe.poll():
        algorithm.update(replay.sample(options.batch_size, rng))
        updates += 1
    elapsed = time.perf_counter() - began
    pipe.send((updates / elapsed, (time.process_time() - busy) / elapsed))


def start(target: Callable[..., None], *arguments: Any) -> tuple[Any, Connection]:
    """A process of its own, ready."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    pipe.recv()
    return process, pipe


def measure(rate_hz: int, steps: int) -> dict[str, Timing]:
    """All contenders at once, at that rate."""
    step_s = 1.0 / rate_hz
    running = {name: start(contend, name, step_s, steps) for name in CONTENDERS}
    first = time.perf_counter() + START_S
    for place, (_, pipe) in enumerate(running.values()):
        pipe.send(first + step_s * place / len(running))
    timings = {}
    for name, (process, pipe) in running.items():
        timings[name] = pipe.recv()
        process.join()
    return timings


def summary(rate_hz: int, name: str, timing: Timing, errors_ms: NDArray[np.float64], restarts: int) -> dict[str, Any]:
    """What is kept and told of one contender at one rate."""
    p50, p99, p999 = np.percentile(errors_ms, [50, 99, 99.9])
    return {
        "rate_hz": rate_hz,
        "contender": name,
        "steps": len(errors_ms),
        "p50_ms": round(float(p50), 4),
        "p99_ms": round(float(p99), 4),
        "p999_ms": round(float(p999), 4),
        "max_ms": round(float(errors_ms.max()), 4),
        "restarts": restarts,
        "processor_share": round(timing.processor_share, 4),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else "",
    }


def results(rows: list[dict[str, Any]], updates_per_s: float, trainer_share: float) -> list[dict[str, Any]]:
    """One per row; ours has the bare loop's error and a little as its target."""
    bare = {row["rate_hz"]: row["p999_ms"] for row in rows if row["contender"] == "bare sleep"}
    told = []
    for row in rows:
        peers = {key: row[key] for key in ("p50_ms", "p99_ms", "max_ms", "restarts", "processor_share", "steps")}
        told.append(
            {
                "metric": METRICS[row["contender"]].format(rate=row["rate_hz"]),
                "value": row["p999_ms"],
                "unit": "ms",
                "target": bare[row["rate_hz"]] + SLACK_MS if "ours" in row["contender"] else None,
                "peers": peers,
            }
        )
    trainer = {"processor_share": round(trainer_share, 3)}
    return [*told, {"metric": "trainer", "value": updates_per_s, "unit": "updates/s", "target": None, "peers": trainer}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="of each contender at each rate (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="where to keep a line per contender and rate")
    parser.add_argument("--png", type=Path, help="where to draw how the errors are distributed")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    drawn: dict[str, dict[str, NDArray[np.float64]]] = {}
    trainer, ear = start(train)
    print(f"{'rate':>6} {'contender':<20} {'p50':>10} {'p99':>10} {'p99.9':>10} {'max':>10} {'restarts':>9} {'load':>6}")
    for rate in RATES_HZ:
        drawn[f"{rate} Hz"] = {}
        for name, timing in measure(rate, options.steps).items():
            errors, restarts = timing.errors_ms(1.0 / rate)
            row = summary(rate, name, timing, errors, restarts)
            rows.append(row)
            drawn[f"{rate} Hz"][name] = errors
            times = " ".join(f"{row[key]:7.3f} ms" for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms"))
            print(f"{rate:3d} Hz {name:<20} {times} {restarts:9d} {row['load']:>6}", flush=True)
        keep(options.csv, rows)
    ear.send("end")
    updates_per_s, trainer_share = ear.recv()
    trainer.join()
    if options.png is not None:
        histograms(options.png, drawn, "steps", "how far the control lies from the grid, ms")
    print_report("pacing", results(rows, updates_per_s, trainer_share))


if __name__ == "__main__":
    main()
