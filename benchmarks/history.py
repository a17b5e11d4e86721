"""What a history of LIDAR frames is worth: the same training with 1 and with 4 frames, on the default track.

TMRL's page tells that, with the speed shown beside it, a car that sees one LIDAR measurement learned to drive at a constant speed,
and that one that sees four learned to brake, take the apex and accelerate again.  Two runs of `tmrld up` take turns, some minutes
each, so that a busy hour of the machine hits both; then the newest weights drive 20 laps from perturbed starts, and one lap each is
drawn: speed and brake over the way, by which the claim can be judged.

    python benchmarks/history.py --minutes 5 --rounds 2 --csv benchmarks/results/history.csv

The results hold three runs of that command on different days, as ``history``, ``history-2`` and ``history-3``.  The first two
differ by more than one frame and four do: runs are not repeatable to the step, since worker and trainer are processes of their
own.  In the third training explored with pink noise, and both finish 20 of 20 laps, which scatter less: in 1.169 times the
reference lap with one frame, in 1.158 with four.  Both brake before corners, so what TMRL's page tells is not seen here.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from plotting import speed_profiles
from report import print_report
from training import FIRST_SEED, drive, keep, newest_weights, reference_lap_s, train

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import describe, make
from tmrld.envs.sim.tracks import named
from tmrld.payloads import Weights
from tmrld.rl.inference import load_actor
from tmrld.rl.weights import unpack
from tmrld.worker.options import EvaluationOptions

TRACK = "default"
FRAMES = (1, 4)
EPISODES = 20


@dataclass(frozen=True)
class Lap:
    """One lap, step by step: metres along the track, m/s, and the brake from 0 to 1."""

    metres: list[float]
    speed: list[float]
    brake: list[float]

    @property
    def speed_spread(self) -> float:
        """Standard deviation of the speed over its mean, once the car is up to speed: 0 is driving at a constant speed."""
        moving = [speed for metres, speed in zip(self.metres, self.speed, strict=True) if metres > 100.0]
        return statistics.pstdev(moving) / statistics.fmean(moving) if moving else 0.0

    @property
    def braking_share(self) -> float:
        """Share of the lap's steps at which the brake is more than touched."""
        return statistics.fmean(brake > 0.1 for brake in self.brake) if self.brake else 0.0


def finished_lap(weights: Path, frames: int) -> Lap:
    """The first lap from perturbed starts that the deterministic policy finishes; where it finishes none, its furthest drive."""
    options = EnvironmentOptions(track=TRACK, history=frames)
    data = weights.read_bytes()
    env = make(options)
    actor = load_actor(Weights(unpack(data)[0], data), describe(env, options))
    rng = np.random.default_rng(0)
    length = named(TRACK).length
    furthest = Lap([0.0], [0.0], [0.0])
    for seed in range(FIRST_SEED, FIRST_SEED + EPISODES):
        observation, info = env.reset(seed=seed, options=EvaluationOptions().start)
        metres, speed, brake, ended = [], [], [], False
        while not ended:
            action = actor.act(observation, deterministic=True, rng=rng)
            observation, _, terminated, truncated, info = env.step(action)
            ended = terminated or truncated
            metres.append(info["progress"] * length)
            speed.append(info["speed"])
            brake.append(max(0.0, float(action[1])))
        furthest = max(furthest, Lap(metres, speed, brake), key=lambda driven: driven.metres[-1])
        if info["finished"]:
            break
    env.close()
    return furthest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training for each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="turns that each takes (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="how many pairs of runs (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="where to keep a line per run and round; the plot lies beside it, as .png")
    options = parser.parse_args()
    reference = reference_lap_s(TRACK)
    rows: list[dict[str, Any]] = []
    laps: dict[int, Lap] = {}
    print(f"{'seed':>4} {'frames':>6} {'minutes':>8} {'updates':>9} {'finished':>9} {'lap ratio':>10}")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory(prefix="tmrld-history-") as folder:
            for number in range(1, options.rounds + 1):
                for frames in FRAMES:
                    data = Path(folder) / f"{frames}-frames"
                    minutes = options.minutes / options.rounds
                    settings = {"training.seed": seed, "environment.track": TRACK, "environment.history": frames}
                    summary = train(data, f"minutes={minutes}", settings, limit_min=minutes + 2.0)
                    weights = newest_weights(data)
                    drives = drive(weights, TRACK, EPISODES, {"environment.history": frames})
                    median = drives["median_lap_s"]
                    if number == options.rounds and seed == 0:
                        laps[frames] = finished_lap(weights, frames)
                    row = {
                        "seed": seed,
                        "frames": frames,
                        "minutes": round(number * minutes, 2),
                        "updates": summary["updates"],
                        "finished": drives["finished"],
                        "lap_ratio": "" if median is None else round(median / reference, 4),
                    }
                    rows.append(row)
                    counts = f"{seed:4d} {frames:6d} {row['minutes']:8.1f} {row['updates']:9,d}"
                    print(f"{counts} {row['finished']:>6}/{EPISODES} {row['lap_ratio']:>10}", flush=True)
                    keep(options.csv, rows)
    if options.csv is not None:
        speed_profiles(options.csv.with_suffix(".png"), {f"LIDAR frames: {frames}": lap for frames, lap in laps.items()})
    results = []
    for frames in FRAMES:
        last = [row for row in rows if row["frames"] == frames and row["minutes"] == round(options.minutes, 2)]
        ratios = [row["lap_ratio"] for row in last if row["lap_ratio"] != ""]
        plural = "frame" if frames == 1 else "frames"
        results.append(
            {
                "metric": f"lap_ratio_{frames}_{plural}",
                "value": statistics.median(ratios) if ratios else None,
                "unit": "",
                "target": None,
                "peers": {
                    "finished_of_20": statistics.median(row["finished"] for row in last),
                    "speed_spread": laps[frames].speed_spread,
                    "braking_share": laps[frames].braking_share,
                },
            }
        )
    print_report("history", results)


if __name__ == "__main__":
    main()
