"""The store of curves: how fast points go in, how fast a chart of a run with a million points comes out, and what it costs in memory.

Fifty runs of ten curves each.  One of them gets curves of a million points, the others some thousands; points come as trainers send
them, some updates at a time.  A query is what a chart asks for: one curve, a thousand points, the whole length or a part of it.
Every part runs in a process of its own, so that the memory measured is that of a relay that has just started and then answered.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from report import print_report

from tmrld.storage.layout import Layout
from tmrld.storage.metrics import Metric
from tmrld.storage.runs import RunStore

RUNS = 50
CURVES = 10
BATCH = 200
LONG, SHORT = 100_000, 2_000
MILLION = 1_000_000
TARGETS = {"ingest_points_per_s": 100_000, "query_p95_ms": 30, "store_rss_mb": 150}


def metrics(first: int, count: int, names: list[str]) -> list[Metric]:
    """Points of these curves at so many updates in a row: a wave with noise."""
    updates = np.arange(first, first + count)
    values = np.sin(updates / 5000)[:, None] + np.random.default_rng(first).normal(0, 0.1, (count, len(names)))
    return [
        Metric(0, int(update), 20 * int(update), float(update), dict(zip(names, row, strict=True)))
        for update, row in zip(updates, values.tolist(), strict=True)
    ]


def fill(folder: Path) -> dict[str, float]:
    """Points per second that the store takes; only the time inside it counts."""
    store = RunStore(Layout(folder))
    names = [f"curve{k}" for k in range(CURVES)]
    for run in range(RUNS):
        store.create(f"run{run}", {}, "benchmark", 0.0)
    spent = points = 0.0
    for run in range(RUNS):
        length = SHORT if run else LONG
        for first in range(0, length, BATCH):
            batch = metrics(first, BATCH, names)
            started = time.perf_counter()
            store.metrics.add(f"run{run}", batch)
            spent += time.perf_counter() - started
            points += BATCH * CURVES
    for first in range(0, MILLION, 5000):
        store.metrics.add("run0", metrics(first, 5000, ["million"]))
    store.close()
    return {"ingest_points_per_s": points / spent, "points": points + MILLION}


def ask(folder: Path) -> dict[str, float]:
    """Milliseconds of a query, and the memory of the process when it has answered them all."""
    process = psutil.Process()
    bare = process.memory_info().rss
    store = RunStore(Layout(folder))
    random = np.random.default_rng(0)
    times = []
    for number in range(200):
        start = 0 if number % 2 else int(random.integers(MILLION // 2))
        started = time.perf_counter()
        curve = store.metrics.read("run0", ["million"], start, max_points=1000)["million"]
        times.append(1000 * (time.perf_counter() - started))
        if not 0 < len(curve.values) <= 1000:
            raise ValueError(f"a chart of 1,000 points has {len(curve.values)}")
        store.metrics.read(f"run{number % RUNS}", [f"curve{k}" for k in range(CURVES)], max_points=1000)
    rss = process.memory_info().rss
    store.close()
    median, p95 = np.percentile(times, (50, 95)).tolist()
    return {"query_p95_ms": p95, "query_median_ms": median, "store_rss_mb": rss / 2**20, "bare_rss_mb": bare / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("fill", "ask"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps({"fill": fill, "ask": ask}[arguments.part](arguments.data)))
        return
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in ("fill", "ask"):
            command = [sys.executable, __file__, "--part", part, "--data", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found |= json.loads(done.stdout)
    print_report(
        "metrics_store",
        [
            {
                "metric": "ingest_points_per_s",
                "value": found["ingest_points_per_s"],
                "unit": "1/s",
                "target": TARGETS["ingest_points_per_s"],
                "peers": {"points stored": found["points"]},
            },
            {
                "metric": "query_p95_ms",
                "value": found["query_p95_ms"],
                "unit": "ms",
                "target": TARGETS["query_p95_ms"],
                "peers": {"median": found["query_median_ms"]},
            },
            {
                "metric": "store_rss_mb",
                "value": found["store_rss_mb"],
                "unit": "MiB",
                "target": TARGETS["store_rss_mb"],
                "peers": {"before it was opened": found["bare_rss_mb"]},
            },
        ],
    )


if __name__ == "__main__":
    main()
