"""Real daemons in processes of their own, for tests that start, kill and restart them.

Everything lies in one folder, listens on loopback on free ports, and is gone when the `with` block is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

from tests.support.processes import await_end
from tmrld.cli import main

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
"""Longest wait for anything: the machine may be busy with other things."""

LEDGER_ENV = "tests.support.ledger_env:LedgerEnv"
LEDGER_RUN: dict[str, Any] = {
    "environment": {"id": LEDGER_ENV},
    "algorithm": {
        "name": "tests.support.recording_algorithm:RecordingAlgorithm",
        "batch_size": 8,
        "warm_up": 100,
        "update_to_data": 1.0,
        "n_step": 1,  # the books know single steps
    },
    "network": {"hidden": [4]},
    "replay": {"capacity": 500},
    "training": {
        "slack_transitions": 100,
        "weights_interval_updates": 20,
        "metrics_interval_updates": 50,
        "checkpoint_interval_updates": 70,
        "evaluation_interval_updates": 200,
        "evaluation_episodes": 1,
    },
    "collection": {"chunk_steps": 7},
}
"""A run on the ledger, with the algorithm that records: short chunks, small replay memory, frequent weights and checkpoints."""

REAL_TIME_RUN: dict[str, Any] = {
    **LEDGER_RUN,
    "environment": {**LEDGER_RUN["environment"], "clock": "realtime", "kwargs": {"step_s": 0.003}},
}
"""The same with workers that wait for nobody."""

T = TypeVar("T")


def await_that(condition: Callable[[], T | None], what: str, timeout_s: float = DEADLINE_S) -> T:
    """Poll until ``condition`` answers something true, and return it; fails the test when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"within {timeout_s:g} s it did not come about that {what}"
        time.sleep(0.05)
    return answer


class Program:
    """One running ``tmrld``, started with these arguments; its output goes to files.

    ``launcher`` is the module that is tmrld with whatever a test adds to it, ``root`` where it and the package are found.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str],
        *,
        launcher: str = "tests.support.launch",
        root: Path = ROOT,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._spoken = out.tell()
            self._complained = err.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", launcher, *arguments],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), **environment},
            )
        self.pid = self.process.pid

    @property
    def output(self) -> str:
        """What this process has printed."""
        return self._out.read_bytes()[self._spoken :].decode()

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return self._err.read_bytes()[self._complained :].decode()

    def said(self, what: str) -> str:
        """Wait for a line ``what: …`` of its output, and return the rest of it."""

        def find() -> str | None:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} has ended with {self.process.returncode}:\n{self.errors}")
            lines = self.output.splitlines(keepends=True)
            return next((line.partition(": ")[2].strip() for line in lines if line.startswith(f"{what}: ")), None)

        return await_that(find, f"{self.name} says {what!r}")

    def engines(self) -> list[int]:
        """The engine processes that it has now."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children()]
        except psutil.NoSuchProcess:
            return []

    def engine(self) -> int:
        """Wait for its engine process."""
        return await_that(lambda: next(iter(self.engines()), None), f"{self.name} has an engine")

    def kill(self) -> None:
        """SIGKILL; returns when it and its engines are gone."""
        engines = self.engines()
        self.process.kill()
        self.process.wait()
        for pid in engines:
            await_end(pid, 30.0)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Ask it to end, and wait until it has; returns how many seconds that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(DEADLINE_S)
        return time.monotonic() - began


class Cluster:
    """A relay and its nodes, each a daemon of its own; a ``with`` block kills what still runs.

    ``run`` is the configuration of the relay's first run.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any] = LEDGER_RUN) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.ledger.mkdir()
        self._run = dict(run)
        environment = self._run.get("environment", {})
        if environment.get("id") == LEDGER_ENV:
            kwargs = {**environment.get("kwargs", {}), "folder": str(self.ledger)}
            self._run["environment"] = {**environment, "kwargs": kwargs}
        self._address = ""
        self._pin = ""
        self._tokens: dict[str, str] = {}
        self.programs: dict[str, Program] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for program in self.programs.values():
            program.kill()
        if error is not None:
            for program in self.programs.values():
                print(f"--- {program.name}\n{program.errors[-4000:]}")

    def data(self, name: str) -> Path:
        """The data folder of a daemon."""
        return self.folder / name

    @property
    def log_folder(self) -> Path:
        """The sample log of the run."""
        return self.data("relay") / "relay" / "runs" / "demo" / "log"

    def token(self, role: str, name: str) -> str:
        """A token for a node, made by the command that is there for it."""
        if name not in self._tokens:
            with redirect_stdout(StringIO()) as printed:
                status = main(["token", "new", "--role", role, "--name", name, "--data", str(self.data("relay"))])
            assert status == 0
            self._tokens[name] = printed.getvalue().strip()
        return self._tokens[name]

    def start_relay(self, planted: str = "") -> Program:
        """Start the relay, where it was before; returns when it listens."""
        relay = self.launch_relay(planted)
        self._address, self._pin = relay.said("peers"), relay.said("pin")
        return relay

    def launch_relay(self, planted: str = "") -> Program:
        """The same, without waiting."""
        settings = {"relay.port": self._address.rpartition(":")[2] or 0, "control.port": 0, **self._run_settings}
        return self.start_tmrld("relay", self._serve("relay", "relay", settings), {"PLANTED": planted})

    def start(self, role: str, name: str, *, environment: Mapping[str, str] | None = None, **peers: str) -> Program:
        """Start a worker or trainer; ``peers`` replace its settings of that name: relay, pin, token."""
        settings = {"relay": self._address, "pin": self._pin, **peers}
        token = settings.pop("token", None) or self.token(role, name)
        arguments = self._serve(role, name, {"name": name, **{f"peers.{key}": value for key, value in settings.items()}})
        return self.start_tmrld(name, arguments, {"TMRLD_PEERS__TOKEN": token, **(environment or {})})

    def start_up(self) -> Program:
        """Start all roles in one daemon, with the relay's data folder."""
        settings = {"relay.port": 0, "control.port": 0, **self._run_settings}
        return self.start_tmrld("up", ["up", "--headless", "--json", *self._flags("relay", settings)])

    def start_tmrld(self, name: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> Program:
        """Start the program with these arguments; it is one of this cluster's."""
        program = Program(self.folder, name, arguments, {"LEDGER_FOLDER": str(self.ledger), **(environment or {})})
        self.programs[name] = program
        return program

    @property
    def _run_settings(self) -> dict[str, Any]:
        return {f"run.{group}": values for group, values in self._run.items()}

    def _serve(self, role: str, name: str, settings: Mapping[str, Any]) -> list[str]:
        return ["serve", "--role", role, *self._flags(name, settings)]

    def _flags(self, name: str, settings: Mapping[str, Any]) -> list[str]:
        flags = ["--data", str(self.data(name))]
        for key, value in settings.items():
            flags += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        return flags
