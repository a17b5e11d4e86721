"""How long the reward of one step takes on a line of 300 m and on one of 30 km: `Progress.step`, as a driving car calls it.

The car follows a winding, hilly line at 20 to 250 km/h and 20 steps per second, up to 8 m beside it, with a little noise, lap after
lap; one repeat is 30 km on either line.  Peers, measured in the same run:

* "away from its place": the car is on the line, but so far ahead of its place that each step asks whether it strayed from all of it;
* "compat tmrl": TMRL's rules, as tmrld computes them;
* "TMRL": TMRL 0.7.1's own function on the first steps of the same drive, where that package is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import print_report

from tmrld.envs.options import RewardOptions
from tmrld.envs.trackmania.compat import TmrlProgress
from tmrld.envs.trackmania.reward import GroundProgress, Progress
from tmrld.envs.trackmania.tracks import SPACING_M, resampled

LINES_M = {"reward_us_300m": 300.0, "reward_us_30km": 30_000.0}
"""Of each metric: how long its line is."""
DRIVEN_M = 30_000.0
TARGET_US = 20.0
TARGET_RATIO = 2.0
STEP_S = 0.05
AWAY_M = 250.0
TMRL_STEPS = 40
"""Per repeat: a step of TMRL's takes some two hundred times as long."""
AWAY = "away from its place"
UNENDING = RewardOptions(failure_countdown=1_000_000)

Places = list[list[float]]


def winding(length_m: float) -> NDArray[np.float64]:
    """A line of that length: bends to either side, over hills."""
    along = np.arange(0.0, length_m, 0.5)
    line = resampled(np.column_stack([40.0 * np.sin(along / 80.0), 5.0 * np.sin(along / 120.0), along]))
    return line[: round(length_m / SPACING_M) + 1]


def lap(line: NDArray[np.float64]) -> Places:
    """Where the car is after each step of one lap."""
    chance = np.random.default_rng(0)
    kmh = 135.0 + 115.0 * np.sin(np.arange(len(line)) / 40.0)
    points = np.cumsum(kmh / 3.6 * STEP_S / SPACING_M).astype(int)
    points = points[points < len(line)]
    beside = 8.0 * np.sin(np.arange(len(points)) / 15.0)
    noise = chance.normal(0.0, 0.1, (len(points), 3))
    places: Places = (line[points] + noise + np.outer(beside, (1.0, 0.0, 0.0))).tolist()
    return places


def driving(progress: Progress, places: Places, laps: int) -> Callable[[], int]:
    """Drives so many laps; returns the number of steps."""

    def run() -> int:
        for _ in range(laps):
            progress.reset()
            for x, y, z in places:
                progress.step(x, y, z)
        return laps * len(places)

    return run


def standing(line: NDArray[np.float64]) -> Callable[[], int]:
    """Steps of a car that is on the line, far ahead of its place."""
    progress = GroundProgress(line, UNENDING)
    x, y, z = line[round(AWAY_M / SPACING_M)].tolist()
    if progress.step(x, y, z).terminated or progress.place:
        raise SystemExit("the car strayed, or found its place: this is not what was to be measured")

    def run() -> int:
        for _ in range(2000):
            progress.step(x, y, z)
        return 2000

    return run


def tmrl_driving(line: NDArray[np.float64], places: Places) -> Callable[[], int] | None:
    """The beginning of the lap with TMRL's own function, or None where TMRL is not installed.

    The package itself is not imported, because that downloads files; the module that is needed stands on its own.
    """
    package = importlib.util.find_spec("tmrl")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "custom" / "tm" / "utils" / "compute_reward.py"
    spec = importlib.util.spec_from_file_location("tmrl_compute_reward", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = RewardOptions()
    reward: Any = module.RewardFunction("", options.check_forward, options.check_backward, max_dist_from_traj=options.max_stray)
    reward.data, reward.datalen = line, len(line)
    some = [np.array(place) for place in places[:TMRL_STEPS]]

    def run() -> int:
        reward.reset()
        for place in some:
            reward.compute_reward(place)
        return len(some)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21, help="repeats, of which the median counts (default: %(default)s)")
    arguments = parser.parse_args()

    if hasattr(os, "sched_setaffinity"):  # one core, as a worker's engine has
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    runs: dict[tuple[str, str], Callable[[], int]] = {}
    for metric, length_m in LINES_M.items():
        line = winding(length_m)
        places, laps = lap(line), round(DRIVEN_M / length_m)
        runs[metric, ""] = driving(GroundProgress(line, UNENDING), places, laps)
        runs[metric, AWAY] = standing(line)
        runs[metric, "compat tmrl"] = driving(TmrlProgress(line, UNENDING), places, max(1, laps // 10))
        tmrl = tmrl_driving(line, places)
        if tmrl is not None:
            runs[metric, "TMRL"] = tmrl
    times: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for _ in range(arguments.repeats):  # taking turns, so that a busy moment of the machine hits all alike
        for name, run in runs.items():
            start = time.perf_counter()
            steps = run()
            times[name].append((time.perf_counter() - start) / steps * 1e6)
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}

    results: list[dict[str, Any]] = [
        {
            "metric": metric,
            "value": medians[metric, ""],
            "unit": "us/step",
            "target": TARGET_US,
            "best": round(min(times[metric, ""]), 2),
            "peers": {peer: value for (of, peer), value in medians.items() if of == metric and peer},
        }
        for metric in LINES_M
    ]
    short, long = LINES_M
    results.append(
        {
            "metric": "reward_30km_to_300m",
            "value": round(medians[long, ""] / medians[short, ""], 3),
            "unit": "ratio",
            "target": TARGET_RATIO,
            "peers": {AWAY: round(medians[long, AWAY] / medians[short, AWAY], 3)},
        }
    )
    if (short, "TMRL") not in runs:
        print(
            "TMRL is not installed here, so its own function was not timed: pip install --no-deps tmrl==0.7.1 is all it takes."
        )
    print_report("reward", results)


if __name__ == "__main__":
    main()
