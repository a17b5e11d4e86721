"""How many updates per second Soft Actor-Critic and REDQ make, how near that is to the processor's limit, and how fast others are.

An update is everything that training does for one: drawing a batch of 256 from the replay memory, critics, policy, temperature,
target critics, measurements.  The limit is the same matrix products and convolutions alone, in float32, without anything around
them.  The network is the one that all have: TMRL's MLP of 256, 256 on LIDAR inputs, or its VanillaCNN on gray images, without tmrld's
layer norm in the critics; what that costs stands beside it.  One thread of torch each, and each peer in a process of its own;
see turns.py for what is timed.

The share of the limit is that of tmrld in float32, too.  Peers compute in float32, and tmrld as its users have it: on a processor
with AMX, convolutions and large products are in bfloat16 (`network.precision`).  What that makes of the limit has no target.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from experience import IMAGES, LIDAR, filled
from peers import HIDDEN, Update, baselines_update, tmrl_update
from report import print_report
from turns import Apart, Times, median_s, one_thread, ratio, taking_turns

from tmrld.payloads import EnvSpec
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.convolutions import Convolution, convolutions, images_size
from tmrld.rl.observations import vector_size
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Replay
from tmrld.trainer.memory import keep_freed_memory

BATCH = 256
CRITICS = 2
SAC = AlgorithmOptions(batch_size=BATCH)
REDQ = AlgorithmOptions(name="redq", batch_size=BATCH, critics=10, critic_subset=2, policy_interval=20, learn_alpha=False)
TRANSITIONS = {"lidar": 200_000, "images": 4_000}
PLAIN = NetworkOptions(hidden=HIDDEN, critic_layer_norm=False)
TARGETS: dict[str, float | None] = {
    "sac_mlp_gemm_share": 0.75,
    "sac_mlp_vs_sbx": 1.0,
    "sac_mlp_vs_sb3": 2.0,
    "sac_mlp_vs_tmrl": 3.0,
    "redq_gemm_share": 0.65,
    "redq_vs_tmrl": 2.5,
    "sac_cnn_conv_share": 0.85,
    "sac_cnn_vs_tmrl": 1.6,
    "sac_mlp_vs_limit": None,
    "redq_vs_limit": None,
    "sac_cnn_vs_limit": None,
}
LIMIT = "the limit"
OURS, EXACT = "tmrld", "tmrld in float32"
Product = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def our_update(replay: Replay, network: NetworkOptions, rng: np.random.Generator, options: AlgorithmOptions = SAC) -> Update:
    """An update of ours, its batch included."""
    algorithm = make_algorithm(options, network, replay.spec, seed=0)
    return lambda: algorithm.update(replay.sample(BATCH, rng))


def in_float32(network: NetworkOptions) -> NetworkOptions:
    """The same, whatever the processor could do faster."""
    return network.model_copy(update={"precision": "float32"})


def of_a_peer(make: Callable[..., Update | None], *arguments: object) -> Update | None:
    """An update as the peer's own users have it, in a process of its own; None where the peer is not installed."""
    update = Apart(make, *arguments)
    return update if update.present else None


def several(update: Update | None, times: int = REDQ.policy_interval) -> Update | None:
    """So many updates, after which the policy had its turn."""
    if update is None:
        return None

    def run() -> None:
        for _ in range(times):
            update()

    return run


def several_of_tmrl(kind: str, batch: int, rng: np.random.Generator) -> Update | None:
    """The same of `tmrl_update`."""
    return several(tmrl_update(kind, batch, rng))


