"""How long `tmrld up` takes from an empty data folder to the first lap that the policy drives by itself.

Each seed is one real run: relay, trainer and worker over real WSS links, random weights, the default settings.  The clock starts
with the process, so starting Python and importing torch count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from report import print_report

TARGET_S = 120.0


def first_lap(seed: int, minutes: float) -> dict[str, Any]:
    """Run until the first lap, or give up after ``minutes``; returns the summary that `tmrld up --json` prints."""
    with tempfile.TemporaryDirectory(prefix="tmrld-first-lap-") as data:
        command = [sys.executable, "-m", "tmrld", "up", "--headless", "--json", "--until", "first-lap", "--data", data]
        for setting in (f"run.training.seed={seed}", "relay.port=0", "control.port=0"):
            command += ["--set", setting]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            output, _ = process.communicate(timeout=60 * minutes)
        except subprocess.TimeoutExpired:
            process.terminate()
            output, _ = process.communicate(timeout=30)
    summary: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many runs (default: 3)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first (default: 0)")
    parser.add_argument("--give-up-minutes", type=float, default=6.0, help="when a run counts as without a lap (default: 6)")
    options = parser.parse_args()
    times = []
    print(f"{'seed':>4} {'first lap':>10} {'lap time':>9} {'updates':>8} {'transitions':>12} {'updates/s':>10}")
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        summary = first_lap(seed, options.give_up_minutes)
        seconds = summary["first_lap_s"]
        times.append(float("inf") if seconds is None else seconds)
        lap = summary["best_lap_s"]
        print(
            f"{seed:4d} {'none' if seconds is None else f'{seconds:.1f} s':>10} {'' if lap is None else f'{lap:.2f} s':>9} "
            f"{summary['updates']:8,d} {summary['transitions']:12,d} {summary['updates_per_s']:10.1f}",
            flush=True,
        )
    median = statistics.median(times)
    print_report(
        "first_lap",
        [
            {
                "metric": "first_lap_s",
                "value": None if median == float("inf") else median,
                "unit": "s",
                "target": TARGET_S,
                "peers": {"slowest_s": None if max(times) == float("inf") else max(times)},
            }
        ],
    )


if __name__ == "__main__":
    main()
