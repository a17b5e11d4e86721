"""A node with canned answers, for tests of the control API: what it was asked to do is in ``moves``."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from tests.support.fake_results import CHECKPOINT, FakeResults
from tmrld.errors import Conflict, NotFound
from tmrld.events import Feed
from tmrld.node import DiagnosisView, ExaminationView, FreedView, LogLineView, Node, NodeView, RunView, StorageView
from tmrld.results import CheckpointView
from tmrld.storage.usage import RunUsage, Usage

RUN = RunView(
    "demo",
    "running",
    1000.0,
    1,
    {"algorithm": {"gamma": 0.995}},
    0,
    20,
    400,
    2,
    None,
    2,
    unstored_chunks=3,
    unstored_bytes=4096,
)
EXAMINATION = ExaminationView(
    1004.0, (DiagnosisView("network", "relay", "wrong", "nothing listens", "start it", "relay-refused"),), b"jpeg"
)
LINE = LogLineView(1003.0, "INFO", "worker", "hello")
WORKER = NodeView("gamer", "worker", "0.1.0", "10.0.0.5", "demo", "driving", "", 0.012, {"cores": 8}, {"speed": math.nan})

USAGE = Usage((RunUsage("demo", 100, 30, 200),), 40, 5, 7, 1, 2, 3, 4, 9_000)


class FakeNode(Node):
    """One run, "demo", with one of everything.  ``broken`` is raised by whatever is asked for next."""

    def __init__(self) -> None:
        self.name = "hub"
        self.roles = ("relay",)
        self.feed = Feed()
        self.moves: list[tuple[str, str]] = []
        self.results: FakeResults = FakeResults(self._find)
        self.asked = self.results.asked
        self.watched: list[str] = []
        self.broken: Exception | None = None
        self.examined = False

    def _find(self, run: str) -> None:
        if self.broken is not None:
            raise self.broken
        if run != "demo":
            raise NotFound(f"there is no run {run!r}")

    def health(self) -> dict[str, Any]:
        return {"status": "ok", "uptime_s": 1.5, "roles": list(self.roles)}

    async def nodes(self) -> list[NodeView]:
        return [WORKER]

    async def known(self, name: str) -> NodeView:
        return dataclasses.replace(WORKER, name=name)

    async def command_node(self, name: str, verb: str) -> NodeView:
        if name != WORKER.name:
            raise NotFound(f"there is no node {name!r}")
        self.moves.append((name, verb))
        return WORKER

    async def examine_node(self, name: str) -> ExaminationView:
        if name != WORKER.name:
            raise NotFound(f"there is no node {name!r}")
        self.moves.append((name, "doctor"))
        self.examined = True
        return EXAMINATION

    async def examination(self, name: str) -> ExaminationView:
        if not self.examined:
            raise NotFound(f"{name} was not examined")
        return EXAMINATION

    async def storage(self) -> StorageView:
        return StorageView(USAGE, 10_000, 1_000)

    async def clean_storage(self, run: str | None, dry_run: bool) -> list[FreedView]:
        self._find(run or "demo")
        self.asked.append((run, dry_run))
        return [FreedView("", "leftovers", "relay/x.damaged", 7), FreedView("demo", "weights", "version 1", 30)]

    async def runs(self) -> list[RunView]:
        self._find("demo")
        return [RUN]

    async def run(self, name: str) -> RunView:
        self._find(name)
        return RUN

    async def move_run(self, name: str, verb: str) -> RunView:
        self._find(name)
        if verb == "start":
            raise Conflict("the run demo is running: it cannot be started")
        self.moves.append((name, verb))
        return RUN

    async def resume_checkpoint(self, run: str, update: int, fewer_samples: bool) -> CheckpointView:
        self._find(run)
        self.asked.append((run, update, fewer_samples))
        if not fewer_samples:
            raise Conflict(f"the checkpoint of the run {run} at update {update} can be gone on from with fewer samples only")
        return dataclasses.replace(CHECKPOINT, lineage=1)

    async def log(self, name: str, limit: int) -> list[LogLineView]:
        self.asked.append((name, limit))
        if name not in ("gamer", "relay"):
            raise NotFound(f"there is no node {name!r}")
        return [LINE]

    async def run_log(self, run: str, limit: int) -> list[LogLineView]:
        self._find(run)
        self.asked.append((run, limit))
        return [LINE]

    async def watching(self, run: str) -> contextlib.AbstractContextManager[None]:
        self._find(run)
        return self._watched(run)

    @contextlib.contextmanager
    def _watched(self, run: str) -> Iterator[None]:
        self.watched.append(run)
        yield
        self.watched.remove(run)
