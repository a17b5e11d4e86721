"""A real-time robot of the tests' own: an rtgym interface that writes down what is done to it, a word per line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from rtgym import RealTimeGymInterface

from tmrld.errors import GameError

ID = f"{__name__}:Robot"


class Robot(RealTimeGymInterface):  # type: ignore[misc]  # rtgym has no types
    """Shows how many controls it was given.

    While a file ``taken`` lies beside ``diary``, a person has the controls; while one called ``lost`` does, it cannot be reached.
    """

    def __init__(self, diary: str) -> None:
        self._diary = Path(diary)
        self._count = 0

    @property
    def user_drives(self) -> bool:
        return self._diary.with_name("taken").exists()

    def get_observation_space(self) -> Any:
        return spaces.Tuple((spaces.Box(0, 1e9, (1,), np.float32),))

    def get_action_space(self) -> Any:
        return spaces.Box(-1, 1, (1,), np.float32)

    def get_default_action(self) -> Any:
        return np.zeros(1, np.float32)

    def _require(self) -> None:
        if self._diary.with_name("lost").exists():
            raise GameError("the robot's cable was pulled")

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        self._write("reset")
        self._require()
        return [np.zeros(1, np.float32)], {}

    def send_control(self, control: Any) -> None:
        self._count += 1
        self._write("control")

    def get_obs_rew_terminated_info(self) -> Any:
        self._require()
        return [np.full(1, self._count, np.float32)], 1.0, False, {"user_drives": self.user_drives}

    def wait(self) -> None:
        self._write("wait")

    def release(self) -> None:
        self._write("release")

    def close(self) -> None:
        self._write("close")

    def _write(self, word: str) -> None:
        with self._diary.open("a") as file:
            file.write(f"{word}\n")


def await_diary(path: Path, condition: Callable[[list[str]], bool], patience_s: float = 30.0) -> None:
    """Wait until what was done to the robot is as it should be."""
    deadline = time.monotonic() + patience_s
    while not condition(done := diary(path)):
        assert time.monotonic() < deadline, f"still not so after {patience_s} s: {done[-20:]}"
        time.sleep(0.01)


def diary(path: Path) -> list[str]:
    """What was done to the robot so far."""
    return path.read_text().split() if path.exists() else []
