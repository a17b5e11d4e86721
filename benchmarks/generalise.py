"""Whether a policy drives tracks that it has never seen, after training on a new random track in each episode.

One long run of `tmrld up` with the preset of random tracks, in rounds of some minutes: after each, its newest weights drive tracks
of seeds that are kept out of training.  The last round counts; the rounds before are the learning curve, in the CSV and the plot.

    python benchmarks/generalise.py --minutes 15 --rounds 3 --csv benchmarks/results/generalise.csv
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path

from plotting import learning_curve
from report import print_report
from training import drive, flat, keep, newest_weights, reference_lap_s, train

from tmrld.presets import preset

FINISH_TARGET = 0.9
RATIO_TARGET = 1.35
UNSEEN = range(1, 11)
"""Seeds of the tracks that are driven; training draws from others (`tmrld.envs.sim.generator`)."""
EPISODES = 3
"""Perturbed starts on each track."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="of training altogether (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often to look (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    parser.add_argument("--tracks", default="medium-650", help="difficulty and length (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="where to keep a line per round; the plot lies beside it, as .png")
    parser.add_argument("--data", type=Path, help="data folder to train in, or to go on in (default: a new one)")
    options = parser.parse_args()
    tracks = [f"{options.tracks}-{seed}" for seed in UNSEEN]
    references = {track: reference_lap_s(track) for track in tracks}
    settings = {**flat(preset("random-tracks").config), "training.seed": options.seed}
    settings["environment.track"] = f"{options.tracks}-any"
    rows = []
    print(f"{'minutes':>8} {'updates':>9} {'transitions':>12} {'finished':>9} {'lap ratio':>10}")
    with tempfile.TemporaryDirectory(prefix="tmrld-generalise-") as folder:
        data = options.data or Path(folder)
        for number in range(1, options.rounds + 1):
            minutes = options.minutes / options.rounds
            summary = train(data, f"minutes={minutes}", settings, limit_min=minutes + 2.0)
            drives = {track: drive(newest_weights(data), track, EPISODES) for track in tracks}
            finished = sum(drives[track]["finished"] for track in tracks) / (EPISODES * len(tracks))
            laps = [lap / references[track] for track in tracks for lap in drives[track]["lap_times_s"]]
            ratio = statistics.median(laps) if laps else math.nan
            row = {
                "minutes": round(number * minutes, 2),
                "updates": summary["updates"],
                "transitions": summary["transitions"],
                "unseen_finish_rate": round(finished, 4),
                "unseen_lap_ratio": round(ratio, 4),
                **{track: drives[track]["finished"] for track in tracks},
            }
            rows.append(row)
            counts = f"{row['minutes']:8.1f} {row['updates']:9,d} {row['transitions']:12,d}"
            print(f"{counts} {finished:9.0%} {ratio:10.3f}", flush=True)
            keep(options.csv, rows)
    if options.csv is not None:
        curves = {
            "finished": [row["unseen_finish_rate"] for row in rows],
            "lap ratio": [row["unseen_lap_ratio"] for row in rows],
        }
        targets = {"finished": FINISH_TARGET, "lap ratio": RATIO_TARGET}
        learning_curve(options.csv.with_suffix(".png"), [row["minutes"] for row in rows], curves, targets)
    last = rows[-1]
    laps = last["unseen_lap_ratio"]
    print_report(
        "generalise",
        [
            {"metric": "unseen_finish_rate", "value": last["unseen_finish_rate"], "unit": "", "target": FINISH_TARGET},
            {"metric": "unseen_lap_ratio", "value": None if math.isnan(laps) else laps, "unit": "", "target": RATIO_TARGET},
        ],
    )


if __name__ == "__main__":
    main()