def products(spec: EnvSpec, network: NetworkOptions, critics: int = 2, believed: int = 2, updates: int = 1) -> Update:
    """The products of so many updates of the critics, then one of the policy: forwards and backwards, as the algorithm needs them.

    ``believed`` target critics are asked.
    """
    actions = spec.action_size
    images = images_size(spec, network)
    inputs = vector_size(spec) + images
    of_the_policy = (inputs, *network.hidden, 2 * actions)
    of_a_critic = (inputs + actions, *network.hidden, 1)
    often = [
        *_layers(of_the_policy, (), forwards=1),
        *_layers(of_a_critic, (believed,), forwards=1),
        *_layers(of_a_critic, (critics,), forwards=1, of_weights=1, of_inputs=1),
    ]
    once = [
        *_layers(of_the_policy, (), forwards=1, of_weights=1, of_inputs=1),
        *_layers(of_a_critic, (critics,), forwards=1, of_inputs=1),
        _product(BATCH, network.hidden[0], actions, (critics,)),  # the gradient reaches the action through the first layer
    ]
    if images:  # and what reads the images gets the gradients of what it made of them
        once.append(_product(BATCH, network.hidden[0], images, ()))
        often.append(_product(BATCH, network.hidden[0], images, (critics,)))
    of_images = [
        run
        for layers in convolutions(spec, network)
        for index, layer in enumerate(layers)
        for run in _convolutions_of(layer, first=index == 0)
    ]

    def run() -> None:
        for _ in range(updates):
            for left, right, out in often:
                torch.matmul(left, right, out=out)
        for left, right, out in once:
            torch.matmul(left, right, out=out)
        for convolve in of_images:
            convolve()

    return run


def _layers(
    widths: tuple[int, ...], networks: tuple[int, ...], forwards: int = 0, of_weights: int = 0, of_inputs: int = 0
) -> list[Product]:
    """Passes through some networks at once: forwards, gradients of weights, gradients through all layers but the first."""
    found: list[Product] = []
    for layer, (a, b) in enumerate(pairwise(widths)):
        found += [_product(BATCH, a, b, networks) for _ in range(forwards)]
        found += [_product(a, BATCH, b, networks) for _ in range(of_weights)]
        found += [_product(BATCH, b, a, networks) for _ in range(of_inputs if layer else 0)]
    return found


def _product(rows: int, inner: int, columns: int, networks: tuple[int, ...]) -> Product:
    """Two matrices, and where their product goes; so many of them in a batch."""
    left, right, out = (torch.randn(*networks, *shape) for shape in ((rows, inner), (inner, columns), (rows, columns)))
    return left, right, out


def _convolutions_of(layer: Convolution, first: bool) -> list[Update]:
    """The convolutions of one update in this layer: two forwards of the policy, three of each critic, and one backwards of each."""
    height, width = ((size - 1) * layer.stride + layer.kernel for size in (layer.height, layer.width))
    images, weight, gradient = (
        torch.randn(*shape).to(memory_format=torch.channels_last)
        for shape in (
            (BATCH, layer.inputs, height, width),
            (layer.outputs, layer.inputs, layer.kernel, layer.kernel),
            (BATCH, layer.outputs, layer.height, layer.width),
        )
    )
    bias = torch.randn(layer.outputs)
    stride = [layer.stride] * 2

    def forwards() -> object:
        return torch.conv2d(images, weight, bias, layer.stride)

    def backwards() -> object:
        wanted = [not first, True, True]
        return torch.ops.aten.convolution_backward(
            gradient, images, weight, [layer.outputs], stride, [0, 0], [1, 1], False, [0, 0], 1, wanted
        )

    return [forwards] * (2 + 3 * CRITICS) + [backwards] * (1 + CRITICS)


def compared(candidates: dict[str, Update | None], turns: int, turn_s: float) -> tuple[Times, dict[str, float | None]]:
    """The times of those that are there, and the updates per second of all."""
    present = {name: run for name, run in candidates.items() if run is not None}
    times = taking_turns(present, turns, turn_s)
    return times, {name: 1.0 / median_s(times, name) if name in times else None for name in candidates}


