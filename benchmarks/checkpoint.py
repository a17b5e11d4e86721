"""How long updates stand still for a checkpoint, with a replay memory of a million transitions.

What stands still is the copying of the state; packing, checksums, writing and sending go on in a thread beside the updates, and are
listed under it.  The times are wall-clock.  TMRL pickles its memory with everything else: its own class and memory are dumped the way
its trainer does, where it is installed.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experience import LIDAR, filled
from peers import tmrl_lidar_memory, tmrl_lidar_samples
from report import print_report
from turns import one_thread

from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.trainer.checkpoints import Checkpoint, CheckpointFolder, pack
from tmrld.trainer.loop import TrainingLoop
from tmrld.trainer.options import TrainingOptions

TRANSITIONS = 1_000_000
BATCH = 256
TARGET_S = 0.05


def our_loop(rng: np.random.Generator) -> TrainingLoop:
    """Training with TMRL's MLP, under way."""
    options = AlgorithmOptions(batch_size=BATCH)
    algorithm = make_algorithm(options, NetworkOptions(hidden=(256, 256)), LIDAR, seed=0)
    loop = TrainingLoop(algorithm, filled(LIDAR, rng, TRANSITIONS, 100), options, TrainingOptions())
    loop.update()
    return loop


def tmrl_dump_s(rng: np.random.Generator, folder: Path) -> float | None:
    """Seconds that TMRL takes to pickle its memory, which is nearly all of its checkpoint."""
    memory = tmrl_lidar_memory(1000, BATCH, rng)
    if memory is None:
        return None
    memory.memory_size = TRANSITIONS
    while len(memory) < TRANSITIONS:
        memory.append_buffer(tmrl_lidar_samples(100_000, rng))

    def dump() -> None:
        with Path(folder, "tmrl.tcpt").open("wb") as file:
            pickle.dump(memory, file)

    return seconds(dump)


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=21, help="checkpoints, of which the median counts (default: %(default)s)"
    )
    arguments = parser.parse_args()
    one_thread()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    loop = our_loop(rng)
    stalls: list[float] = []
    writes: list[float] = []
    size = 0
    with tempfile.TemporaryDirectory() as name:
        folder = CheckpointFolder(Path(name, "ours"))
        for _ in range(arguments.repeats):
            loop.update()
            start = time.perf_counter()
            arrays, plain = loop.state()
            copied = time.perf_counter()
            data = pack(Checkpoint("", loop.counters.updates, 0, 0, 0, 0, arrays, plain))
            folder.save(loop.counters.updates, 0, data)
            stalls.append(copied - start)
            writes.append(time.perf_counter() - copied)
            size = len(data)
        del loop
        peers: dict[str, Any] = {
            "worst": max(stalls),
            "packing and writing, beside": statistics.median(writes),
            "size in MiB": size / 2**20,
            "TMRL": tmrl_dump_s(rng, Path(name)),
        }
    stall = statistics.median(stalls)
    print_report(
        "checkpoint", [{"metric": "checkpoint_stall_s", "value": stall, "unit": "s", "target": TARGET_S, "peers": peers}]
    )


if __name__ == "__main__":
    main()
