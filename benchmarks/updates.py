"""How many updates per second Soft Actor-Critic makes on TMRL's LIDAR inputs, and how near that is to the processor's limit.

An update is everything that training does for one: drawing a batch from the replay memory, critics, policy, temperature, target
critics, measurements.  The limit is the same matrix products alone, without anything around them.  Both are timed in turns, and
the fastest turn of each counts, so that other programs on the machine matter little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from report import print_report

from tmrld.payloads import Array, Chunk, EnvSpec, PartSpec
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.observations import vector_size
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Replay

SPEC = EnvSpec(
    "benchmark/Lidar-v0",
    (PartSpec("speed", (1,), scale=100.0), PartSpec("lidar", (19,), history=4, scale=300.0)),
    action_size=3,
    action_buffer=2,
    default_action=(0.0, 0.0, 0.0),
)
TRANSITIONS = 200_000
CHUNK_STEPS = 50
TURNS = 10
TURN_S = 1.0


def filled_replay(rng: np.random.Generator) -> Replay:
    """A replay memory full of noise, in chunks of one long episode."""
    replay = Replay(SPEC, TRANSITIONS)
    for number in range(TRANSITIONS // CHUNK_STEPS):
        first_step = number * CHUNK_STEPS
        lead = min(first_step, SPEC.depth - 1) + 1
        rows = lead + CHUNK_STEPS
        columns: dict[str, Array] = {
            "speed": rng.uniform(0.0, 200.0, (rows, 1)).astype(np.float32),
            "lidar": rng.uniform(0.0, 500.0, (rows, 19)).astype(np.float32),
            "action": rng.uniform(-1.0, 1.0, (rows, 3)).astype(np.float32),
            "reward": rng.uniform(0.0, 0.3, rows).astype(np.float32),
            "terminated": np.zeros(rows, np.uint8),
            "truncated": np.zeros(rows, np.uint8),
        }
        replay.append(Chunk("", "", "", number, "", first_step, CHUNK_STEPS, lead, "", "train", "", columns))
    return replay


def matrix_products(hidden: tuple[int, ...], batch: int) -> Callable[[], None]:
    """The products of one update: forwards and backwards through policy and both critics, as the algorithm needs them."""
    inputs, actions = vector_size(SPEC), SPEC.action_size
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def product(rows: int, inner: int, columns: int, networks: tuple[int, ...]) -> None:
        pairs.append((torch.randn(*networks, rows, inner), torch.randn(*networks, inner, columns)))

    def network(widths: tuple[int, ...], networks: tuple[int, ...], forwards: int, of_weights: int, of_inputs: int) -> None:
        """Passes through one network: forwards, gradients of weights, gradients through all layers but the first."""
        for layer, (a, b) in enumerate(pairwise(widths)):
            for _ in range(forwards):
                product(batch, a, b, networks)
            for _ in range(of_weights):
                product(a, batch, b, networks)
            for _ in range(of_inputs if layer else 0):
                product(batch, b, a, networks)

    network((inputs, *hidden, 2 * actions), (), forwards=2, of_weights=1, of_inputs=1)
    network((inputs + actions, *hidden), (2,), forwards=3, of_weights=1, of_inputs=2)
    product(batch, hidden[0], inputs + actions, (2,))  # the policy's gradient reaches the action through the first layer

    def run() -> None:
        for left, right in pairs:
            torch.matmul(left, right)

    return run


def fastest(candidates: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Runs per second of each candidate in its best turn."""
    best = dict.fromkeys(candidates, 0.0)
    for _ in range(TURNS):
        for name, run in candidates.items():
            count, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < TURN_S:
                run()
                count += 1
            best[name] = max(best[name], count / elapsed)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    rng = np.random.default_rng(0)
    replay = filled_replay(rng)
    results = []
    for network, batch in ((NetworkOptions(hidden=(256, 256)), 256), (NetworkOptions(), AlgorithmOptions().batch_size)):
        algorithm = make_algorithm(AlgorithmOptions(batch_size=batch), network, SPEC, seed=0)
        speeds = fastest(
            {
                "update": lambda algorithm=algorithm, batch=batch: algorithm.update(replay.sample(batch, rng)),  # type: ignore[misc]
                "products": matrix_products(network.hidden, batch),
            }
        )
        shape = "-".join(map(str, network.hidden))
        results.append(
            {
                "metric": f"SAC {shape}, batch {batch}",
                "value": speeds["update"],
                "unit": "updates/s",
                "target": None,
                "peers": {"matrix products alone": speeds["products"]},
            }
        )
    start = time.perf_counter()
    for _ in range(1000):
        replay.sample(256, rng)
    results.append(
        {
            "metric": "drawing a batch of 256",
            "value": (time.perf_counter() - start) * 1000.0,
            "unit": "µs",
            "target": None,
            "peers": {},
        }
    )
    print_report("updates", results)


if __name__ == "__main__":
    main()
