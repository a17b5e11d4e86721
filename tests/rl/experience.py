"""Made-up environments, episodes and chunks for the tests of tmrld.rl."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from tmrld.payloads import Array, Chunk, EnvSpec, PartSpec

Observation = tuple[Array, ...]


def lidar_spec() -> EnvSpec:
    """The spaces of TMRL's LIDAR flavour."""
    parts = (PartSpec("speed", (1,), scale=1000.0), PartSpec("lidar", (19,), history=4, scale=100.0))
    return EnvSpec("test/Lidar-v0", parts, action_size=3, action_buffer=2, default_action=(0.0, 0.0, 0.0))


def point_spec(action_size: int = 1) -> EnvSpec:
    """One position, no histories."""
    return EnvSpec("test/Point-v0", (PartSpec("position", (1,)),), action_size, default_action=(0.0,) * action_size)


def picture_spec(shape: tuple[int, ...] = (64, 64), history: int = 4) -> EnvSpec:
    """The spaces of TMRL's full flavour: numbers around a picture, which is small, in colour or without a history if wished."""
    parts = (PartSpec("speed", (1,), scale=100.0), PartSpec("images", shape, "uint8", 0.0, 255.0, history, 255.0))
    return EnvSpec("test/Full-v0", (*parts, PartSpec("gear", (1,))), 3, 2, (0.0, 0.0, 0.0))


@dataclass
class Episode:
    """The rows of an episode, and the observation after each of them, as an environment with real deques emits them."""

    spec: EnvSpec
    rows: list[dict[str, Array]] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return len(self.rows) - 1


def make_episode(spec: EnvSpec, steps: int, rng: np.random.Generator, terminated: bool = False) -> Episode:
    """Random frames, actions and rewards; the histories are kept the slow way, by pushing frame after frame."""
    episode = Episode(spec)
    frames = {part.name: deque[Array](maxlen=max(1, part.history)) for part in spec.parts}
    actions = deque[Array](maxlen=spec.action_buffer)
    for step in range(steps + 1):
        row: dict[str, Array] = {}
        for part in spec.parts:
            row[part.name] = rng.integers(0, 256, part.shape).astype(part.dtype)
            for _ in range(1 if step else max(1, part.history)):
                frames[part.name].append(row[part.name])
        row["action"] = np.asarray(
            rng.uniform(-1.0, 1.0, spec.action_size) if step else np.asarray(spec.default_action), np.float32
        )
        for _ in range(1 if step else spec.action_buffer):
            actions.append(row["action"])
        row["reward"] = np.asarray(rng.normal() if step else 0.0, np.float32)
        last = step == steps and step > 0
        row["terminated"] = np.asarray(last and terminated, np.uint8)
        row["truncated"] = np.asarray(last and not terminated, np.uint8)
        episode.rows.append(row)
        stacked = [np.stack(frames[part.name]) if part.history else frames[part.name][-1] for part in spec.parts]
        episode.observations.append((*stacked, *(action.copy() for action in actions)))
    return episode


def cut(episode: Episode, first_step: int, steps: int, number: int = 0, purpose: str = "train") -> Chunk:
    """The chunk with the steps after ``first_step``, its lead as the docstring of Chunk asks for."""
    lead = min(first_step, episode.spec.depth - 1) + 1
    rows = episode.rows[first_step - lead + 1 : first_step + steps + 1]
    last = rows[-1]
    return Chunk(
        run="run",
        worker="worker",
        incarnation="aa",
        number=number,
        episode="episode",
        first_step=first_step,
        steps=steps,
        lead=lead,
        track="track",
        purpose=purpose,
        ended="terminated" if last["terminated"] else "truncated" if last["truncated"] else "",
        columns={name: np.stack([row[name] for row in rows]) for name in rows[0]},
    )


def cut_all(episode: Episode, sizes: list[int]) -> list[Chunk]:
    """The whole episode in chunks of these sizes, over and over."""
    chunks: list[Chunk] = []
    start = 0
    while start < episode.steps:
        steps = min(sizes[len(chunks) % len(sizes)], episode.steps - start)
        chunks.append(cut(episode, start, steps, len(chunks)))
        start += steps
    return chunks


def flat(spec: EnvSpec, observation: Observation) -> Array:
    """The vector of an observation, written out the slow way."""
    values: list[float] = []
    for part, value in zip(spec.parts, observation, strict=False):
        if value.ndim <= (2 if part.history else 1):
            values += [float(np.float32(x) / np.float32(part.scale)) for x in value.reshape(-1)]
    for action in observation[len(spec.parts) :]:
        values += [float(x) for x in action]
    return np.asarray(values, np.float32)
