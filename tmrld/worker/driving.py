"""Driving without a relay: `tmrld env run`.  The same episodes as a worker's, and a report of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import describe, make
from tmrld.envs.sim.scripted import scripted
from tmrld.errors import BadInput
from tmrld.payloads import EnvSpec, EpisodeSummary, Weights
from tmrld.rl.inference import load_actor
from tmrld.rl.weights import unpack
from tmrld.storage.files import read_file
from tmrld.worker.episode import Choice, Episode, EpisodePlan
from tmrld.worker.options import CollectionOptions, EvaluationOptions


@dataclass(frozen=True)
class Drive:
    """One episode as it was driven; ``seconds`` is how long that took on the wall clock."""

    seed: int
    summary: EpisodeSummary
    seconds: float

    @property
    def steps_per_s(self) -> float:
        """Environment steps per second, the policy included."""
        return self.summary.steps / max(self.seconds, 1e-9)


def drives(options: EnvironmentOptions, policy: str, episodes: int, seed: int, *, perturbed: bool) -> Iterator[Drive]:
    """Drive episodes with consecutive seeds, and yield each as it ends.

    ``policy`` is "random", "scripted" (our simulator's LIDAR flavours only), or the path of a weights file.  ``perturbed`` starts
    are those of evaluation episodes.  Raises BadInput for a policy that cannot drive here.
    """
    environment = make(options)
    try:
        spec = describe(environment, options)
        choose = chooser(policy, spec, seed)
        clock = None if options.clock == "lockstep" else time.monotonic
        for number in range(seed, seed + episodes):
            plan = EpisodePlan("", "", options.track, "evaluation", number, EvaluationOptions().start if perturbed else None)
            started = time.perf_counter()
            episode = Episode(environment, spec, plan, CollectionOptions(), clock)
            while not episode.ended:
                chunk = episode.step(choose(episode.observation))
                if chunk is not None and chunk.summary is not None:
                    yield Drive(number, chunk.summary, time.perf_counter() - started)
    finally:
        environment.close()


def chooser(policy: str, spec: EnvSpec, seed: int) -> Callable[[Any], Choice]:
    """Who drives: "random", "scripted", or the path of a weights file, as for `drives`.  Raises BadInput or WeightsError."""
    random = np.random.default_rng(seed)
    if policy == "random":
        return lambda _observation: Choice(random.uniform(-1, 1, spec.action_size).astype(np.float32), "random")
    if policy == "scripted":
        names = [part.name for part in spec.parts]
        if "speed" not in names or "lidar" not in names:
            raise BadInput(
                f"the scripted policy drives by speed and lidar, which {spec.id} does not show: use random, or a weights file"
            )
        speed, lidar = names.index("speed"), names.index("lidar")
        return lambda observation: Choice(scripted((observation[speed], observation[lidar])), "scripted")
    path = Path(policy)
    if not path.is_file():
        raise BadInput(
            f"--policy {policy!r} is neither random nor scripted nor a file: give the path of a downloaded weights file"
        )
    data = read_file(path)
    manifest, _ = unpack(data)
    actor = load_actor(Weights(manifest, data), spec)
    return lambda observation: Choice(actor.act(observation, deterministic=True, rng=random), "policy", manifest.version)
