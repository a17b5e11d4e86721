"""What the roles hand each other: arrays and plain values, nothing that computes.

How steps are counted
---------------------
Everything that stores or rebuilds experience counts *rows*.  Row 0 of an episode is the reset: its frame is the first
one seen, its action is the default action, its reward is 0.  Row ``k`` (k ≥ 1) holds the action that was handed to
``env.step`` for the k-th time and what that call returned: the newest frame, the reward, the ends.  So

* the observation ``o_k`` shows the frames of rows ``k-H+1 … k`` (H: history length of that part) and the actions of rows
  ``k-A+1 … k`` (A: length of the action buffer), oldest first; rows before row 0 repeat row 0;
* the transition of row ``k`` is ``(o_{k-1}, action_k, reward_k, o_k, terminated_k)``: the action of row k answers o_{k-1}.

This is the order of rtgym and of TMRL (``Memory``, ``custom_memories.py``): the newest entry of the action buffer is the action
just given, which the environment may apply one step later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Columns = Mapping[str, Array]

ACTOR_KINDS = ("random", "policy", "human", "scripted")
"""Who chose an action; a chunk's ``actor`` column holds the index (uint8).

``policy`` is the one that the run learns; ``scripted`` is any other program, the weights of ``collection.policy`` included.
"""

MIXED = "mixed"
"""The actor of an episode in which more than one kind chose actions."""

PURPOSES = ("train", "evaluation")
POLICY = "policy"
"""Whose state a chunk carries."""


@dataclass(frozen=True)
class PartSpec:
    """One named part of an observation, e.g. ``lidar``: 19 distances, of which the newest 4 are seen.

    ``shape`` is that of ONE frame.  With ``history`` 0 the observation holds just the newest frame, of that shape; with
    ``history`` n ≥ 1 it holds the n newest stacked on a new first axis, oldest first.  ``scale`` divides the values before they
    enter a network (1 leaves them alone).  ``low`` and ``high`` bound every element (±inf allowed).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float = float("-inf")
    high: float = float("inf")
    history: int = 0
    scale: float = 1.0

    @property
    def observed_shape(self) -> tuple[int, ...]:
        """The shape of this part in an observation: with the history axis, if there is one."""
        return (self.history, *self.shape) if self.history else self.shape

    @cached_property
    def observed_size(self) -> int:
        """How many numbers this part adds to a flat observation."""
        return math.prod(self.observed_shape)


