"""The spaces that TMRL's two flavours have, and memories of ours full of noise in them."""

from __future__ import annotations

import numpy as np

from tmrld.payloads import Array, Chunk, EnvSpec, PartSpec
from tmrld.rl.replay import Replay

LIDAR = EnvSpec(
    "benchmark/Lidar-v0",
    (PartSpec("speed", (1,), scale=100.0), PartSpec("lidar", (19,), history=4, scale=300.0)),
    action_size=3,
    action_buffer=2,
    default_action=(0.0, 0.0, 0.0),
)
IMAGES = EnvSpec(
    "benchmark/Full-v0",
    (
        PartSpec("speed", (1,), scale=1000.0),
        PartSpec("gear", (1,), scale=10.0),
        PartSpec("rpm", (1,), scale=10_000.0),
        PartSpec("images", (64, 64), "uint8", 0.0, 255.0, history=4, scale=256.0),
    ),
    action_size=3,
    action_buffer=2,
    default_action=(0.0, 0.0, 0.0),
)


def noise(spec: EnvSpec, rng: np.random.Generator, steps: int) -> Chunk:
    """A chunk out of the middle of an episode, of so many steps."""
    rows = spec.depth + steps
    columns: dict[str, Array] = {
        "action": rng.uniform(-1.0, 1.0, (rows, spec.action_size)).astype(np.float32),
        "reward": rng.uniform(0.0, 0.3, rows).astype(np.float32),
        "terminated": np.zeros(rows, np.uint8),
        "truncated": np.zeros(rows, np.uint8),
    }
    for part in spec.parts:
        top = 255.0 if part.dtype == "uint8" else 2.0 * part.scale
        columns[part.name] = rng.uniform(0.0, top, (rows, *part.shape)).astype(part.dtype)
    return Chunk("", "", "", 0, "", spec.depth, steps, spec.depth, "", "train", "", columns)


def filled(spec: EnvSpec, rng: np.random.Generator, transitions: int, chunk_steps: int) -> Replay:
    """A memory that is full of the same few chunks over and over."""
    replay = Replay(spec, transitions)
    chunks = [noise(spec, rng, chunk_steps) for _ in range(min(100, transitions // chunk_steps))]
    for number in range(transitions // chunk_steps):
        replay.append(chunks[number % len(chunks)])
    return replay
