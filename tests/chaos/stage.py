"""A cluster in bad hands: each node behind a bad line of its own, each daemon on a disk and with a clock of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import psutil

from tests.chaos.daemon import UNFENCED
from tests.chaos.hardware import Hardware, build_shim
from tests.chaos.proxy import FaultProxy
from tests.support.books import Books, delivery_violations, read_acknowledged, read_books, read_taken, violations
from tests.support.cluster import LEDGER_RUN, ROOT, Cluster, Program, await_that
from tests.support.progress import assert_checkpoint_counts_the_log, end_of_log, last_ingested
from tmrld.client import Client
from tmrld.errors import TmrldError
from tmrld.storage.layout import Layout
from tmrld.storage.runs import RunStore
from tmrld.trainer.checkpoints import CheckpointFolder

RELAY, TRAINER, WORKERS = "relay", "t", ("w1", "w2")
NODES = (TRAINER, *WORKERS)
DAEMONS = (RELAY, *NODES)
CARS = {"w2": 3}
"""How many cars a worker drives, where it is more than one."""
REPLAY_CAPACITY = 200
KEPT_CHECKPOINTS = 20
"""So many that the log is pruned up to what they need, and then some of them go."""
LATENCY_S = 0.025
"""How long a good line takes, so that whenever one breaks, something is on its way."""
TWIN = "-twin"
STAND_INS = Path(__file__).with_name("stand_ins")
"""Stands before all other places where modules are looked for."""


class Stage(Cluster):
    """The relay, a trainer and two workers, all started by `start_all`.

    ``planted`` is the root of a copy of the package with a bug in it.  When all is over, everything may take ``settle_s`` to arrive.
    Whatever a daemon does that it must not do by itself, such
    as to end, is added to ``complaints``.
    """

    def __init__(self, folder: Path, planted: Path = ROOT, settle_s: float = 90.0) -> None:
        super().__init__(folder, {**LEDGER_RUN, "replay": {"capacity": REPLAY_CAPACITY}})
        self._root = planted
        self._settle_s = settle_s
        self._stack = ExitStack()
        self.hardware: dict[str, Hardware] = {}
        self.lines: dict[str, FaultProxy] = {}
        self.complaints: list[str] = []
        self._library = build_shim(folder)
        self._lives: dict[str, list[int]] = {}
        self._killed: set[int] = set()
        self._wiped: set[int] = set()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for program in self.programs.values():
            if program.process.poll() is None:
                for engine in program.engines():
                    os.kill(engine, signal.SIGCONT)
                program.process.send_signal(signal.SIGCONT)
        super().__exit__(kind, error, trace)
        for name, hardware in self.hardware.items():
            hardware.close(self.folder / f"{name}-disk" if error is not None else None)
        self._stack.close()

    # Daemons

    def start_all(self) -> None:
        """Start everybody for the first time."""
        self._equip(RELAY)
        self.start_relay()
        port = int(self._address.rpartition(":")[2])
        for name in NODES:
            self._equip(name)
            self.lines[name] = self._stack.enter_context(FaultProxy(port, LATENCY_S))
            self.start_again(name)

    def _equip(self, name: str) -> None:
        self.hardware[name] = Hardware(self.data(name), self._library)

    def start_again(self, name: str) -> None:
        """Start a daemon where it was; does not wait for it."""
        if name == RELAY:
            self.launch_relay()
            return
        cars = {"TMRLD_WORKER__ENVIRONMENTS": str(CARS.get(name, 1))}
        role = "trainer" if name == TRAINER else "worker"
        self.start(role, name, environment=cars, relay=f"wss://127.0.0.1:{self.lines[name].port}")

    def start_tmrld(self, name: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> Program:
        variables = {
            "TMRLD_RELAY__KEEP_CHECKPOINTS": str(KEPT_CHECKPOINTS),
            "LEDGER_FOLDER": str(self.ledger),
            "PYTHONPATH": f"{STAND_INS}{os.pathsep}{self._root}",
            **self.hardware[name].environment,
            **(environment or {}),
        }
        program = Program(self.folder, name, arguments, variables, launcher="tests.chaos.daemon", root=self._root)
        self.programs[name] = program
        self._lives.setdefault(name, []).append(program.pid)
        return program

    def kill(self, name: str) -> None:
        """SIGKILL a daemon, and what it started."""
        self._killed.add(self.programs[name].pid)
        self.programs[name].kill()

    def ask_to_end(self, name: str) -> None:
        """SIGTERM; does not wait."""
        self.programs[name].process.terminate()

    def await_end(self, name: str) -> None:
        """Wait until a daemon that was asked to end has ended."""
        program = self.programs[name]
        await_that(lambda: program.process.poll() is not None, f"{name} ends as it was asked to")
        if program.process.returncode not in (0, -signal.SIGTERM):  # the latter, if it had not begun yet
            self.complaints.append(f"{name} ended with {program.process.returncode}:\n{program.errors[-2000:]}")

    def finish_restart(self, name: str) -> None:
        """Wait until a daemon that was asked to end has ended, and start it again."""
        self.await_end(name)
        self.start_again(name)

    def lose_disk(self, name: str) -> None:
        """Kill a daemon, and remove all that it has stored."""
        self.kill(name)
        self.hardware[name].wipe()
        self._wiped.update(self._lives[name])

    def kill_and_free(self, name: str) -> None:
        """Kill a daemon whose disk is full, make room, and start it again."""
        self.kill(name)
        self.hardware[name].free()
        self.start_again(name)

    def start_twin(self, name: str) -> Program:
        """Start another daemon with the name and token of this node, on a disk of its own; both have their line."""
        twin = f"{name}{TWIN}"
        if twin not in self.hardware:
            self._equip(twin)
        arguments = self.programs[name].arguments
        here, there = str(self.data(name)), str(self.data(twin))
        token = {"TMRLD_PEERS__TOKEN": self.token("trainer" if name == TRAINER else "worker", name)}
        return self.start_tmrld(twin, [there if each == here else each for each in arguments], token)

    def lose_twin(self, name: str) -> None:
        """Take the twin away for good, with its disk."""
        twin = f"{name}{TWIN}"
        self.lose_disk(twin)
        del self.programs[twin]

    def engine_of(self, name: str) -> int | None:
        """The engine of a node, if it has one that runs."""
        for pid in self.programs[name].engines():
            try:
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    return pid
            except psutil.NoSuchProcess:
                continue
        return None

    def complain_of_the_dead(self, excused: frozenset[str]) -> None:
        """Take note of daemons that have ended, and start them again; nobody ends but who is excused."""
        for name, program in list(self.programs.items()):
            if name.removesuffix(TWIN) not in excused and program.process.poll() is not None:
                self.complaints.append(f"{name} ended by itself with {program.process.returncode}:\n{program.errors[-4000:]}")
                self.start_again(name)

    def client(self) -> Client:
        """The relay's API.  Raises TmrldError while there is none."""
        program = self.programs[RELAY]
        lines = [line.partition(": ")[2] for line in program.output.splitlines() if line.startswith("control: ")]
        if not lines:
            raise TmrldError("the relay does not listen yet")
        return Client(lines[-1].strip(), (self.data(RELAY) / "control.token").read_text().strip())

    def ask(self, *path: str) -> bool:
        """Ask the relay to do something; False where it cannot now."""
        try:
            self.client().post(*path)
        except (TmrldError, OSError):
            return False
        return True

    # The end

    def wind_up(self) -> Books:
        """When all faults are over: stop driving, let everything arrive, stop everybody, and open the books."""
        await_that(lambda: self.ask("runs", "demo", "pause"), "the run is paused")
        try:
            await_that(self._owes_nothing, "workers hand over what they hold", self._settle_s)
            await_that(self._all_is_ingested, "the trainer takes in the whole log", self._settle_s)
        except AssertionError as error:
            self.complaints.append(str(error))
        for name in (*NODES, RELAY):
            self.ask_to_end(name)
            self.await_end(name)
        return read_books(self.ledger, self.log_folder, frozenset(self._killed), frozenset(self._wiped))

    def _owes_nothing(self) -> bool:
        """Whether everything that a worker must still have is acknowledged.

        That is not so for chunks that were committed without that the worker who sent them learned it before it was killed.
        """
        missing = read_taken(self.ledger).keys() - read_acknowledged(self.ledger)
        taken = read_taken(self.ledger)
        return all(
            taken[name].pid in self._wiped or (taken[name].pid in self._killed and not taken[name].spooled) for name in missing
        )

    def _all_is_ingested(self) -> bool:
        """Whether the trainer's engine of now has all that is in the log."""
        files = list(self.ledger.glob(f"*-{self.engine_of(TRAINER)}.ingested"))
        return bool(files) and last_ingested(files[0]) >= end_of_log(self)

    def violations(self, books: Books) -> list[str]:
        """All that is wrong, a sentence each."""
        found = [
            *self.complaints,
            *violations(books),
            *delivery_violations(books),
            *self._unfenced(),
            *self._pruned_too_far(),
        ]
        try:
            assert_checkpoint_counts_the_log(self, books)
        except AssertionError as error:
            found.append(f"the trainer has not counted each transition of the log once: {error}")
        return found

    def _unfenced(self) -> list[str]:
        return [
            f"the relay heard {line} on a link that a newer one had replaced"
            for path in self.ledger.glob(f"*.{UNFENCED}")
            for line in path.read_text().splitlines()
        ]

    def _pruned_too_far(self) -> list[str]:
        """Checkpoints that can no longer be resumed from, because samples that they need are gone from the log."""
        begin = min(int(path.stem) for path in self.log_folder.glob("*.segment"))
        store = RunStore(Layout(self.data(RELAY)), keep_checkpoints=KEPT_CHECKPOINTS)
        newest, kept = store.checkpoints.newest("demo"), store.checkpoints.all("demo")
        store.close()
        needs = {
            f"the relay's checkpoint at update {info.update} needs": info.window
            for info in kept
            if not info.best or (newest is not None and info.update == newest.update)  # the best is kept without its samples
        }
        if (own := CheckpointFolder(Layout(self.data(TRAINER)).trainer_checkpoints("demo")).newest()) is not None:
            needs[f"the trainer's at update {own.update} needs"] = own.window
        return [
            f"the log begins at {begin}, and {what} it from {window} on" for what, window in needs.items() if window < begin
        ]
