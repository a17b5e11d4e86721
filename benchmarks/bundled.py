"""The policies that come with the package: trained here, chosen among the last versions of their run, and measured.

Each is one run of `tmrld up` with a preset, of so many updates rather than minutes, so that a slow machine makes a policy as good,
only later.  Near the end a version every thousand updates is driven; the one that finishes most often, then with the shortest mean
lap, becomes the package's file.  It is chosen on starts and generated tracks of its own, and measured on others, which neither
training nor the choice has seen.  With ``--data`` a run that was interrupted goes on, or one that is to make more updates, and one
that has made them is only measured again.

    python benchmarks/bundled.py --csv benchmarks/results/bundled.csv
    python benchmarks/bundled.py --policy bundled-default --updates 100000 --data /somewhere
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from report import print_report
from training import FIRST_SEED, flat, keep, reference_lap_s, train

import tmrld
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.sim.tracks import BUNDLED
from tmrld.payloads import Weights
from tmrld.presets import preset
from tmrld.rl.weights import pack, unpack
from tmrld.worker.driving import drives

POLICIES = Path(tmrld.__file__).parent / "policies"
CHOICE_SEED = 5000
"""Of the starts that versions are compared on; those that count begin at FIRST_SEED."""
EVERY = 1000
CANDIDATES = 12
"""So many versions are compared, so many updates apart, the last one included."""
OVERRUN = 5000
"""So many updates more may be made until a run is told that it is over."""
LONGEST_STEPS = 4000
"""Enough for a lap of the longest track that is driven."""


@dataclass(frozen=True)
class Recipe:
    """How a policy is made: chosen on some tracks, measured on others with ``episodes`` starts each, and shown on ``beside``."""

    preset: str
    updates: int
    chosen_on: tuple[str, ...]
    measured_on: tuple[str, ...]
    episodes: int
    beside: tuple[str, ...]
    finish_target: float
    ratio_target: float | None


RECIPES = {
    "bundled-default": Recipe("demo", 60_000, ("default",), ("default",), 20, (), 0.95, 1.22),
    "bundled-random-tracks": Recipe(
        "random-tracks",
        60_000,
        tuple(f"medium-650-{seed}" for seed in range(11, 31)),
        tuple(f"medium-650-{seed}" for seed in range(1, 11)),
        3,
        tuple(BUNDLED),
        29 / 30,
        None,
    ),
}


@dataclass(frozen=True)
class Result:
    """How a policy did on some tracks: of so many episodes, how many it finished, and its laps in seconds by track."""

    episodes: int
    finished: int
    laps: dict[str, list[float]]

    @property
    def mean_lap_s(self) -> float:
        """Over all laps; infinite where there is none."""
        laps = [lap for of_track in self.laps.values() for lap in of_track]
        return statistics.fmean(laps) if laps else float("inf")

    @property
    def lap_ratio(self) -> float | None:
        """The median of all laps over their tracks' reference laps; None where there is none."""
        ratios = [lap / reference_lap_s(track) for track, laps in self.laps.items() for lap in laps]
        return statistics.median(ratios) if ratios else None


def driven(weights: Path, tracks: Sequence[str], episodes: int, seed: int, environment: EnvironmentOptions) -> Result:
    """Drive perturbed starts on each of these tracks."""
    laps: dict[str, list[float]] = {}
    for track in tracks:
        there = environment.model_copy(update={"track": track, "max_steps": LONGEST_STEPS})
        done = [drive.summary for drive in drives(there, str(weights), episodes, seed, perturbed=True)]
        laps[track] = [summary.lap_time_s for summary in done if summary.finished and summary.lap_time_s is not None]
    return Result(episodes * len(tracks), sum(map(len, laps.values())), laps)


def candidates(data: Path, updates: int) -> list[Path]:
    """The versions in a data folder to choose from, oldest first."""
    wanted = {updates - EVERY * back for back in range(CANDIDATES)}
    files = sorted(data.glob("relay/runs/*/weights/*.safetensors"))
    return [path for path in files if unpack(path.read_bytes())[0].update in wanted]


def best(recipe: Recipe, versions: Sequence[Path], environment: EnvironmentOptions) -> Path:
    """The version that drives best on the tracks that the recipe chooses on."""
    episodes = 20 // len(recipe.chosen_on)

    def rank(path: Path) -> tuple[int, float]:
        result = driven(path, recipe.chosen_on, episodes, CHOICE_SEED, environment)
        print(
            f"  update {unpack(path.read_bytes())[0].update:,d}: {result.finished}/{result.episodes}, {result.mean_lap_s:.3f} s"
        )
        return result.finished, -result.mean_lap_s

    return max(versions, key=rank)


def put_into_package(name: str, version: Path) -> Path:
    """Write a version as the package's policy of that name, which its manifest then names as the run it is of."""
    manifest, tensors = unpack(version.read_bytes())
    weights: Weights = pack(replace(manifest, run=name), tensors)
    POLICIES.mkdir(exist_ok=True)
    path = POLICIES / f"{name}.safetensors"
    path.write_bytes(weights.data)
    return path


def make(name: str, data: Path, updates: int, seed: int) -> dict[str, Any]:
    """Train, choose, put into the package and measure: the policy's row."""
    recipe = RECIPES[name]
    config = preset(recipe.preset).config
    kept = (CANDIDATES * EVERY + OVERRUN) // 100
    settings = {**flat(config), "training.seed": seed}
    train(data, f"updates={updates}", settings, daemon={"relay.keep_weights": kept})
    environment = EnvironmentOptions.model_validate(config.get("environment", {}))
    chosen = best(recipe, candidates(data, updates), environment)
    path = put_into_package(name, chosen)
    measured = driven(path, recipe.measured_on, recipe.episodes, FIRST_SEED, environment)
    beside = driven(path, recipe.beside, recipe.episodes, FIRST_SEED, environment)
    ratio = measured.lap_ratio
    return {
        "policy": name,
        "seed": seed,
        "updates": updates,
        "chosen_update": unpack(path.read_bytes())[0].update,
        "episodes": measured.episodes,
        "finished": measured.finished,
        "lap_ratio": "" if ratio is None else round(ratio, 4),
        "beside": " ".join(f"{track}:{len(laps)}/{recipe.episodes}" for track, laps in beside.laps.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", choices=RECIPES, help="make this one only (default: all)")
    parser.add_argument("--updates", type=int, help="of training (default: those of the policy's recipe)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder to train in, or to go on in (default: a new one)")
    parser.add_argument("--csv", type=Path, help="where a line per policy is kept; those of other policies stay")
    options = parser.parse_args()
    results = []
    for name in [options.policy] if options.policy else RECIPES:
        recipe = RECIPES[name]
        with tempfile.TemporaryDirectory(prefix="tmrld-bundled-") as folder:
            data = (options.data or Path(folder)) / name
            row = make(name, data, options.updates or recipe.updates, options.seed)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        keep(options.csv, _with(options.csv, row))
        results += [
            {
                "metric": f"{name}_finish_rate",
                "value": row["finished"] / row["episodes"],
                "unit": "",
                "target": recipe.finish_target,
            },
            {
                "metric": f"{name}_lap_ratio",
                "value": row["lap_ratio"] or None,
                "unit": "",
                "target": recipe.ratio_target,
            },
        ]
    print_report("bundled", results)


def _with(path: Path | None, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of that file, with this one in place of the one of the same policy."""
    rows: list[dict[str, Any]] = []
    if path is not None and path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    return sorted([*(each for each in rows if each["policy"] != row["policy"]), row], key=lambda each: str(each["policy"]))


if __name__ == "__main__":
    main()
