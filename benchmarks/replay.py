"""How long the replay memory takes to draw a batch and to take in samples when it is full, and what a transition costs in memory.

A batch is 256 transitions, their histories rebuilt, as in an update: LIDAR inputs, or four gray images of 64 by 64 as bytes.  Peers,
in the same turns: TMRL 0.7.1's own memories; ``cpprb``, which holds whole observations; and a bare gather, the rows of one array that
holds them whole, too.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from experience import IMAGES, LIDAR, filled, noise
from peers import Update, tmrl_image_memory, tmrl_lidar_memory, tmrl_lidar_samples
from report import print_report
from turns import median_s, one_thread, ratio, taking_turns

from tmrld.payloads import Array
from tmrld.rl.observations import vector_size

BATCH = 256
SIZES = (10_000, 10_000_000)
FULL = 1_000_000
APPENDED = 1000
FRAME = 64 * 64
TARGETS = {
    "lidar_sample_ms": 0.2,
    "lidar_n_step_sample_ms": None,
    "image_sample_ms": 1.0,
    "append_1000_full_ms": 0.5,
    "sample_growth_1e4_1e7": 1.3,
    "lidar_bytes_per_transition": 130.0,
}


def bare_gather(rng: np.random.Generator, columns: tuple[Array, ...]) -> Update:
    """Rows of columns that hold each observation whole."""
    count = len(columns[0])

    def run() -> list[Array]:
        which = rng.integers(0, count, BATCH)
        return [column.take(which, axis=0) for column in columns]

    return run


def cpprb_sample(rng: np.random.Generator, inputs: int, count: int) -> Update | None:
    """A batch of whole vectors from cpprb, which rebuilds nothing; None where it is not installed."""
    if find_spec("cpprb") is None:
        print('cpprb is not installed here, so it is not compared with: pip install "tmrld[bench]"', file=sys.stderr)
        return None
    shapes: dict[str, Any] = {
        "obs": {"shape": inputs},
        "act": {"shape": 3},
        "rew": {},
        "next_obs": {"shape": inputs},
        "done": {},
    }
    buffer = import_module("cpprb").ReplayBuffer(count, shapes)
    sizes = {name: options.get("shape", 1) for name, options in shapes.items()}
    buffer.add(**{name: rng.random((count, size), np.float32) for name, size in sizes.items()})
    return lambda: buffer.sample(BATCH)


def sampling(rng: np.random.Generator, turns: int) -> list[dict[str, Any]]:
    """Batches of LIDAR inputs and of images."""
    lidar, images = filled(LIDAR, rng, 200_000, 50), filled(IMAGES, rng, 20_000, 50)
    inputs = vector_size(LIDAR)
    vectors = rng.random((200_000, 2 * inputs + 5), np.float32)
    stacks = rng.integers(0, 256, (4_000, 2 * 4 * FRAME), np.uint8)
    tmrl_lidar, tmrl_images = tmrl_lidar_memory(20_000, BATCH, rng), tmrl_image_memory(4_000, BATCH, rng)
    candidates: dict[str, Update | None] = {
        "lidar_sample_ms": lambda: lidar.sample(BATCH, rng),
        "lidar_n_step_sample_ms": lambda: lidar.sample(BATCH, rng, 8, 0.98),
        "lidar_sample_ms bare gather": bare_gather(rng, (vectors,)),
        "lidar_sample_ms cpprb": cpprb_sample(rng, inputs, 200_000),
        "lidar_sample_ms TMRL": None if tmrl_lidar is None else tmrl_lidar.sample,
        "image_sample_ms": lambda: images.sample(BATCH, rng),
        "image_sample_ms bare gather": bare_gather(rng, (stacks,)),
        "image_sample_ms TMRL": None if tmrl_images is None else tmrl_images.sample,
    }
    times = taking_turns({name: run for name, run in candidates.items() if run is not None}, turns, 0.02)
    ms = {name: 1e3 * median_s(times, name) if name in times else None for name in candidates}
    return [
        _row(
            metric, ms[metric], "ms", {name.partition(" ")[2]: ms[name] for name in candidates if name.startswith(f"{metric} ")}
        )
        for metric in candidates
        if " " not in metric
    ]


def appending(rng: np.random.Generator, turns: int) -> list[dict[str, Any]]:
    """A thousand samples, as chunks of 100 steps, into a memory that is full."""
    replay = filled(LIDAR, rng, FULL, 100)
    chunk = noise(LIDAR, rng, 100)

    def ours() -> None:
        for _ in range(APPENDED // chunk.steps):
            replay.append(chunk)

    candidates: dict[str, Update] = {"ours": ours}
    tmrl = tmrl_lidar_memory(1000, BATCH, rng)
    if tmrl is not None:
        samples = tmrl_lidar_samples(APPENDED, rng)
        tmrl.memory_size = FULL
        while len(tmrl) < FULL:
            tmrl.append_buffer(samples)
        candidates["TMRL"] = lambda: tmrl.append_buffer(samples)
    times = taking_turns(candidates, turns, 0.02)
    peers = {"TMRL": 1e3 * median_s(times, "TMRL") if tmrl is not None else None}
    return [
        _row("append_1000_full_ms", 1e3 * median_s(times, "ours"), "ms", peers),
        _row("lidar_bytes_per_transition", replay.size_bytes / FULL, "bytes", {}),
    ]


def growth(rng: np.random.Generator, turns: int) -> list[dict[str, Any]]:
    """The same batch from a small memory and from a large one."""
    small, large = (filled(LIDAR, rng, size, 1000) for size in SIZES)
    candidates: dict[str, Update] = {"small": lambda: small.sample(BATCH, rng), "large": lambda: large.sample(BATCH, rng)}
    times = taking_turns(candidates, turns, 0.02)
    ms = {f"{size:,} transitions": 1e3 * median_s(times, name) for size, name in zip(SIZES, candidates, strict=True)}
    return [_row("sample_growth_1e4_1e7", ratio(times, "small", "large"), "ratio", ms)]


def _row(metric: str, value: float | None, unit: str, peers: dict[str, float | None] | dict[str, float]) -> dict[str, Any]:
    return {"metric": metric, "value": value, "unit": unit, "target": TARGETS[metric], "peers": peers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--turns", type=int, default=41, help="turns of each, of which the median counts (default: %(default)s)"
    )
    turns = parser.parse_args().turns
    one_thread()
    rng = np.random.default_rng(0)
    print_report("replay", [*sampling(rng, turns), *appending(rng, turns), *growth(rng, turns)])


if __name__ == "__main__":
    main()
