"""The plain loop of one episode: environment and policy in, chunks out.  No task, no socket, no file.

`drive` is a generator: it steps the environment and yields each `Chunk` as soon as it is full, while the episode goes on.
Whoever iterates decides what happens in between; a `Gate` is asked before each step.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tmrld.envs.registry import newest_frames
from tmrld.errors import WorldError
from tmrld.payloads import ACTOR_KINDS, MIXED, Array, Chunk, EnvSpec, EpisodeSummary
from tmrld.worker.options import CollectionOptions

TRAJECTORY_POINTS = 256


class Environment(Protocol):
    """The part of Gymnasium's `Env` that an episode needs."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]: ...

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]: ...


@dataclass(frozen=True)
class Choice:
    """An action, who chose it (one of ACTOR_KINDS), and by which version of the weights (-1: none)."""

    action: Array
    actor: str
    weights_version: int = -1


class Gate(Protocol):
    """Asked before each step whether to go on; this is where a real-time loop does not wait and a lockstep loop may."""

    def ready(self) -> bool:
        """May the next step be taken at once?"""

    def wait(self) -> bool:
        """Called when not ready, after everything driven so far was handed out.

        False ends the episode here, as if the line were cut: without a summary, and neither terminated nor truncated.
        """


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
                *(_number(name, terms.get(name, 0.0)) for name in self._spec.reward_terms),
                *(_number(name, info.get(name)) for name in self._info),
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


def _number(name: str, value: Any) -> float:
    """An info value as a float: None becomes NaN (the value does not apply to this step).  Raises WorldError for what is none."""
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError) as error:
        shown = repr(value)[:80]
        raise WorldError(
            f"the environment's info has {name!r} = {shown}, expected a number: leave it out of what the run keeps"
        ) from error


Point = tuple[float, float, float, float]


class _Trajectory:
    """The driven line, evenly thinned so that it stays small however long the episode is."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._last: Point | None = None
        self._stride = 1
        self._seen = 0

    def add(self, point: Point) -> None:
        """Every ``stride``-th point is kept; when there are too many, every second one goes."""
        self._last = point
        if self._seen % self._stride == 0:
            self._points.append(point)
            if len(self._points) > 4 * TRAJECTORY_POINTS:
                del self._points[1::2]
                self._stride *= 2
        self._seen += 1

    def points(self) -> Array:
        """At most TRAJECTORY_POINTS of them, from the first to the last: (n, 4) float32."""
        kept = self._points
        if self._last is not None and kept[-1] is not self._last:
            kept = [*kept, self._last]
        points = np.asarray(kept, np.float32).reshape(-1, 4)
        if len(points) > TRAJECTORY_POINTS:
            points = points[np.linspace(0, len(points) - 1, TRAJECTORY_POINTS).round().astype(np.int64)]
        return points


class _Summary:
    """Gathers what the episode's summary tells."""

    def __init__(self) -> None:
        self._return = 0.0
        self._actors: set[str] = set()
        self._weights_version = -1
        self._trajectory = _Trajectory()

    def add(self, choice: Choice, reward: float, time_s: float, info: Mapping[str, Any]) -> None:
        self._return += reward
        self._actors.add(choice.actor)
        self._weights_version = choice.weights_version
        if "x" in info and "z" in info:
            x, z, speed = (_number(name, info.get(name)) for name in ("x", "z", "speed"))
            self._trajectory.add((x, z, speed, time_s))

    def finish(self, steps: int, info: Mapping[str, Any]) -> EpisodeSummary:
        lap_time = info.get("lap_time_s")
        return EpisodeSummary(
            steps=steps,
            episode_return=self._return,
            finished=bool(info.get("finished", False)),
            lap_time_s=None if lap_time is None else float(lap_time),
            progress=_number("progress", info.get("progress")),
            actor=next(iter(self._actors)) if len(self._actors) == 1 else MIXED,
            weights_version=self._weights_version,
            trajectory=self._trajectory.points(),
        )


def drive(
    environment: Environment,
    spec: EnvSpec,
    choose: Callable[[Any], Choice],
    plan: EpisodePlan,
    collection: CollectionOptions,
    gate: Gate,
    clock: Callable[[], float] | None = None,
) -> Iterator[Chunk]:
    """Drive one episode, yielding its chunks as they fill; the last one carries the summary.

    ``choose`` maps an observation to a `Choice`.  ``clock`` gives monotonic seconds; None counts simulated time
    (steps times ``spec.step_s``).  Closing the generator ends the episode without its last, unfinished chunk.
    The chunks have no incarnation and number yet: the outbox gives them.  Raises WorldError for info that is no number.
    """
    episode = secrets.token_hex(8)
    observation, info = environment.reset(seed=plan.seed, options=plan.reset_options)
    started = clock() if clock else 0.0
    rows = _Rows(spec, collection.info)
    summary = _Summary()
    rest = Choice(np.asarray(spec.default_action, np.float32), "scripted")
    rows.add(newest_frames(spec, observation), rest, 0.0, False, False, 0.0, info)
    lead, first_step, step = 1, 0, 0
    sent_at = time.monotonic()

    def cut(ended: str, final: EpisodeSummary | None) -> Chunk:
        return Chunk(
            run=plan.run,
            worker=plan.worker,
            incarnation="",
            number=0,
            episode=episode,
            first_step=first_step,
            steps=step - first_step,
            lead=lead,
            track=plan.track,
            purpose=plan.purpose,
            ended=ended,
            columns=rows.columns(),
            seed=plan.seed,
            summary=final,
        )

    while True:
        if not gate.ready():
            if step > first_step:
                yield cut("", None)
                lead, first_step, sent_at = rows.keep_lead(), step, time.monotonic()
            if not gate.wait():
                return
        choice = choose(observation)
        observation, reward, terminated, truncated, info = environment.step(choice.action)
        step += 1
        time_s = clock() - started if clock else step * spec.step_s
        rows.add(newest_frames(spec, observation), choice, float(reward), terminated, truncated, time_s, info)
        summary.add(choice, float(reward), time_s, info)
        if terminated or truncated:
            yield cut("terminated" if terminated else "truncated", summary.finish(step, info))
            return
        if step - first_step >= collection.chunk_steps or time.monotonic() - sent_at >= collection.chunk_s:
            yield cut("", None)
            lead, first_step, sent_at = rows.keep_lead(), step, time.monotonic()