def results(
    prefix: str, share: str, times: Times, speeds: dict[str, float | None], against: dict[str, str]
) -> list[dict[str, Any]]:
    """The share of the limit, then how many times as fast ours is as each peer: ``against`` has its metric's ending."""
    rows = [{"metric": f"{prefix}_{share}", "value": ratio(times, EXACT, LIMIT), "unit": "ratio", "peers": speeds}]
    for name, ending in (against | {LIMIT: "limit"}).items():
        value = ratio(times, OURS, name) if name in times else None
        rows.append({"metric": f"{prefix}_vs_{ending}", "value": value, "unit": "ratio", "peers": {}})
    return [row | {"target": TARGETS[str(row["metric"])]} for row in rows]


def mlp(rng: np.random.Generator, turns: int, turn_s: float) -> list[dict[str, Any]]:
    """The MLP on LIDAR inputs."""
    replay = filled(LIDAR, rng, TRANSITIONS["lidar"], 50)
    candidates: dict[str, Update | None] = {
        OURS: our_update(replay, PLAIN, rng),
        EXACT: our_update(replay, in_float32(PLAIN), rng),
        LIMIT: products(LIDAR, PLAIN),
        "tmrld with layer norm": our_update(replay, NetworkOptions(hidden=HIDDEN), rng),
        "SBX": of_a_peer(baselines_update, "sbx", BATCH, rng),
        "Stable-Baselines3": of_a_peer(baselines_update, "stable_baselines3", BATCH, rng),
        "TMRL": of_a_peer(tmrl_update, "lidar", BATCH, rng),
    }
    times, speeds = compared(candidates, turns, turn_s)
    return results("sac_mlp", "gemm_share", times, speeds, {"SBX": "sbx", "Stable-Baselines3": "sb3", "TMRL": "tmrl"})


def redq(rng: np.random.Generator, turns: int) -> list[dict[str, Any]]:
    """TMRL's example of REDQ: 10 critics, 20 updates of them for one of the policy; speeds are updates of the critics per second."""
    replay = filled(LIDAR, rng, TRANSITIONS["lidar"], 50)
    candidates: dict[str, Update | None] = {
        OURS: several(our_update(replay, PLAIN, rng, REDQ)),
        EXACT: several(our_update(replay, in_float32(PLAIN), rng, REDQ)),
        LIMIT: products(LIDAR, PLAIN, critics=10, believed=2, updates=REDQ.policy_interval),
        "TMRL": of_a_peer(several_of_tmrl, "redq", BATCH, rng),
    }
    times, speeds = compared(candidates, turns, 0.0)
    speeds = {name: None if speed is None else REDQ.policy_interval * speed for name, speed in speeds.items()}
    return results("redq", "gemm_share", times, speeds, {"TMRL": "tmrl"})


def cnn(rng: np.random.Generator, turns: int) -> list[dict[str, Any]]:
    """TMRL's VanillaCNN; an update takes a second, so each turn is one."""
    network = PLAIN.model_copy(update={"cnn": "tmrl"})
    replay = filled(IMAGES, rng, TRANSITIONS["images"], 50)
    candidates: dict[str, Update | None] = {
        OURS: our_update(replay, network, rng),
        EXACT: our_update(replay, in_float32(network), rng),
        LIMIT: products(IMAGES, network),
        "TMRL": of_a_peer(tmrl_update, "images", BATCH, rng),
    }
    times, speeds = compared(candidates, turns, 0.0)
    return results("sac_cnn", "conv_share", times, speeds, {"TMRL": "tmrl"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--turns", type=int, default=15, help="turns of each, of which the median counts (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one turn (default: %(default)s)")
    parser.add_argument("--cnn-turns", type=int, default=5, help="turns with images, of one update each; 0: none (default: 5)")
    arguments = parser.parse_args()
    one_thread()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()  # as the trainer does; the limit has it, too
    rng = np.random.default_rng(0)
    rows = mlp(rng, arguments.turns, arguments.seconds)
    rows += redq(rng, arguments.turns // 2 + 1)
    if arguments.cnn_turns:
        rows += cnn(rng, arguments.cnn_turns)
    print_report("updates", rows)


if __name__ == "__main__":
    main()
