"""How many transitions per second one engine process of a worker makes with several cars: environment, policy, chunks and all.

Counted are seconds of the processor, one core of which such an engine keeps busy: so what else the machine does hardly matters.
The cars drive on the simulator with a policy of the default size that has learned nothing, but keeps to the gas.  Peers, measured in
the same run: engines with other numbers of cars, that of a single car among them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from report import print_report

from tmrld.configuration import run_config
from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import describe, make
from tmrld.payloads import Array, EnvSpec, Weights, WeightsManifest
from tmrld.protocol.messages import Allowance, Assign, ChunkMessage, Command, Message, WeightsMessage
from tmrld.rl.options import NetworkOptions
from tmrld.rl.weights import pack
from tmrld.worker.engine import WorkerEngine

CARS = (1, 4, 16)


class Port:
    """An engine's daemon: hands over assignment, weights and allowance, takes chunks, and stops the engine when it waits.

    ``seconds`` is how long it drove, not counting how long the environments took to be made: of processor time, which is what an
    engine needs that never waits.
    """

    def __init__(self, config: dict[str, Any], weights: Weights, transitions: int) -> None:
        manifest = weights.manifest
        self._inbox: list[Message] = [
            Assign("cars", config, 1, "running"),
            WeightsMessage("cars", manifest.version, manifest.update, 0, 0, weights.data),
            Allowance("cars", "", transitions),
        ]
        self._began = 0.0
        self.seconds = 0.0
        self.transitions = 0

    def poll(self) -> Message | None:
        return None

    def beat(self, quiet_s: float = 0.0) -> None:
        pass

    def wait(self, timeout_s: float | None = None) -> Message | None:
        if self._inbox:
            self._began = time.process_time()
            return self._inbox.pop(0)
        self.seconds = time.process_time() - self._began
        return Command(0, "stop", {})

    def send(self, message: Message, wait_s: float | None = 0.0) -> None:
        if isinstance(message, ChunkMessage):
            self.transitions += message.steps


def policy(spec: EnvSpec, network: NetworkOptions) -> Weights:
    """Small random weights, and a bias towards gas."""
    random = np.random.default_rng(0)
    widths = [spec.observation_size, *network.hidden, 2 * spec.action_size]
    names = [*(f"trunk.layers.{index}" for index in range(len(network.hidden))), "head"]
    tensors: dict[str, Array] = {}
    for name, fan_in, fan_out in zip(names, widths, widths[1:], strict=False):
        tensors[f"{name}.weight"] = random.normal(0.0, 0.05, (fan_out, fan_in)).astype(np.float32)
        tensors[f"{name}.bias"] = np.zeros(fan_out, np.float32)
    tensors["head.bias"][0] = 1.0
    return pack(WeightsManifest("cars", 1, 1, 0, spec, network.model_dump(mode="json"), "sac"), tensors)


def rate(config: dict[str, Any], weights: Weights, cars: int, transitions: int) -> float:
    """Transitions per second of an engine with so many cars."""
    port = Port(config, weights, transitions)
    WorkerEngine(port, "cars", "bench", config, 0, cars).run()  # type: ignore[arg-type]  # all that it needs of a port
    assert port.transitions == transitions
    return transitions / port.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=8000, help="per repeat (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats, of which the median counts (default: %(default)s)")
    parser.add_argument("--id", default=EnvironmentOptions().id, help="environment (default: %(default)s)")
    parser.add_argument("--track", default="default", help="track of the simulator (default: %(default)s)")
    arguments = parser.parse_args()

    config = run_config({"environment": {"id": arguments.id, "track": arguments.track}}).model_dump(mode="json")
    options = EnvironmentOptions.model_validate(config["environment"])
    environment = make(options)
    weights = policy(describe(environment, options), NetworkOptions.model_validate(config["network"]))
    environment.close()

    rates: dict[int, list[float]] = {cars: [] for cars in CARS}
    for cars in CARS:
        rate(config, weights, cars, min(500, arguments.transitions))
    for _ in range(arguments.repeats):  # taking turns, so that a busy moment of the machine hits all alike
        for cars in CARS:
            rates[cars].append(rate(config, weights, cars, arguments.transitions))

    medians = {cars: round(statistics.median(values), 1) for cars, values in rates.items()}
    most = max(CARS)
    print_report(
        "cars",
        [
            {
                "metric": f"transitions_per_s_{most}_cars",
                "value": medians[most],
                "unit": "1/s",
                "target": None,
                "best": round(max(rates[most]), 1),
                "ratio_to_one_car": round(
                    statistics.median(many / one for many, one in zip(rates[most], rates[1], strict=True)), 3
                ),
                "peers": {f"{cars} car{'s' if cars > 1 else ''}": medians[cars] for cars in CARS if cars != most},
            }
        ],
    )


if __name__ == "__main__":
    main()
