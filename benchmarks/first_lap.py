"""How long `tmrld up` takes from an empty data folder to its first lap, and how good its policy is after so many minutes.

Each seed is one real run: relay, trainer and worker over real WSS links, random weights, the default settings.  The clock starts
with the process, so starting Python and importing torch count.  With ``--minutes`` the run goes on until then; its newest weights,
not the best it ever had, drive 20 episodes from perturbed starts, and the median lap is compared with the reference lap of
`reference_lap.py`.

    python benchmarks/first_lap.py --minutes 10 --seeds 3 --csv benchmarks/results/first_lap.csv
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from report import print_report
from training import drive, keep, newest_weights, reference_lap_s, train

FIRST_LAP_TARGET_S = 120.0
LAP_RATIO_TARGET = 1.20
FINISHED_TARGET = 18
EPISODES = 20


@dataclass(frozen=True)
class Run:
    """What one seed gave; times in seconds, None where there was none."""

    seed: int
    first_lap_s: float | None
    updates: int
    transitions: int
    updates_per_s: float
    finished: int | None = None
    median_lap_s: float | None = None
    lap_ratio: float | None = None


def run(seed: int, track: str, minutes: float, give_up_minutes: float) -> Run:
    """One run until its first lap, or of that many minutes and then its newest policy's laps."""
    with tempfile.TemporaryDirectory(prefix="tmrld-first-lap-") as data:
        until = f"minutes={minutes}" if minutes else "first-lap"
        settings = {"training.seed": seed, "environment.track": track}
        summary = train(Path(data), until, settings, limit_min=give_up_minutes)
        result = Run(
            seed,
            summary["first_lap_s"],
            summary["updates"],
            summary["transitions"],
            summary["updates_per_s"],
        )
        if not minutes:
            return result
        drives = drive(newest_weights(Path(data)), track, EPISODES)
    median = drives["median_lap_s"]
    ratio = None if median is None else median / reference_lap_s(track)
    return Run(**{**asdict(result), "finished": drives["finished"], "median_lap_s": median, "lap_ratio": ratio})


def median(values: list[float | None]) -> float | None:
    """The median, where a run without a value counts as the worst; None if it is one of those."""
    middle = statistics.median(math.inf if value is None else value for value in values)
    return None if math.isinf(middle) else middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many runs (default: 3)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first (default: 0)")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="train so long, then measure the laps (default: first lap only)"
    )
    parser.add_argument("--track", default="default", help="track of the simulator (default: %(default)s)")
    parser.add_argument("--give-up-minutes", type=float, default=6.0, help="when a run counts as without a lap (default: 6)")
    parser.add_argument("--csv", type=Path, help="where to keep a line per seed")
    options = parser.parse_args()
    runs = []
    print(
        f"{'seed':>4} {'first lap':>10} {'updates':>8} {'transitions':>12} {'updates/s':>10} {'finished':>9} {'median lap':>11} ratio"
    )
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        done = run(seed, options.track, options.minutes, max(options.give_up_minutes, options.minutes + 1.0))
        runs.append(done)
        first = "none" if done.first_lap_s is None else f"{done.first_lap_s:.1f} s"
        laps = "" if done.finished is None else f"{done.finished:>6}/{EPISODES}"
        lap = "" if done.median_lap_s is None else f"{done.median_lap_s:.2f} s"
        ratio = "" if done.lap_ratio is None else f"{done.lap_ratio:.3f}"
        counts = f"{done.updates:8,d} {done.transitions:12,d} {done.updates_per_s:10.1f}"
        print(f"{seed:4d} {first:>10} {counts} {laps:>9} {lap:>11} {ratio}", flush=True)
    keep(options.csv, [asdict(each) for each in runs])

    first_laps = [each.first_lap_s for each in runs]
    slowest = None if None in first_laps else max(value for value in first_laps if value is not None)
    results = [
        {
            "metric": "first_lap_s",
            "value": median(first_laps),
            "unit": "s",
            "target": FIRST_LAP_TARGET_S,
            "peers": {"slowest_s": slowest},
        }
    ]
    if options.minutes:
        finished = [each.finished or 0 for each in runs]
        # A run that does not finish often enough has no lap ratio: fast laps now and then are not driving.
        ratios = [each.lap_ratio if (each.finished or 0) >= FINISHED_TARGET else None for each in runs]
        peers: dict[str, float | None] = {"reference_lap_s": reference_lap_s(options.track)}
        peers |= {f"seed_{each.seed}": each.lap_ratio for each in runs}
        results += [
            {
                "metric": "lap_ratio",
                "value": median(ratios),
                "unit": "",
                "target": LAP_RATIO_TARGET,
                "peers": peers,
            },
            {
                "metric": "finished_of_20",
                "value": statistics.median(finished),
                "unit": "episodes",
                "target": FINISHED_TARGET,
                "peers": {"fewest": min(finished)},
            },
        ]
    print_report("first_lap", results)


if __name__ == "__main__":
    main()
