"""What a relay's daemon answers when it is asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tmrld import __version__
from tmrld.errors import BadInput, Conflict, NotFound
from tmrld.events import Feed
from tmrld.node import DiagnosisView, ExaminationView, FreedView, LogLineView, Node, NodeView, StorageView
from tmrld.payloads import EpisodeSummary
from tmrld.stock import MakingView
from tmrld.storage.checkpoints import CheckpointInfo
from tmrld.storage.episodes import Choice, Episode
from tmrld.storage.layout import Layout
from tmrld.storage.metrics import Metric
from tmrld.storage.runs import Revision, RunStore
from tmrld.storage.shelf import Shelf
from tmrld.storage.usage import Usage

RUN = "demo"
WORKER = NodeView("gamer", "worker", "0.1.0", "10.0.0.5", RUN, "driving", "", 0.01, {}, {})

DIAGNOSIS = {
    "area": "disk",
    "check": "free space",
    "state": "note",
    "text": "little",
    "mend": "free some",
    "code": "disk-short",
}

T = TypeVar("T")


class Role:
    """A relay role that notes what it is told."""

    def __init__(self) -> None:
        self.moves: list[tuple[str, str]] = []
        self.reports: dict[str, dict[str, Any]] = {}
        self.members = [WORKER]
        self.troubled = ""

    def connected(self) -> list[NodeView]:
        return self.members

    def transitions(self, run: str) -> int:
        return 150 if run == RUN else 0

    def unstored(self, run: str) -> tuple[int, int]:
        return 2, 300

    def trouble(self, run: str) -> str:
        return self.troubled

    async def command(self, name: str, verb: str) -> None:
        if verb == "stop":
            raise Conflict(f"{name} is away")
        self.moves.append((name, verb))

    async def create_run(self, name: str, config: Mapping[str, Any], author: str, start: str = "no") -> None:
        self.moves.append((name, start))

    async def delete_run(self, name: str) -> None:
        self.moves.append((name, "delete"))

    async def change_config(self, name: str, config: Mapping[str, Any], base: int, author: str) -> Revision:
        return Revision(base + 1, dict(config), 1000.0, author)

    async def assign(self, node: str, run: str | None, take_over: bool = False) -> None:
        self.moves.append((node, f"work for {run}" + " instead" * take_over))

    async def move(self, name: str, verb: str) -> None:
        if verb == "pause":
            raise Conflict(f"the run {name} is queued")
        self.moves.append((name, verb))

    async def go_back(self, name: str, update: int, fewer_samples: bool) -> CheckpointInfo:
        self.moves.append((name, f"back to {update}{' with fewer samples' if fewer_samples else ''}"))
        return CheckpointInfo(update, 1, 0, 0, 10, "5f", 1000.0)

    def log_of_node(self, node: str, limit: int) -> list[LogLineView] | None:
        return None

    def log_of_run(self, run: str, limit: int) -> list[LogLineView]:
        return []

    def watching(self, run: str) -> AbstractContextManager[None]:
        return nullcontext()

    async def storage(self) -> StorageView:
        return StorageView(Usage((), 1, 2, 3, 4, 5, 6, 7, 8), 100, 10)

    async def clean_storage(self, run: str, *, dry_run: bool) -> list[FreedView]:
        return [FreedView(run, "weights", "version 1" if dry_run else "version 2", 30)]

    def shelf_changed(self) -> None:
        self.moves.append(("shelf", "changed"))

    async def make_demonstrations(
        self, run: str, name: str, choice: Choice, put: Callable[[bytes], Awaitable[object]]
    ) -> MakingView:
        await put(f"{choice.last} of {run}".encode())
        return MakingView(run, name, "made")

    def making(self, run: str) -> MakingView | None:
        return None

    async def examine(self, name: str) -> dict[str, Any]:
        self.reports[name] = {"time": 1002.0, "diagnoses": [DIAGNOSIS], "picture": b"jpeg"}
        return self.reports[name]

    def report(self, name: str) -> dict[str, Any] | None:
        return self.reports.get(name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    layout = Layout(tmp_path)
    layout.relay.mkdir()
    store = RunStore(layout)
    store.create(RUN, {"algorithm": {"gamma": 0.9}}, "test", 1000.0)
    yield store
    store.close()


@pytest.fixture
def role() -> Role:
    return Role()


@pytest.fixture
def node(store: RunStore, role: Role, tmp_path: Path) -> Node:
    return Node("hub", ["relay"], Feed(), store, Shelf(tmp_path / "shelf"), role, lambda _, data: (data, {}))


def answer(question: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(question)


def an_episode(name: str, purpose: str = "train", lap_time_s: float | None = None, progress: float = 0.5) -> Episode:
    summary = EpisodeSummary(100, 12.5, lap_time_s is not None, lap_time_s, progress, "policy", 2)
    return Episode(name, "gamer", purpose, "oval", None, 1001.0, summary)


def test_it_is_alive(node: Node) -> None:
    health = node.health()
    assert (health["status"], health["version"], health["roles"]) == ("ok", __version__, ["relay"])
    assert health["uptime_s"] >= 0


def test_it_shows_who_is_connected(node: Node) -> None:
    assert answer(node.nodes()) == [WORKER]


def test_a_run_that_has_done_nothing_shows_zeros_and_its_configuration(node: Node, store: RunStore) -> None:
    store.create("second", {}, "test", 1001.0)
    demo, second = answer(node.runs())
    assert (demo.name, demo.state, demo.created, demo.revision) == (RUN, "queued", 1000.0, 1)
    assert demo.config == {"algorithm": {"gamma": 0.9}}
    assert (second.update, second.transitions, second.episodes, second.best_lap_s, second.weights_version) == (0, 0, 0, None, 0)


def test_a_run_shows_how_far_it_has_come(node: Node, store: RunStore) -> None:
    store.metrics.add(RUN, [Metric(0, update, 10 * update, 1000.0, {"updates_per_s": 5.0}) for update in (10, 20, 30)])
    store.weights.add(RUN, 1, 10, 0, b"first", 1000.0)
    store.weights.add(RUN, 2, 20, 0, b"second", 1000.0)
    store.episodes.add(RUN, [an_episode("a"), an_episode("b", lap_time_s=21.0), an_episode("c", "evaluation", 20.0)])
    view = answer(node.run(RUN))
    assert (view.update, view.transitions, view.weights_version) == (30, 300, 2)
    assert (view.unstored_chunks, view.unstored_bytes) == (2, 300)
    assert (view.episodes, view.best_lap_s) == (2, 21.0)


def test_a_run_shows_who_works_for_it_and_its_newest_returns(node: Node, store: RunStore) -> None:
    store.metrics.add(RUN, [Metric(0, 10, 100, 1000.0, {"updates_per_s": 5.0})])
    store.episodes.add(RUN, [an_episode(f"e{index}") for index in range(70)])
    view = answer(node.run(RUN))
    assert (view.trainer, view.workers, view.queued_position) == (None, ("gamer",), 1)
    assert (len(view.spark), view.last_return, view.updates_per_s) == (60, 12.5, 0.0)
    store.set_state(RUN, "running")
    assert answer(node.run(RUN)).updates_per_s == 5.0


def test_a_run_shows_what_is_wrong_with_it_its_trainers_word_first(node: Node, role: Role) -> None:
    assert answer(node.run(RUN)).problem is None
    worker = replace(WORKER, state="problem", detail="the game cannot be driven")
    trainer = replace(WORKER, name="desk", role="trainer", state="refused", detail="the training cannot begin: too large")
    role.members = [worker]
    assert answer(node.run(RUN)).problem == "worker gamer: the game cannot be driven"
    role.members = [worker, trainer]
    assert answer(node.run(RUN)).problem == "trainer desk: the training cannot begin: too large"
    role.troubled = "samples cannot be stored"
    assert answer(node.run(RUN)).problem == "samples cannot be stored"
    role.troubled = ""
    role.members = [replace(worker, run="another"), replace(trainer, state="training")]
    assert answer(node.run(RUN)).problem is None


def test_a_node_that_is_away_shows_what_it_is_assigned_to(node: Node, store: RunStore) -> None:
    store.nodes.seen("away", "trainer", 5.0)
    store.assignments.set("away", RUN)
    _, away = answer(node.nodes())
    assert (away.name, away.state, away.connected, away.assigned) == ("away", "away", False, RUN)
    with pytest.raises(NotFound, match="no node 'awy': did you mean 'away'"):
        answer(node.assign_node("awy", RUN))


def test_transitions_are_those_of_the_log_while_the_trainer_lags(node: Node, store: RunStore) -> None:
    store.metrics.add(RUN, [Metric(0, 10, 100, 1000.0, {"updates_per_s": 5.0})])
    assert answer(node.run(RUN)).transitions == 150


def test_a_run_is_told_what_to_do_by_the_role(node: Node, role: Role) -> None:
    assert answer(node.move_run(RUN, "start")).name == RUN
    assert role.moves == [(RUN, "start")]
    with pytest.raises(Conflict, match="the run demo is queued"):
        answer(node.move_run(RUN, "pause"))
    with pytest.raises(BadInput, match="a run cannot be told to 'fly': the words are start, pause, resume, stop"):
        answer(node.move_run(RUN, "fly"))


def test_curves_are_named_cut_and_thinned(node: Node, store: RunStore) -> None:
    store.metrics.add(RUN, [Metric(0, update, 2 * update, 1000.0, {"loss": float(update), "q": 0.0}) for update in range(100)])
    assert answer(node.results.metric_names(RUN)) == ["loss", "q"]
    (loss,) = answer(node.results.metrics(RUN, ["loss"], 10, 12, 100))
    assert (loss.name, loss.updates, loss.transitions, loss.values) == ("loss", [10, 11, 12], [20, 22, 24], [10.0, 11.0, 12.0])
    (thin,) = answer(node.results.metrics(RUN, ["loss"], None, None, 10))
    assert len(thin.updates) <= 10
    assert (thin.values[0], thin.values[-1]) == (0.0, 99.0)


def test_episodes_come_newest_first_and_by_purpose(node: Node, store: RunStore) -> None:
    store.episodes.add(RUN, [an_episode("a"), an_episode("b", "evaluation", 20.0), an_episode("c", progress=math.nan)])
    newest, *others = answer(node.results.episodes(RUN, 10, None, None)).items
    assert (newest.episode, newest.progress, newest.episode_return) == ("c", None, 12.5)
    assert [episode.episode for episode in others] == ["b", "a"]
    (evaluation,) = answer(node.results.episodes(RUN, 10, "evaluation", None)).items
    assert (evaluation.finished, evaluation.lap_time_s, evaluation.weights_version) == (True, 20.0, 2)


def test_episodes_come_page_by_page(node: Node, store: RunStore) -> None:
    store.episodes.add(RUN, [an_episode(name) for name in "abcde"])
    seen, cursor = [], None
    while True:
        page = answer(node.results.episodes(RUN, 2, None, cursor))
        seen.append("".join(episode.episode for episode in page.items))
        cursor = page.next
        if cursor is None:
            break
    assert seen == ["ed", "cb", "a"]
    with pytest.raises(BadInput, match="'soon' is no place to go on from"):
        answer(node.results.episodes(RUN, 2, None, "soon"))


def test_an_episode_is_had_with_its_line_by_id_or_by_word(node: Node, store: RunStore) -> None:
    with pytest.raises(NotFound, match="has no latest episode: nothing was driven yet"):
        answer(node.results.episode(RUN, "latest"))
    store.episodes.add(RUN, [an_episode("a"), an_episode("b", lap_time_s=20.0), an_episode("c")])
    assert [answer(node.results.episode(RUN, name)).episode for name in ("a", "best", "latest")] == ["a", "b", "c"]
    assert answer(node.results.episode(RUN, "a")).trajectory.x == []


def test_weights_are_listed_with_what_evaluation_says(node: Node, store: RunStore) -> None:
    store.weights.add(RUN, 1, 10, 0, b"first", 1000.0)
    store.weights.add(RUN, 2, 20, 0, b"second", 1001.0)
    store.episodes.add(RUN, [an_episode("a", "evaluation", 20.0), an_episode("b", "evaluation")])
    second, first = answer(node.results.weights(RUN))
    assert (second.version, second.update, second.size_bytes, second.created) == (2, 20, 6, 1001.0)
    assert first.evaluation is None
    assert second.evaluation is not None
    assert (second.evaluation.episodes, second.evaluation.finished, second.evaluation.median_lap_s) == (2, 1, 20.0)


def test_a_version_of_the_weights_is_had_by_number_or_by_word(node: Node, store: RunStore) -> None:
    store.weights.add(RUN, 1, 10, 0, b"first", 1000.0)
    store.weights.add(RUN, 2, 20, 0, b"second", 1001.0)
    for version, data in (("1", b"first"), ("2", b"second"), ("latest", b"second")):
        file = answer(node.results.weights_file(RUN, version))
        assert (file.run, file.data) == (RUN, data)
    store.episodes.add(RUN, [an_episode("a", "evaluation", 20.0)])
    assert answer(node.results.weights_file(RUN, "best")).version == 2


@pytest.mark.parametrize(
    ("version", "error", "sentence"),
    [
        ("7", NotFound, "no weights of version 7"),
        ("latest", NotFound, "the run demo has no latest weights: nothing was learned yet"),
        ("best", NotFound, "the run demo has no best weights: no version was evaluated yet"),
        ("newest", BadInput, "'newest' is no version of weights: expected a number, latest or best"),
        ("-1", BadInput, "'-1' is no version of weights"),
        ("9" * 30, BadInput, "is no version of weights"),
    ],
)
def test_a_version_that_is_not_there_is_explained(version: str, error: type[Exception], sentence: str, node: Node) -> None:
    with pytest.raises(error, match=sentence):
        answer(node.results.weights_file(RUN, version))


def test_what_is_asked_of_a_run_that_does_not_exist_is_not_found(node: Node) -> None:
    for question in (
        node.run("nothing"),
        node.results.metric_names("nothing"),
        node.results.episodes("nothing", 10, None, None),
        node.results.weights("nothing"),
        node.results.weights_file("nothing", "latest"),
    ):
        with pytest.raises(NotFound, match="nothing"):
            answer(question)


def test_a_node_is_examined_and_the_newest_examination_is_kept(node: Node) -> None:
    with pytest.raises(NotFound, match="gamer was not examined since this relay began: `tmrld node doctor gamer` does it"):
        answer(node.examination("gamer"))
    found = answer(node.examine_node("gamer"))
    assert found == ExaminationView(1002.0, (DiagnosisView(**DIAGNOSIS),), b"jpeg")
    assert found.state == "note"
    assert answer(node.examination("gamer")) == found
    with pytest.raises(NotFound, match="did you mean 'gamer'"):
        answer(node.examine_node("gamr"))


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"time": 1.0, "diagnoses": [], "picture": "text"},
        {"time": 1.0, "diagnoses": [{**DIAGNOSIS, "state": "fine"}], "picture": b""},
        {"time": 1.0, "diagnoses": [{**DIAGNOSIS, "text": 5}], "picture": b""},
        {"time": 1.0, "diagnoses": 3, "picture": b""},
    ],
)
def test_a_node_that_answers_something_else_is_to_be_upgraded(node: Node, role: Role, report: dict[str, Any]) -> None:
    role.reports["gamer"] = report
    with pytest.raises(Conflict, match="gamer answered with what is no report: upgrade tmrld"):
        answer(node.examination("gamer"))


def test_a_run_is_led_back_to_a_checkpoint(node: Node, role: Role) -> None:
    assert answer(node.resume_checkpoint(RUN, 40, True)).lineage == 1
    assert answer(node.resume_checkpoint(RUN, 40, False)).update == 40
    assert role.moves == [(RUN, "back to 40 with fewer samples"), (RUN, "back to 40")]
