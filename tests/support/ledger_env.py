"""An environment that keeps books: what really happened, written by itself before anybody else knows of it.

Each step appends a `ROW` to a file of its own, and only then returns.  Every frame names itself: ``identity`` is (instance, episode,
step), small whole numbers that float32 holds exactly, so that whatever turns up anywhere in the system can be looked up.
The observation has histories of different lengths and past actions, which all have to be rebuilt from single frames.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tmrld.payloads import Array, EnvSpec, PartSpec

IDENTITY_HISTORY = 4
NOISE_HISTORY = 2
ACTION_BUFFER = 3
ACTION_SIZE = 2
SHORTEST, LONGEST = 3, 40
"""Steps of an episode."""

SPEC = EnvSpec(
    id="ledger",
    parts=(
        PartSpec("identity", (3,), history=IDENTITY_HISTORY),
        PartSpec("noise", (2,), history=NOISE_HISTORY),
        PartSpec("newest", (1,)),
    ),
    action_size=ACTION_SIZE,
    action_buffer=ACTION_BUFFER,
    default_action=(0.25, -0.5),
)

ROW = np.dtype(
    [
        ("identity", "<f4", 3),
        ("noise", "<f4", 2),
        ("newest", "<f4", 1),
        ("action", "<f4", ACTION_SIZE),
        ("reward", "<f4"),
        ("terminated", "u1"),
        ("truncated", "u1"),
    ]
)


class LedgerEnv(gymnasium.Env[Any, Any]):
    """Episodes of random length that end by turns, terminated and truncated.

    ``folder`` is where the books are kept; ``step_s`` how long a step takes at least.
    """

    tmrld_spec = SPEC

    def __init__(self, folder: str, step_s: float = 0.0) -> None:
        self._step_s = step_s
        self._instance = secrets.randbelow(2**24)
        self._random = np.random.default_rng(self._instance)
        path = Path(folder) / f"{self._instance}-{os.getpid()}.ledger"
        self._file = path.open("xb", buffering=0)
        self._episode = 0
        self._step = 0
        self._end = 0
        self._rows: list[Array] = []
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self.observation_space = spaces.Tuple(
            [spaces.Box(-np.inf, np.inf, part.observed_shape, np.float32) for part in SPEC.parts]
            + [spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)] * ACTION_BUFFER
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; its row 0 goes into the books, too."""
        self._episode += 1
        self._step = 0
        self._end = int(self._random.integers(SHORTEST, LONGEST + 1))
        first = self._enter(np.asarray(SPEC.default_action, np.float32), 0.0, False, False)
        self._rows = [first] * SPEC.depth
        return self._observation(), {}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; the reward is any number that no other step is likely to have."""
        time.sleep(self._step_s)
        self._step += 1
        ends = self._step == self._end
        terminated, truncated = ends and self._episode % 2 == 0, ends and self._episode % 2 == 1
        row = self._enter(action, float(np.float32(self._random.normal())), terminated, truncated)
        self._rows = [*self._rows[1:], row]
        return self._observation(), float(row["reward"]), terminated, truncated, {}

    def close(self) -> None:
        """Close the books."""
        self._file.close()

    def _enter(self, action: Array, reward: float, terminated: bool, truncated: bool) -> Array:
        row = np.zeros((), ROW)
        row["identity"] = (self._instance, self._episode, self._step)
        row["noise"] = self._random.normal(size=2)
        row["newest"] = self._random.normal()
        row["action"], row["reward"] = action, reward
        row["terminated"], row["truncated"] = terminated, truncated
        self._file.write(row.tobytes())
        return row

    def _observation(self) -> tuple[Array, ...]:
        rows = np.stack(self._rows)
        return (
            rows["identity"][-IDENTITY_HISTORY:],
            rows["noise"][-NOISE_HISTORY:],
            rows["newest"][-1],
            *rows["action"][-ACTION_BUFFER:],
        )
