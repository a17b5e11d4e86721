"""A made-up environment and gates for driving in tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tmrld.payloads import Array, Chunk, EnvSpec, PartSpec
from tmrld.worker.episode import Choice, Environment, Episode, EpisodePlan
from tmrld.worker.options import CollectionOptions
from tmrld.worker.rollout import Gate, drive

Observation = tuple[Array, ...]

SPEC = EnvSpec(
    "test/World-v0",
    (PartSpec("speed", (1,)), PartSpec("lidar", (3,), history=2)),
    action_size=2,
    action_buffer=2,
    default_action=(0.5, -0.5),
    step_s=0.05,
    reward_terms=("progress", "penalty"),
)
PLAN = EpisodePlan("run", "gamer", "oval")
NEVER_BY_TIME_S = 60.0


class World:
    """Shows random frames, ``steps`` times.  The arrays that it hands out are its own, and change with the next step.

    ``shown`` keeps copies of all observations; ``taken`` those of all actions.
    """

    def __init__(self, spec: EnvSpec = SPEC, steps: int = 5, *, terminated: bool = True, truncated: bool = False) -> None:
        self.spec = spec
        self.steps = steps
        self.ends = terminated, truncated
        self.random = np.random.default_rng(steps)
        self.shown: list[Observation] = []
        self.taken: list[Array] = []
        self.rewards: list[float] = []
        self.reset_with: tuple[int | None, dict[str, Any] | None] = None, None
        self.infos: Callable[[int], dict[str, Any]] = lambda _step: {}
        self._observation: Observation = tuple(
            [np.zeros(part.observed_shape, part.dtype) for part in spec.parts]
            + [np.zeros(spec.action_size, np.float32) for _ in range(spec.action_buffer)]
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.reset_with = seed, options
        first = [self._frame(part) for part in self.spec.parts]
        for _ in range(self.spec.depth):  # it fills all histories
            self._push(first, np.asarray(self.spec.default_action, np.float32))
        self._note()
        return self._observation, self.infos(0)

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.taken.append(action.copy())
        self._push([self._frame(part) for part in self.spec.parts], action)
        self._note()
        self.rewards.append(float(np.float32(self.random.normal())))
        last = len(self.taken) == self.steps
        terminated, truncated = self.ends
        return self._observation, self.rewards[-1], last and terminated, last and truncated, self.infos(len(self.taken))

    def _frame(self, part: PartSpec) -> Array:
        return self.random.integers(0, 256, part.shape).astype(part.dtype)

    def _push(self, frames: list[Array], action: Array) -> None:
        for part, kept, frame in zip(self.spec.parts, self._observation, frames, strict=False):
            if part.history:
                kept[:-1] = kept[1:].copy()
                kept[-1] = frame
            else:
                kept[...] = frame
        actions = self._observation[len(self.spec.parts) :]
        for older, newer in itertools.pairwise(actions):
            older[...] = newer
        if actions:
            actions[-1][...] = action

    def _note(self) -> None:
        self.shown.append(tuple(part.copy() for part in self._observation))


class Driver:
    """Chooses random actions, all in one array that it uses again."""

    def __init__(self, action_size: int, actors: tuple[str, ...] = ("policy",), version: int = 7) -> None:
        self._action = np.zeros(action_size, np.float32)
        self._random = np.random.default_rng(1)
        self._actors = actors
        self._version = version
        self.count = 0

    def __call__(self, observation: Any) -> Choice:
        self._action[...] = self._random.uniform(-1, 1, len(self._action))
        actor = self._actors[self.count % len(self._actors)]
        self.count += 1
        return Choice(self._action, actor, self._version if actor == "policy" else -1)


class Open:
    """A gate that never holds anybody up."""

    def ready(self, steps: int) -> int:
        return steps

    def wait(self) -> bool:
        raise AssertionError("nobody waits at an open gate")


def driven(
    world: World,
    *,
    chunk_steps: int = 100,
    info: tuple[str, ...] = (),
    plan: EpisodePlan = PLAN,
    gate: Gate | None = None,
    choose: Callable[[Any], Choice] | None = None,
    clock: Callable[[], float] | None = None,
) -> list[Chunk]:
    """One whole episode in this world."""
    collection = CollectionOptions(chunk_steps=chunk_steps, chunk_s=NEVER_BY_TIME_S, info=info)
    return list(driving(world, collection, plan=plan, gate=gate, choose=choose, clock=clock))


def driving(
    world: World,
    collection: CollectionOptions,
    *,
    plan: EpisodePlan = PLAN,
    gate: Gate | None = None,
    choose: Callable[[Any], Choice] | None = None,
    clock: Callable[[], float] | None = None,
) -> Iterator[Chunk]:
    """The same, chunk by chunk."""
    driver = choose or Driver(world.spec.action_size)
    plans = iter([plan])

    def begin(environment: Environment) -> Episode | None:
        plan = next(plans, None)
        return None if plan is None else Episode(environment, world.spec, plan, collection, clock)

    return drive([world], begin, lambda turn: [driver(episode.observation) for episode in turn], gate or Open())
