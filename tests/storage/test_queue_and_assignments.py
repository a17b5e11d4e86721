"""Which run is next, and which node was given which run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tmrld.errors import BadInput, NotFound
from tmrld.storage.database import Database
from tmrld.storage.layout import Layout
from tmrld.storage.relay_schema import MIGRATIONS
from tmrld.storage.runs import RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(Layout(tmp_path))
    for name in ("a", "b", "c"):
        store.create(name, {}, "test", 1.0)
    yield store
    store.close()


def queue(store: RunStore) -> list[tuple[str, int | None]]:
    return [(run.name, run.queue_position) for run in store.queue()]


def test_new_runs_wait_in_the_order_in_which_they_were_made(store: RunStore) -> None:
    assert queue(store) == [("a", 1), ("b", 2), ("c", 3)]


def test_those_behind_a_run_that_leaves_the_queue_move_up(store: RunStore) -> None:
    store.set_state("a", "running")
    assert queue(store) == [("b", 1), ("c", 2)]
    assert store.get("a").queue_position is None


def test_a_run_that_is_queued_again_comes_last(store: RunStore) -> None:
    store.set_state("a", "stopped")
    store.set_state("a", "queued")
    assert [name for name, _ in queue(store)] == ["b", "c", "a"]


def test_a_run_can_be_made_without_queueing_it(store: RunStore) -> None:
    assert store.create("d", {}, "test", 1.0, state="stopped").queue_position is None
    with pytest.raises(BadInput, match="no state of a run"):
        store.create("e", {}, "test", 1.0, state="wild")
    with pytest.raises(NotFound):
        store.get("e")


def test_a_node_is_assigned_to_one_run_and_left_to_itself_again(store: RunStore) -> None:
    store.assignments.set("w1", "a")
    store.assignments.set("w1", "b")
    store.assignments.set("t1", "a")
    assert store.assignments.all() == {"w1": "b", "t1": "a"}
    store.assignments.set("w1", None)
    assert store.assignments.all() == {"t1": "a"}


def test_a_node_cannot_be_assigned_to_a_run_that_does_not_exist(store: RunStore) -> None:
    store.assignments.set("w1", "a")
    with pytest.raises(NotFound):
        store.assignments.set("w1", "z")
    assert store.assignments.all() == {"w1": "a"}


def test_an_assignment_goes_with_its_run(store: RunStore) -> None:
    store.assignments.set("w1", "a")
    store.delete("a")
    assert store.assignments.all() == {}


def test_an_assignment_follows_its_node_to_a_new_name_and_is_forgotten_with_it(store: RunStore) -> None:
    store.nodes.seen("w1", "worker", 1.0)
    store.assignments.set("w1", "a")
    store.nodes.rename("w1", "fast")
    assert store.assignments.all() == {"fast": "a"}
    store.nodes.forget("fast")
    assert store.assignments.all() == {}


def test_which_runs_a_node_worked_for_is_remembered_until_one_of_them_is_gone(store: RunStore) -> None:
    store.nodes.serves("w1", "worker", "a")
    store.nodes.serves("w1", "worker", "a")
    assert store.nodes.has_served("w1", "worker", "a")
    assert not store.nodes.has_served("w1", "trainer", "a")
    assert not store.nodes.has_served("w1", "worker", "z")
    store.nodes.rename("w1", "fast")
    assert [store.nodes.has_served(name, "worker", "a") for name in ("w1", "fast")] == [False, True]
    store.nodes.forget("fast")
    assert not store.nodes.has_served("fast", "worker", "a")
    store.nodes.serves("w1", "worker", "a")
    store.delete("a")
    store.create("a", {}, "test", 2.0)
    assert not store.nodes.has_served("w1", "worker", "a")


def test_whoever_was_known_before_that_was_noted_may_have_worked_for_everything(tmp_path: Path) -> None:
    older = next(number for number, script in enumerate(MIGRATIONS) if "TABLE served" in script)
    database = Database(Layout(tmp_path).relay_db, MIGRATIONS[:older])
    with database.transaction() as change:
        change.execute("INSERT INTO nodes VALUES ('w1', 'worker', 1, 1)")
        change.execute("INSERT INTO runs (name, state, created, lineage) VALUES ('a', 'stopped', 1, 0)")
    database.close()
    store = RunStore(Layout(tmp_path))
    assert store.nodes.has_served("w1", "worker", "a")
    store.close()
