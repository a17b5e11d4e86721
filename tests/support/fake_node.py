"""A node with canned answers, for tests of the control API: what it was asked to do is in ``moves``."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any

from tmrld.errors import Conflict, NotFound
from tmrld.events import Feed
from tmrld.node import EpisodeView, EvaluationView, Node, NodeView, RunView, SeriesView, WeightsFile, WeightsView

DATA = bytes(range(256)) * 4
SHA256 = hashlib.sha256(DATA).hexdigest()

RUN = RunView("demo", "running", 1000.0, 1, {"algorithm": {"gamma": 0.995}}, 0, 20, 400, 2, None, 2)
WEIGHTS = WeightsView(2, 20, 0, len(DATA), SHA256, 1001.0, False, EvaluationView(1, 0, math.nan, None))
EPISODE = EpisodeView("e1", "gamer", "oval", "train", "policy", 200, math.inf, False, None, 0.5, 2, 1002.0)
WORKER = NodeView("gamer", "worker", "0.1.0", "10.0.0.5", "demo", "driving", "", 0.012, {"cores": 8}, {"speed": math.nan})


class FakeNode(Node):
    """One run, "demo", with one of everything.  ``broken`` is raised by whatever is asked for next."""

    def __init__(self) -> None:
        self.name = "hub"
        self.roles = ("relay",)
        self.feed = Feed()
        self.moves: list[tuple[str, str]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.broken: Exception | None = None

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

    async def metric_names(self, run: str) -> list[str]:
        self._find(run)
        return ["critic/loss", "pace/updates"]

    async def metrics(
        self, run: str, names: Sequence[str], start: int | None, stop: int | None, max_points: int
    ) -> list[SeriesView]:
        self._find(run)
        self.asked.append((run, list(names), start, stop, max_points))
        return [SeriesView(name, [1, 2, 3], [10, 20, 30], [0.5, math.nan, -math.inf]) for name in names]

    async def episodes(self, run: str, limit: int, purpose: str | None) -> list[EpisodeView]:
        self._find(run)
        self.asked.append((run, limit, purpose))
        return [EPISODE]

    async def weights(self, run: str) -> list[WeightsView]:
        self._find(run)
        return [WEIGHTS]

    async def weights_file(self, run: str, version: str) -> WeightsFile:
        self._find(run)
        if version not in ("latest", "2"):
            raise NotFound(f"the run {run} has no {version} weights")
        return WeightsFile(run, 2, SHA256, DATA)
