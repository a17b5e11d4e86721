"""Real runs of `tmrld up` for the benchmarks that train, and laps driven with what they learned."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

REFERENCE = Path(__file__).parent / "results" / "reference_lap.csv"
LIDAR = "tmrld/TM20Lidar-v0"
"""What is driven unless settings say otherwise."""
FIRST_SEED = 1000
"""Of the perturbed starts; no policy is evaluated or trained on these while it learns."""


def train(
    data: Path,
    until: str,
    settings: Mapping[str, Any],
    limit_min: float | None = None,
    *,
    daemon: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Run `tmrld up` on that data folder, a new one or one to go on with; returns the summary that ``--json`` prints.

    ``settings`` are those of the run, by their path in a run's configuration; ``daemon`` all others, by their own path.
    """
    chosen = {"relay.port": 0, "control.port": 0, **daemon} | {f"run.{path}": value for path, value in settings.items()}
    flags = [part for path, value in chosen.items() for part in ("--set", f"{path}={value}")]
    return tmrld("up", "--headless", "--json", "--until", until, "--data", str(data), *flags, limit_min=limit_min)


def newest_weights(data: Path) -> Path:
    """The newest version of the weights in the relay's part of a data folder."""
    return max(data.glob("relay/runs/*/weights/*.safetensors"), key=lambda path: int(path.stem))


def drive(weights: Path, track: str, episodes: int, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The laps of a policy from perturbed starts, as `tmrld env run` reports them."""
    settings = {"environment.id": LIDAR, **(settings or {})}
    flags = [part for path, value in settings.items() if path != "environment.id" for part in ("--set", f"run.{path}={value}")]
    command = ("env", "run", settings["environment.id"], "--policy", str(weights), "--track", track, "--perturbed", "--json")
    return tmrld(*command, "--episodes", str(episodes), "--seed", str(FIRST_SEED), *flags)


def flat(config: object, path: str = "") -> dict[str, object]:
    """A tree of settings as one table: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    if not isinstance(config, Mapping):
        return {path: config}
    return {name: value for key, below in config.items() for name, value in flat(below, f"{path}.{key}".lstrip(".")).items()}


def keep(path: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as CSV, the keys of the first as its header; does nothing without a path."""
    if path is not None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def reference_lap_s(track: str) -> float:
    """The reference lap of that track, in seconds."""
    with REFERENCE.open(newline="") as file:
        laps = {row["track"]: float(row["lap_s"]) for row in csv.DictReader(file)}
    if track not in laps:
        sys.exit(f"{REFERENCE.name} has no reference lap of {track!r}: run benchmarks/reference_lap.py {track}")
    return laps[track]


def tmrld(*arguments: str, limit_min: float | None = None) -> dict[str, Any]:
    """Run the command line; returns the JSON object of its last line.  It is asked to stop after ``limit_min`` minutes.

    Ends this program with a sentence when the command fails.
    """
    process = subprocess.Popen([sys.executable, "-m", "tmrld", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        output, _ = process.communicate(timeout=None if limit_min is None else 60 * limit_min)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=30)
    lines = output.strip().splitlines()
    if process.returncode or not lines:
        sys.exit(f"`tmrld {' '.join(arguments[:2])} …` ended with code {process.returncode}: see what it said above")
    summary: dict[str, Any] = json.loads(lines[-1])
    return summary
