"""Real time has other people in it: one who takes the controls over, one who pauses the run.  The test is the engine's daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import robot
from tmrld.configuration import run_config
from tmrld.protocol.messages import Assign, ChunkMessage, Command, Message, Status
from tmrld.worker import engine
from tmrld.worker.engine import WorkerEngine

STEP_S = 0.004


class Port:
    """The daemon's side: asks ``script`` for the next message whenever the engine looks for one."""

    def __init__(self, script: Callable[[Port], Message | None]) -> None:
        self._script = script
        self.sent: list[Message] = []

    def poll(self) -> Message | None:
        return self._script(self)

    def wait(self, timeout_s: float | None = None) -> Message | None:
        return self._script(self)

    def beat(self, quiet_s: float = 0.0) -> None:
        pass

    def send(self, message: Message, wait_s: float | None = 0.0) -> None:
        self.sent.append(message)

    @property
    def states(self) -> list[str]:
        return [message.state for message in self.sent if isinstance(message, Status)]


def config(folder: Path) -> dict[str, Any]:
    environment = {"id": robot.ID, "kwargs": {"diary": str(folder / "diary")}, "clock": "realtime", "time_step_s": STEP_S}
    return run_config({"environment": {**environment, "start_obs_capture_s": 0.0, "max_steps": 100_000}}).model_dump(
        mode="json"
    )


def drive(folder: Path, script: Callable[[Port], Message | None]) -> Port:
    port = Port(script)
    WorkerEngine(port, "demo", "w", config(folder), 0).run()  # type: ignore[arg-type]  # all that it needs of a port
    return port


@pytest.fixture(autouse=True)
def _reports_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And this process is as it was in the end."""
    monkeypatch.setattr(engine, "STATUS_INTERVAL_S", 0.0)
    interval_s = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval_s)


def test_pausing_lets_go_of_the_controls_at_once(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    told = iter([Assign("demo", config(tmp_path), 1, state) for state in ("running", "paused")])

    def script(port: Port) -> Message | None:
        done = robot.diary(diary)
        if "release" in done:
            return Command(0, "stop", {})
        return next(told, None) if done.count("control") in (0, 5) else None

    drive(tmp_path, script)
    done = robot.diary(diary)

    assert done[-2:] == ["release", "close"]


def test_a_person_at_the_wheel_ends_the_episode_and_nothing_is_driven_until_it_is_given_back(tmp_path: Path) -> None:
    diary, taken = tmp_path / "diary", tmp_path / "taken"
    told = iter([Assign("demo", config(tmp_path), 1, "running")])
    waits = 0

    def script(port: Port) -> Message | None:
        nonlocal waits
        if (first := next(told, None)) is not None:
            return first
        done = robot.diary(diary)
        if done.count("control") == 5 and not taken.exists():
            taken.touch()
        elif "waiting" in port.states:
            waits += 1
            if waits == 50:
                taken.unlink()
        return Command(0, "stop", {}) if done.count("reset") == 2 and done[-1] == "control" else None

    port = drive(tmp_path, script)
    done = robot.diary(diary)
    first, *_ = [message for message in port.sent if isinstance(message, ChunkMessage) and message.ended]

    assert first.ended == "truncated"
    between = done[done.index("wait") : len(done) - done[::-1].index("reset")]
    assert "control" not in between
    assert waits >= 50