@dataclass(frozen=True)
class EnvSpec:
    """The spaces of an environment as data, so that a trainer needs no environment.

    An observation is a tuple: the parts in order, then the ``action_buffer`` newest actions, oldest first, each of shape
    ``(action_size,)``.  Actions are float32 in [-1, 1]; ``default_action`` fills the buffer at a reset.
    ``reward_terms`` and ``info`` name extra float32 columns that chunks of this environment carry.
    """

    id: str
    parts: tuple[PartSpec, ...]
    action_size: int
    action_buffer: int = 0
    default_action: tuple[float, ...] = ()
    step_s: float = 0.05
    reward_terms: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """How many rows an observation looks back on, its own row included: max(histories, action buffer, 1)."""
        return max(1, self.action_buffer, *(part.history for part in self.parts))

    @property
    def observation_size(self) -> int:
        """Length of a flat observation: 83 for TMRL's LIDAR (1 + 4·19 + 2·3)."""
        return sum(part.observed_size for part in self.parts) + self.action_buffer * self.action_size

    def to_plain(self) -> dict[str, Any]:
        """As JSON-able values (infinities as strings)."""
        return {
            "id": self.id,
            "parts": [
                {
                    "name": part.name,
                    "shape": list(part.shape),
                    "dtype": part.dtype,
                    "low": repr(part.low),
                    "high": repr(part.high),
                    "history": part.history,
                    "scale": part.scale,
                }
                for part in self.parts
            ],
            "action_size": self.action_size,
            "action_buffer": self.action_buffer,
            "default_action": list(self.default_action),
            "step_s": self.step_s,
            "reward_terms": list(self.reward_terms),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> EnvSpec:
        """The inverse of `to_plain`.  Raises KeyError, TypeError or ValueError on anything else; callers name the source."""
        return cls(
            id=str(plain["id"]),
            parts=tuple(
                PartSpec(
                    name=str(part["name"]),
                    shape=tuple(int(n) for n in part["shape"]),
                    dtype=np.dtype(str(part["dtype"])).name,
                    low=float(part["low"]),
                    high=float(part["high"]),
                    history=int(part["history"]),
                    scale=float(part["scale"]),
                )
                for part in plain["parts"]
            ),
            action_size=int(plain["action_size"]),
            action_buffer=int(plain["action_buffer"]),
            default_action=tuple(float(x) for x in plain["default_action"]),
            step_s=float(plain["step_s"]),
            reward_terms=tuple(str(name) for name in plain["reward_terms"]),
        )


@dataclass(frozen=True)
class EpisodeSummary:
    """What is worth knowing of a finished episode; travels with its last chunk, so it is stored exactly once.

    ``progress`` is the share of the reward line reached, 0 to 1 (NaN where the environment has none); ``lap_time_s`` is None
    unless the lap was completed.  ``trajectory`` is float32 (n, 4): x, z in metres, speed in m/s, time in s; n ≤ 256, 0 where
    the environment tells no positions.  ``actor`` is one of ACTOR_KINDS, or MIXED.
    """

    steps: int
    episode_return: float
    finished: bool
    lap_time_s: float | None
    progress: float
    actor: str
    weights_version: int
    trajectory: Array = field(default_factory=lambda: np.zeros((0, 4), np.float32))


@dataclass(frozen=True)
class Chunk:
    """A self-contained piece of one episode: every transition in it can be rebuilt from it alone.

    ``columns`` have ``lead + steps`` rows.  The lead is the last ``min(first_step, depth - 1) + 1`` rows before the first step
    (the row that the first action answers, and what its histories look back on; just row 0 at the start of an episode), so
    the first row stored is row ``first_step - lead + 1`` of the episode; then follow rows ``first_step + 1`` to
    ``first_step + steps``.
    The columns:

    ======================  ===========================  =======================================================
    one per part's name     (rows, *part.shape)          newest frame only, in the part's dtype
    ``action``              (rows, action_size) float32  the action of each row (module docstring)
    ``reward``              (rows,) float32
    ``terminated``          (rows,) uint8                stops bootstrapping
    ``truncated``           (rows,) uint8                does not
    ``time``                (rows,) float64              monotonic seconds since the reset (simulated in lockstep)
    ``weights``             (rows,) int64                version of the policy that chose the action, -1 for none
    ``actor``               (rows,) uint8                index into ACTOR_KINDS
    ``term.NAME``           (rows,) float32              raw reward terms, one per ``EnvSpec.reward_terms``
    ``info.NAME``           (rows,) float32              what the run asked to keep of ``info``
    ======================  ===========================  =======================================================

    ``incarnation`` and ``number`` identify it for ever: a random id of the worker's store and a count within it.
    ``ended`` is "", "terminated" or "truncated"; the last chunk of an episode has ``summary``.
    Where a run asks for it, ``state`` has what a policy that remembers knew before each step, under `POLICY`: (steps, size) float16.
    """

    run: str
    worker: str
    incarnation: str
    number: int
    episode: str
    first_step: int
    steps: int
    lead: int
    track: str
    purpose: str
    ended: str
    columns: dict[str, Array]
    seed: int | None = None
    summary: EpisodeSummary | None = None
    state: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightsManifest:
    """All that is needed to rebuild a policy from its tensors, and where it came from.

    ``network`` and ``algorithm`` are the run's option groups as plain values; ``lineage`` counts the resumes from older
    checkpoints in the history of the run.
    """

    run: str
    version: int
    update: int
    lineage: int
    spec: EnvSpec
    network: dict[str, Any]
    algorithm: str
    created_by: str = ""


@dataclass(frozen=True)
class Weights:
    """A version of a policy: ``data`` is one safetensors file whose metadata hold the manifest as JSON under ``tmrld``."""

    manifest: WeightsManifest
    data: bytes
