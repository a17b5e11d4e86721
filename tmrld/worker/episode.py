"""One episode while it is driven: actions in, chunks out.  No task, no socket, no file.

An `Episode` begins with the environment's reset; each `step` takes it one action further and returns a `Chunk` when one is full, so
that the experience of a long episode leaves while it goes on.  Whoever drives decides what happens in between (tmrld.worker.rollout).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tmrld.envs.registry import newest_frames
from tmrld.payloads import ACTOR_KINDS, POLICY, Array, Chunk, EnvSpec, EpisodeSummary
from tmrld.protocol.messages import MAX_TRACK_NAME
from tmrld.worker.options import CollectionOptions
from tmrld.worker.summary import Summary, number_of


class Environment(Protocol):
    """The part of Gymnasium's `Env` that an episode needs."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]: ...

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]: ...


@dataclass(frozen=True)
class Choice:
    """An action, who chose it (one of ACTOR_KINDS), and by which version of the weights (-1: none).

    ``state`` is what the learned policy remembered before, if that is to be told.
    """

    action: Array
    actor: str
    weights_version: int = -1
    state: Array | None = None


@dataclass(frozen=True)
class EpisodePlan:
    """What kind of episode to drive: its purpose, where it starts, and what its chunks are stamped with."""

    run: str
    worker: str
    track: str
    purpose: str = "train"
    seed: int | None = None
    reset_options: dict[str, Any] | None = None


class _Rows:
    """The rows of an episode that are not yet sent, and the lead that the next chunk repeats."""

    def __init__(self, spec: EnvSpec, info: tuple[str, ...]) -> None:
        self._spec = spec
        self._info = info
        self._rows: list[tuple[Any, ...]] = []
        self._frames: list[dict[str, Array]] = []

    def add(
        self,
        frames: dict[str, Array],
        choice: Choice,
        reward: float,
        terminated: bool,
        truncated: bool,
        time_s: float,
        info: Mapping[str, Any],
    ) -> None:
        """Add a row.  Arrays are copied: environments and policies may use theirs again."""
        terms = info.get("reward_terms", {})
        self._frames.append({name: frame.copy() for name, frame in frames.items()})
        self._rows.append(
            (
                np.array(choice.action, np.float32),
                reward,
                terminated,
                truncated,
                time_s,
                choice.weights_version,
                ACTOR_KINDS.index(choice.actor),
                *(number_of(name, terms.get(name, 0.0)) for name in self._spec.reward_terms),
                *(number_of(name, info.get(name)) for name in self._info),
            )
        )

    def columns(self) -> dict[str, Array]:
        """All rows as columns, in the layout of `Chunk`."""
        columns: dict[str, Array] = {
            part.name: np.asarray([frames[part.name] for frames in self._frames], dtype=part.dtype).reshape(
                len(self._frames), *part.shape
            )
            for part in self._spec.parts
        }
        values = list(zip(*self._rows, strict=True))
        columns["action"] = np.asarray(values[0], np.float32).reshape(len(self._rows), self._spec.action_size)
        columns["reward"] = np.asarray(values[1], np.float32)
        columns["terminated"] = np.asarray(values[2], np.uint8)
        columns["truncated"] = np.asarray(values[3], np.uint8)
        columns["time"] = np.asarray(values[4], np.float64)
        columns["weights"] = np.asarray(values[5], np.int64)
        columns["actor"] = np.asarray(values[6], np.uint8)
        names = [f"term.{name}" for name in self._spec.reward_terms] + [f"info.{name}" for name in self._info]
        for name, column in zip(names, values[7:], strict=True):
            columns[name] = np.asarray(column, np.float32)
        return columns

    def keep_lead(self) -> int:
        """Drop all but the rows that the next chunk needs as its lead; returns how many these are."""
        lead = min(len(self._rows), self._spec.depth)
        del self._rows[:-lead], self._frames[:-lead]
        return lead


