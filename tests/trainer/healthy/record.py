"""Records ten healthy trainings in the simulator, one after the other: what they tell the judge of their health.

    python -m tests.trainer.healthy.record            all that are missing, beside this file
    python -m tests.trainer.healthy.record plain      this one, again

They are short, and differ in what changes the numbers most: temperature, discount, scale of reward, ratio of updates, a memory that
forgets, a network that is small.  All of them learn: the last thing that is printed of each is how far it drives.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.trainer.healthy.streams import Entry, write
from tmrld.configuration import RunConfig, run_config
from tmrld.envs.registry import describe, make
from tmrld.payloads import Chunk, WeightsManifest
from tmrld.rl import weights
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.inference import load_actor
from tmrld.rl.replay import Replay
from tmrld.trainer.health import Report
from tmrld.trainer.loop import TrainingLoop
from tmrld.trainer.symptoms import Driven, shown_by
from tmrld.worker.episode import Choice, Episode, EpisodePlan

FOLDER = Path(__file__).parent
REPORT_UPDATES = 100

RUNS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "plain": (3500, {}),
    "another-seed": (3500, {"training": {"seed": 1}}),
    "fixed-temperature": (3000, {"algorithm": {"learn_alpha": False}}),
    "automatic-target": (3000, {"algorithm": {"target_entropy": "auto"}}),
    "one-step": (3000, {"algorithm": {"n_step": 1, "update_to_data": 0.25}}),
    "far-sighted": (3000, {"algorithm": {"gamma": 0.995, "tau": 0.005}}),
    "large-rewards": (3000, {"algorithm": {"reward_scale": 10.0, "alpha": 0.1}}),
    "forgetful": (3500, {"replay": {"capacity": 10_000}}),
    "small-network": (3500, {"network": {"hidden": [32, 32]}, "algorithm": {"batch_size": 64}}),
    "many-updates": (4000, {"algorithm": {"update_to_data": 1.0, "learning_rate_actor": 3e-4, "learning_rate_critic": 3e-4}}),
}
"""By name: how many updates, and what differs from the defaults."""


def record(name: str) -> None:
    """Train, and write what was told to ``name``.csv."""
    updates, changes = RUNS[name]
    entries = list(trained(run_config(changes), updates))
    write(FOLDER / f"{name}.csv", entries)
    episodes = [entry for _, entry in entries if isinstance(entry, Driven) and entry.episode_return is not None]
    last = episodes[-20:]
    print(
        f"{name}: {len(episodes)} episodes in {entries[-1][0]:.0f} s, the last {len(last)} drive "
        f"{np.mean([each.progress for each in last]):.0%} of the track, {sum(each.finished for each in episodes)} laps",
        flush=True,
    )


def trained(config: RunConfig, updates: int) -> Iterator[Entry]:
    """One training in the simulator, in lockstep with its only car."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    environment = make(config.environment)
    spec = describe(environment, config.environment)
    algorithm = make_algorithm(config.algorithm, config.network, spec, config.training.seed)
    loop = TrainingLoop(algorithm, Replay(spec, config.replay.capacity), config.algorithm, config.training)
    random = np.random.default_rng([config.training.seed, 2])
    began, actor, version = time.monotonic(), None, -1
    plan = EpisodePlan("healthy", "w", str(config.environment.track))
    episode = Episode(environment, spec, plan, config.collection)
    while True:
        if episode.ended:
            episode = Episode(environment, spec, plan, config.collection)
        if actor is None:
            choice = Choice(random.uniform(-1.0, 1.0, spec.action_size).astype(np.float32), "random")
        else:
            choice = Choice(actor.act(episode.observation, deterministic=False, rng=random), "policy", version)
        chunk: Chunk | None = episode.step(choice)
        if chunk is None:
            continue
        loop.ingest(chunk, 0, 0)
        forgets = loop.counters.transitions > len(loop.replay)
        interval = config.training.weights_interval_updates
        driven = shown_by(chunk, config.algorithm.gamma, loop.counters.weights_version, interval, forgets=forgets)
        yield time.monotonic() - began, driven
        while loop.update_is_due:
            loop.update()
            made = loop.counters.updates
            if made % interval == 0:
                version = loop.counters.weights_version = version + 1
                network = config.network.model_dump(mode="json")
                manifest = WeightsManifest("healthy", version, made, 0, spec, network, config.algorithm.name)
                actor = load_actor(weights.pack(manifest, algorithm.policy_tensors()), spec)
            if made % REPORT_UPDATES == 0:
                yield time.monotonic() - began, Report(made, algorithm.stats())
            if made == updates:
                environment.close()
                return


if __name__ == "__main__":
    for wanted in sys.argv[1:] or [name for name in RUNS if not (FOLDER / f"{name}.csv").exists()]:
        record(wanted)
