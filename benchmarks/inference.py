"""How long a worker takes to choose an action: observation in, action out, one at a time.

Three policies: TMRL's MLP of 256, 256 on LIDAR inputs, its VanillaCNN on four gray images of 64 by 64, and the convolutions that are
our default in its place.  Peers, in the same turns:
TMRL's own policies, from observation to action as its worker calls them, and what cannot be avoided in numpy, the policy's matrix
products alone.  Times are the medians of single calls, each right after another of its kind.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from experience import IMAGES, LIDAR
from peers import HIDDEN, tmrl_act
from report import print_report
from turns import one_thread

from tmrld.payloads import Array, EnvSpec, WeightsManifest
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.convolutions import convolutions, images_size
from tmrld.rl.inference import load_actor
from tmrld.rl.observations import vector_size
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.weights import pack

TMRLS = NetworkOptions(hidden=HIDDEN, cnn="tmrl")
OURS = NetworkOptions(hidden=HIDDEN)
TARGETS = {"mlp_p50_ms": 0.04, "cnn_p50_ms": 1.2, "our_cnn_p50_ms": 0.3}
Act = Callable[[], object]


def observed(spec: EnvSpec, rng: np.random.Generator) -> tuple[Array, ...]:
    """What an environment of this spec might give."""
    parts = [rng.integers(0, 256, part.observed_shape).astype(part.dtype) for part in spec.parts]
    return (*parts, *(rng.uniform(-1.0, 1.0, spec.action_size).astype(np.float32) for _ in range(spec.action_buffer)))


def our_act(spec: EnvSpec, network: NetworkOptions, rng: np.random.Generator) -> Act:
    """A policy of ours, exploring as in training."""
    algorithm = make_algorithm(AlgorithmOptions(), network, spec, seed=0)
    manifest = WeightsManifest("", 0, 0, 0, spec, network.model_dump(mode="json"), "sac", "")
    actor = load_actor(pack(manifest, algorithm.policy_tensors()), spec)
    observation = observed(spec, rng)
    return lambda: actor.act(observation, False, rng)


def products(spec: EnvSpec, network: NetworkOptions) -> Act:
    """The matrix products that the policy needs, with buffers made before, and nothing else."""
    pairs: list[tuple[Array, Array, Array]] = []
    for layers in convolutions(spec, network):
        for layer in layers:
            pairs.append(_matrices((layer.outputs, layer.fan_in), (layer.fan_in, layer.height * layer.width)))
    for a, b in pairwise((vector_size(spec) + images_size(spec, network), *HIDDEN, 2 * spec.action_size)):
        pairs.append(_matrices((b, a), (a,)))

    def run() -> None:
        for left, right, out in pairs:
            np.dot(left, right, out=out)

    return run


def _matrices(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[Array, Array, Array]:
    return np.ones(left, np.float32), np.ones(right, np.float32), np.empty((left[0], *right[1:]), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1001, help="actions of each (default: %(default)s)")
    steps = parser.parse_args().steps
    one_thread()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    results: list[dict[str, Any]] = []
    for metric, spec, network, kind in (
        ("mlp_p50_ms", LIDAR, TMRLS, "lidar"),
        ("cnn_p50_ms", IMAGES, TMRLS, "images"),
        ("our_cnn_p50_ms", IMAGES, OURS, "images"),
    ):
        candidates = {
            "tmrld": our_act(spec, network, rng),
            "matrix products alone": products(spec, network),
            "TMRL": tmrl_act(kind),
        }
        times: dict[str, list[float]] = {name: [] for name, run in candidates.items() if run is not None}
        for _ in range(steps // 10 if spec is IMAGES else steps):
            for name, run in candidates.items():
                if run is None:
                    continue
                run()
                start = time.perf_counter()
                run()
                times[name].append(1e3 * (time.perf_counter() - start))
        ms = {name: statistics.median(times[name]) if name in times else None for name in candidates}
        value = ms.pop("tmrld")
        results.append({"metric": metric, "value": value, "unit": "ms", "target": TARGETS[metric], "peers": ms})
    print_report("inference", results)


if __name__ == "__main__":
    main()