class Episode:
    """An episode in ``environment``, begun when it is made.

    ``clock`` gives monotonic seconds; None counts simulated time (steps times ``spec.step_s``).  Its chunks have no incarnation and
    number yet: the outbox gives them.  They are stamped with the track that the environment's first info names, or else with the
    plan's.  Raises WorldError for info that is no number.
    """

    def __init__(
        self,
        environment: Environment,
        spec: EnvSpec,
        plan: EpisodePlan,
        collection: CollectionOptions,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.environment = environment
        self.observation, self.info = environment.reset(seed=plan.seed, options=plan.reset_options)
        self.steps = 0
        self.ended = False
        """Whether it was terminated or truncated: then it takes no step more."""
        self.state: Array | None = None
        """What its driver remembers of it; it is theirs."""
        self._clock = clock
        self._started = clock() if clock else 0.0
        self._spec = spec
        self._plan = plan
        self._collection = collection
        self._name = secrets.token_hex(8)
        self._track = _track(self.info) or plan.track
        self._rows = _Rows(spec, collection.info)
        self._summary = Summary()
        rest = Choice(np.asarray(spec.default_action, np.float32), "scripted")
        self._rows.add(newest_frames(spec, self.observation), rest, 0.0, False, False, 0.0, self.info)
        self._lead = 1
        self._first_step = 0
        self._states: list[Array | None] = []
        self._cut_at = time.monotonic()

    def step(self, choice: Choice) -> Chunk | None:
        """Take this action; returns the chunk that it filled, if it did.  The one that ends the episode carries the summary."""
        observation, reward, terminated, truncated, info = self.environment.step(choice.action)
        self.observation, self.info = observation, info
        self.steps += 1
        self._states.append(choice.state)
        reward = float(reward)
        time_s = self._clock() - self._started if self._clock else self.steps * self._spec.step_s
        self._rows.add(newest_frames(self._spec, observation), choice, reward, terminated, truncated, time_s, info)
        self._summary.add(choice.actor, choice.weights_version, reward, time_s, info)
        if terminated or truncated:
            self.ended = True
            return self._chunk("terminated" if terminated else "truncated", self._summary.finish(self.steps, info))
        full = self.steps - self._first_step >= self._collection.chunk_steps
        return self.cut() if full or time.monotonic() - self._cut_at >= self._collection.chunk_s else None

    def cut(self) -> Chunk | None:
        """The steps that no chunk has yet, as one that is not full; None where there are none."""
        if self.ended or self.steps == self._first_step:
            return None
        chunk = self._chunk("", None)
        self._lead, self._first_step, self._cut_at = self._rows.keep_lead(), self.steps, time.monotonic()
        self._states.clear()
        return chunk

    def _chunk(self, ended: str, summary: EpisodeSummary | None) -> Chunk:
        return Chunk(
            run=self._plan.run,
            worker=self._plan.worker,
            incarnation="",
            number=0,
            episode=self._name,
            first_step=self._first_step,
            steps=self.steps - self._first_step,
            lead=self._lead,
            track=self._track,
            purpose=self._plan.purpose,
            ended=ended,
            columns=self._rows.columns(),
            seed=self._plan.seed,
            summary=summary,
            state=_told(self._states),
        )


def _told(states: list[Array | None]) -> dict[str, Array]:
    """What was remembered before each step, as a chunk has it; nothing where nobody told, and 0 at steps of somebody else."""
    known = next((state for state in states if state is not None), None)
    if known is None:
        return {}
    rows = [np.zeros_like(known) if state is None else state for state in states]
    return {POLICY: np.stack(rows).astype(np.float16)}


def _track(info: Mapping[str, Any]) -> str:
    """The track that an environment says it drives on, as ours do where it changes from episode to episode; "" for none.

    It is shortened to what may travel.
    """
    track = info.get("track")
    return track[:MAX_TRACK_NAME] if isinstance(track, str) else ""
