"""What the system costs: updates per second of a running `tmrld up` as a share of the bare algorithm and replay memory.

The bare loop runs in one process, with the same options, the same number of threads, and the very samples that the system has
collected.  Both are measured in turn, several times, because machines drift; the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from report import print_report

from tmrld.payloads import EnvSpec
from tmrld.protocol.codec import decode, open_chunk
from tmrld.protocol.messages import ChunkMessage
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.replay import Replay
from tmrld.settings import RunConfig, run_config
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_log import SampleLog

TARGET = 0.85
SETTLE_REPORTS = 3


def system(updates: int, data: Path) -> float:
    """Median updates per second that the running system reports, after it has settled."""
    command = [
        sys.executable,
        "-m",
        "tmrld",
        "up",
        "--headless",
        "--json",
        "--until",
        f"updates={updates}",
        "--data",
        str(data),
    ]
    for setting in ("relay.port=0", "control.port=0"):
        command += ["--set", setting]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    summary: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    store = RunStore(Layout(data))
    try:
        curve = store.metrics.read(summary["run"], ["updates_per_s"])["updates_per_s"]
    finally:
        store.close()
    rates: list[float] = curve.values.tolist()
    return statistics.median(rates[SETTLE_REPORTS:])


def bare(seconds: float, data: Path) -> float:
    """Updates per second of algorithm and replay alone, on what the system has just collected."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config, spec = _run_of(data)
    replay = Replay(spec, config.replay.capacity)
    log = SampleLog(Layout(data).run_log("demo"))
    for record in log.read(0, 2**40):
        message = decode(record.body)
        assert isinstance(message, ChunkMessage)
        if message.purpose == "train":
            replay.append(open_chunk(message))
    log.close()
    algorithm = make_algorithm(config.algorithm, config.network, spec, seed=0)
    random = np.random.default_rng(0)
    rates = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        started = time.perf_counter()
        for _ in range(100):
            algorithm.update(replay.sample(config.algorithm.batch_size, random))
        rates.append(100 / (time.perf_counter() - started))
    return statistics.median(rates)


def _run_of(data: Path) -> tuple[RunConfig, EnvSpec]:
    store = RunStore(Layout(data))
    try:
        spec = store.get("demo").spec
        assert spec is not None
        return run_config(store.revision("demo").config), EnvSpec.from_plain(spec)
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="pairs of measurements (default: 3)")
    parser.add_argument("--updates", type=int, default=4000, help="updates of the system per repeat (default: 4000)")
    parser.add_argument("--seconds", type=float, default=15.0, help="seconds of the bare loop per repeat (default: 15)")
    options = parser.parse_args()
    pairs = []
    print(f"{'system':>10} {'bare':>10} {'ratio':>7}")
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="tmrld-overhead-") as folder:
            running = system(options.updates, Path(folder))
            alone = bare(options.seconds, Path(folder))
        pairs.append((running, alone))
        print(f"{running:8.1f}/s {alone:8.1f}/s {running / alone:7.3f}", flush=True)
    print_report(
        "up_overhead",
        [
            {
                "metric": "system_vs_bare",
                "value": statistics.median(running / alone for running, alone in pairs),
                "unit": "ratio",
                "target": TARGET,
                "peers": {
                    "system_updates_per_s": statistics.median(running for running, _ in pairs),
                    "bare_updates_per_s": statistics.median(alone for _, alone in pairs),
                },
            }
        ],
    )


if __name__ == "__main__":
    main()
