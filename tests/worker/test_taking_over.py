"""Real time has other people in it: one who takes the controls over, one who pauses the run.  The test is the engine's daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import robot
from tmrld.configuration import run_config
from tmrld.payloads import EnvSpec, PartSpec, WeightsManifest
from tmrld.protocol.messages import Assign, ChunkMessage, Command, Message, Status, WeightsMessage
from tmrld.rl.algorithm import make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.weights import pack
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

    def summaries(self, purpose: str) -> list[ChunkMessage]:
        """The chunks that end episodes of this kind."""
        return [each for each in self.sent if isinstance(each, ChunkMessage) and each.summary and each.purpose == purpose]

    @property
    def states(self) -> list[str]:
        return [message.state for message in self.sent if isinstance(message, Status)]


def config(folder: Path, max_steps: int = 100_000) -> dict[str, Any]:
    """An rtgym interface keeps real time, whatever clock the options name; this one is the default."""
    environment = {"id": robot.ID, "kwargs": {"diary": str(folder / "diary")}, "time_step_s": STEP_S}
    plain = {"environment": {**environment, "start_obs_capture_s": 0.0, "max_steps": max_steps}}
    return run_config(plain).model_dump(mode="json")


def drive(folder: Path, script: Callable[[Port], Message | None], max_steps: int = 100_000) -> Port:
    port = Port(script)
    WorkerEngine(port, "demo", "w", config(folder, max_steps), 0).run()  # type: ignore[arg-type]  # all that it needs of a port
    return port


def weights(evaluate: int) -> WeightsMessage:
    """Of a policy for the robot."""
    spec = EnvSpec(robot.ID, (PartSpec("part0", (1,), low=0.0, high=1e9),), 1, 2, (0.0,), STEP_S)
    network = NetworkOptions(hidden=(4,))
    tensors = make_algorithm(AlgorithmOptions(), network, spec, seed=0).policy_tensors()
    manifest = WeightsManifest("demo", 1, 10, 0, spec, network.model_dump(mode="json"), "sac")
    return WeightsMessage("demo", 1, 10, 0, evaluate, pack(manifest, tensors).data)


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
        return next(told, None) if not done or done.count("control") >= 5 else None

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
        if done.count("control") >= 5 and "wait" not in done:
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


def test_an_evaluation_that_a_person_interrupts_is_driven_again_and_counts_only_then(tmp_path: Path) -> None:
    diary, taken = tmp_path / "diary", tmp_path / "taken"
    messages: list[Message] = [weights(evaluate=2), Assign("demo", config(tmp_path, 8), 1, "running", evaluates=True)]
    told = iter(messages)

    def script(port: Port) -> Message | None:
        if (first := next(told, None)) is not None:
            return first
        done = robot.diary(diary)
        if done.count("control") >= 3 and "wait" not in done:
            taken.touch()
        elif "waiting" in port.states:
            taken.unlink(missing_ok=True)
        return Command(0, "stop", {}) if len(port.summaries("evaluation")) == 2 else None

    port = drive(tmp_path, script, 8)
    assert [(chunk.seed, chunk.ended) for chunk in port.summaries("evaluation")] == [(0, "truncated"), (1, "truncated")]
    assert robot.diary(diary).count("reset") >= 3  # one was in vain
    assert all(chunk.summary is not None and chunk.summary["steps"] == 8 for chunk in port.summaries("evaluation"))


def test_a_game_that_is_lost_is_waited_for_and_what_was_driven_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GAME_RETRY_S", 0.02)
    diary, lost = tmp_path / "diary", tmp_path / "lost"
    told = iter([Assign("demo", config(tmp_path), 1, "running")])

    def script(port: Port) -> Message | None:
        if (first := next(told, None)) is not None:
            return first
        resets, controls = (robot.diary(diary).count(word) for word in ("reset", "control"))
        if resets == 1 and controls >= 6:
            lost.touch()
        elif resets == 4:  # it was looked for three times
            lost.unlink(missing_ok=True)
        return Command(0, "stop", {}) if resets == 5 and robot.diary(diary)[-1] == "control" else None

    port = drive(tmp_path, script)
    problems = [message.detail for message in port.sent if isinstance(message, Status) and message.state == "problem"]
    chunks = [message for message in port.sent if isinstance(message, ChunkMessage)]

    assert problems == ["the game cannot be driven, trying again: the robot's cable was pulled"]
    assert chunks[0].first_step == 0
    assert chunks[0].ended == ""
    assert chunks[0].steps >= 3
