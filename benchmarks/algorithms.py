"""Whether each algorithm learns to drive: real runs of `tmrld up` on the default track, one per recipe.

A run goes on in rounds of so many updates; after each, its newest weights drive 20 laps from perturbed starts with the
deterministic policy.  Recipes change nothing but what their names say (`RECIPES`): all else is the default, so that they can be
compared.  ``wrapped`` is the default algorithm with a memory of 30,000 transitions, which a run of 9,000 updates fills three times:
what is forgotten must not be missed.

    python benchmarks/algorithms.py redq --updates 12000

One CSV per recipe lies in ``benchmarks/results/algorithms``, and the plot of all that are there.  With ``--data`` a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plotting import curves
from report import print_report
from training import drive, keep, newest_weights, reference_lap_s, train

RESULTS = Path(__file__).parent / "results" / "algorithms"
TRACK = "default"
EPISODES = 20
FORGOTTEN_POINTS = 10.0
"""So many points lower the share of finished laps may be once all that a small memory held at first has left twice."""
FULL = "tmrld/TM20Full-v0"
RECIPES: dict[str, dict[str, Any]] = {
    "sac": {},
    "redq": {"algorithm.name": "redq"},
    "droq": {"algorithm.name": "droq"},
    "tqc": {"algorithm.name": "tqc"},
    "crossq": {"algorithm.name": "crossq"},
    "simba": {"network.trunk": "simba"},
    "gru": {"environment.history": 1, "environment.action_buffer": 1, "network.gru": 64, "algorithm.batch_size": 512},
    "images": {"environment.id": FULL},
    "wrapped": {"replay.capacity": 30_000},
}


def rounds_of(name: str, data: Path, updates: int, every: int, seed: int) -> list[dict[str, Any]]:
    """Train in rounds, and drive after each; the CSV grows with them.  What a run in ``data`` has done already is not done again."""
    settings = {"environment.track": TRACK, "training.seed": seed, **RECIPES[name]}
    reference = reference_lap_s(TRACK)
    path = RESULTS / f"{name}-{seed}.csv"
    rows = read(path) if path.exists() and any(data.glob("relay/runs/*")) else []
    environment = {path: value for path, value in settings.items() if path.startswith("environment.")}
    print(f"{'updates':>8} {'transitions':>12} {'updates/s':>10} {'finished':>9} {'lap ratio':>10}")
    for target in range(every, updates + 1, every):
        if rows and target <= int(rows[-1]["updates"]):
            continue
        summary = train(data, f"updates={target}", settings)
        drives = drive(newest_weights(data), TRACK, EPISODES, environment)
        lap_s = drives["median_lap_s"]
        row = {
            "updates": summary["updates"],
            "transitions": summary["transitions"],
            "updates_per_s": round(summary["updates_per_s"], 1),
            "finished": drives["finished"],
            "lap_ratio": "" if lap_s is None else round(lap_s / reference, 4),
        }
        rows.append(row)
        counts = f"{row['updates']:8,d} {row['transitions']:12,d} {row['updates_per_s']:10.1f}"
        print(f"{counts} {row['finished']:>6}/{EPISODES} {row['lap_ratio']:>10}", flush=True)
        keep(path, rows)
    return rows


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV that `keep` wrote."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def plot() -> None:
    """The share of finished laps over the updates, of all recipes that have results."""
    lines: dict[str, list[tuple[list[float], list[float]]]] = {}
    for path in sorted(RESULTS.glob("*-*.csv")):
        rows, (recipe, _) = read(path), path.stem.split("-")
        places = [0.0, *(float(row["updates"]) for row in rows)]
        lines.setdefault(recipe, []).append((places, [0.0, *(float(row["finished"]) for row in rows)]))
    curves(RESULTS / "finished.png", lines, {}, "updates", f"laps finished of {EPISODES}")


def forgotten(rows: Sequence[Mapping[str, Any]], capacity: int) -> float | None:
    """How many points lower the mean share of finished laps is once the memory was filled three times over than after two.

    By then all that the first laps were learned from has left.  None while either has no rounds.
    """

    def mean_share(first: int, before: float) -> float | None:
        found = [
            int(row["finished"]) / EPISODES for row in rows if first * capacity <= int(row["transitions"]) < before * capacity
        ]
        return statistics.fmean(found) if found else None

    before, after = mean_share(2, 3), mean_share(3, math.inf)
    return None if before is None or after is None else round(100.0 * (before - after), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--updates", type=int, default=12_000, help="of training altogether (default: %(default)s)")
    parser.add_argument("--every", type=int, default=2_000, help="updates between two looks (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="data folder to train in, or to go on in (default: a new one)")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tmrld-algorithms-") as folder:
        rows = rounds_of(options.recipe, options.data or Path(folder), options.updates, options.every, options.seed)
    plot()
    best, last = max(int(row["finished"]) for row in rows), rows[-1]
    ratio = None if last["lap_ratio"] == "" else float(last["lap_ratio"])
    capacity = RECIPES[options.recipe].get("replay.capacity")
    of_a_small_memory: list[dict[str, Any]] = (
        []
        if capacity is None
        else [
            {
                "metric": f"{options.recipe}_forgotten",
                "value": forgotten(rows, capacity),
                "unit": "points",
                "target": FORGOTTEN_POINTS,
                "peers": {},
            }
        ]
    )
    print_report(
        "algorithms",
        [
            {
                "metric": f"{options.recipe}_finished",
                "value": int(last["finished"]),
                "unit": "laps",
                "peers": {"best round": best},
            },
            {"metric": f"{options.recipe}_lap_ratio", "value": ratio, "unit": "", "peers": {}},
            *of_a_small_memory,
        ],
    )


if __name__ == "__main__":
    main()
