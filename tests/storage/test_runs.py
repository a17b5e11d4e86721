"""A relay remembers its runs, who configured them how, and which branch of their history counts."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tmrld.errors import BadInput, Conflict, Damaged, DiskFull, NotFound, StorageError
from tmrld.storage.database import Database
from tmrld.storage.layout import Layout
from tmrld.storage.lineages import Span
from tmrld.storage.metrics import Metric
from tmrld.storage.nodes import KnownNode
from tmrld.storage.relay_schema import MIGRATIONS
from tmrld.storage.runs import Revision, RunStore

NORMAL, FULL = 1, 2
"""What SQLite calls its synchronous modes (sqlite.org/pragma.html)."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(Layout(tmp_path))
    yield store
    store.close()


def metrics_at(store: RunStore, lineage: int, *updates: int) -> None:
    store.metrics.add("run", [Metric(lineage, update, update, 0.0, {"loss": update + lineage / 10}) for update in updates])


def shown(store: RunStore) -> list[float]:
    return [float(value) for value in store.metrics.read("run", ["loss"])["loss"].values]


def test_a_new_run_is_queued_with_its_first_revision(store: RunStore, tmp_path: Path) -> None:
    run = store.create("run", {"env": {"id": "sim"}}, "me", 5.0)
    assert (run.state, run.created, run.spec, run.lineage, run.revision) == ("queued", 5.0, None, 0, 1)
    assert store.revision("run") == Revision(1, {"env": {"id": "sim"}}, 5.0, "me")
    store.close()
    again = RunStore(Layout(tmp_path))
    assert again.all() == [run]
    again.close()


def test_names_are_checked_and_unique_and_a_typo_is_answered_with_the_nearest(store: RunStore, tmp_path: Path) -> None:
    store.create("first", {}, "me", 0.0)
    with pytest.raises(Conflict, match="already"):
        store.create("first", {}, "me", 0.0)
    with pytest.raises(BadInput, match="cannot be the name of a run"):
        store.create("First", {}, "me", 0.0)
    with pytest.raises(NotFound, match="Did you mean 'first'"):
        store.get("frist")
    Layout(tmp_path).run_log("left").mkdir(parents=True)
    with pytest.raises(Conflict, match="files of another run"):
        store.create("left", {}, "me", 0.0)


def test_states_are_those_of_the_list(store: RunStore) -> None:
    store.create("run", {}, "me", 0.0)
    store.set_state("run", "running")
    assert store.get("run").state == "running"
    with pytest.raises(BadInput, match="'flying' is no state"):
        store.set_state("run", "flying")


def test_the_first_spaces_are_fixed_for_all_workers(store: RunStore) -> None:
    store.create("run", {}, "me", 0.0)
    store.set_spec("run", {"id": "sim", "low": "-inf"})
    store.set_spec("run", {"low": "-inf", "id": "sim"})
    assert store.get("run").spec == {"id": "sim", "low": "-inf"}
    with pytest.raises(Conflict, match="other observation or action spaces"):
        store.set_spec("run", {"id": "other"})


def test_a_change_to_a_stale_revision_is_a_conflict(store: RunStore) -> None:
    store.create("run", {"lr": 1}, "me", 0.0)
    store.add_revision("run", {"lr": 2}, base=1, author="you", at=1.0)
    with pytest.raises(Conflict, match="at revision 2, the change was made to revision 1"):
        store.add_revision("run", {"lr": 3}, base=1, author="me", at=2.0)
    assert [(revision.number, revision.config["lr"], revision.author) for revision in store.revisions("run")] == [
        (1, 1, "me"),
        (2, 2, "you"),
    ]
    assert store.revision("run", 1).config == {"lr": 1}
    assert store.get("run").revision == 2
    with pytest.raises(NotFound, match="no revision 7"):
        store.revision("run", 7)


def test_of_many_who_change_the_same_revision_one_succeeds(store: RunStore) -> None:
    store.create("run", {}, "me", 0.0)
    won: list[str] = []

    def change(author: str) -> None:
        try:
            store.add_revision("run", {"by": author}, base=1, author=author, at=0.0)
        except Conflict:
            return
        won.append(author)

    threads = [threading.Thread(target=change, args=(f"author {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.revision("run").author] == won


def test_what_was_to_be_deleted_when_the_process_was_killed_goes_or_comes_back_whole(store: RunStore, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for name in ("kept", "gone", "anew"):
        store.create(name, {}, "me", 1.0)
        (layout.relay_run(name) / "log").mkdir(parents=True)
        (layout.relay_run(name) / "log" / "samples").write_text(name)
    layout.relay_deleted.mkdir()
    for name in ("kept", "gone", "anew"):
        layout.relay_run(name).rename(layout.relay_deleted / f"{name}~0123")
    store.delete("gone")
    layout.relay_run("anew").mkdir()
    store.close()
    with closing(RunStore(layout)):
        assert (layout.relay_run("kept") / "log" / "samples").read_text() == "kept"
        assert not layout.relay_run("gone").exists()
        assert not list(layout.relay_run("anew").iterdir())
        assert not list(layout.relay_deleted.iterdir())


def test_nobody_waits_for_the_database_while_the_files_of_a_run_are_removed(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("run", {}, "me", 1.0)
    folder = Layout(tmp_path).relay_run("run")
    folder.mkdir(parents=True)
    seen: list[bool] = []

    def remove(path: Path) -> None:
        other = threading.Thread(target=store.nodes.seen, args=("pc", "worker", 1.0), daemon=True)
        other.start()
        other.join(10.0)
        seen.append(other.is_alive())
        path.rmdir()

    monkeypatch.setattr(shutil, "rmtree", remove)
    store.delete("run")
    assert seen == [False]
    assert not folder.exists()


def test_a_deleted_run_leaves_nothing_and_its_name_may_be_used_again(store: RunStore, tmp_path: Path) -> None:
    store.create("run", {}, "me", 0.0)
    metrics_at(store, 0, 1, 2)
    store.weights.add("run", 1, 1, 0, b"w", 0.0)
    store.delete("run")
    assert store.all() == []
    assert not Layout(tmp_path).relay_run("run").exists()
    store.create("run", {}, "me", 0.0)
    metrics_at(store, 0, 5)
    assert shown(store) == [5.0]
    assert store.weights.all("run") == []


def test_a_lineage_opens_only_when_something_visible_lies_beyond(store: RunStore) -> None:
    store.create("run", {}, "me", 0.0)
    assert store.lineages.open("run", 0, 0.0) == 0
    metrics_at(store, 0, 10, 20)
    assert store.lineages.open("run", 20, 0.0) == 0
    assert store.lineages.open("run", 30, 0.0) == 0
    assert store.lineages.open("run", 19, 0.0) == 1
    assert store.lineages.open("run", 19, 0.0) == 1
    assert store.get("run").lineage == 1
    with pytest.raises(BadInput, match="-1"):
        store.lineages.open("run", -1, 0.0)


@pytest.mark.parametrize("what", ["weights", "checkpoint"])
def test_weights_and_checkpoints_count_as_something(store: RunStore, what: str) -> None:
    store.create("run", {}, "me", 0.0)
    if what == "weights":
        store.weights.add("run", 1, 10, 0, b"w", 0.0)
    else:
        store.checkpoints.add("run", 10, 0, 0, 0, b"c", 0.0)
    assert store.lineages.open("run", 10, 0.0) == 0
    assert store.lineages.open("run", 5, 0.0) == 1


def test_which_points_are_visible_worked_out_by_hand(store: RunStore) -> None:
    """Values are the update, plus a tenth of the lineage."""
    store.create("run", {}, "me", 0.0)
    metrics_at(store, 0, 0, 100, 200, 300)
    assert store.lineages.open("run", 200, 1.0) == 1
    assert shown(store) == [0, 100, 200]
    metrics_at(store, 1, 250, 350, 450)
    assert shown(store) == [0, 100, 200, 250.1, 350.1, 450.1]
    assert store.lineages.open("run", 350, 2.0) == 2
    metrics_at(store, 2, 400)
    assert shown(store) == [0, 100, 200, 250.1, 350.1, 400.2]
    # An even older checkpoint: lineage 3 continues lineage 0, so 1 and 2 are hidden with all they have.
    assert store.lineages.open("run", 100, 3.0) == 3
    metrics_at(store, 3, 150)
    assert shown(store) == [0, 100, 150.3]
    assert [(one.number, one.parent, one.fork_update) for one in store.lineages.all("run")] == [
        (0, None, None),
        (1, 0, 200),
        (2, 1, 350),
        (3, 0, 100),
    ]
    assert store.lineages.visible("run") == [Span(3, None), Span(0, 100)]
    # A superseded trainer that still reports is kept, but not shown.
    metrics_at(store, 2, 500)
    assert shown(store) == [0, 100, 150.3]
    every = store.metrics.read("run", ["loss"], include_superseded=True)["loss"]
    assert every.values.tolist() == [0, 100, 200, 300, 250.1, 350.1, 450.1, 400.2, 500.2, 150.3]
    assert every.lineages.tolist() == [0] * 4 + [1] * 3 + [2] * 2 + [3]


def test_an_unknown_lineage_cannot_report(store: RunStore) -> None:
    store.create("run", {}, "me", 0.0)
    with pytest.raises(NotFound, match="no lineage 4"):
        metrics_at(store, 4, 1)
    assert store.metrics.names("run") == []


def test_nodes_are_remembered_with_the_first_and_last_time(store: RunStore) -> None:
    store.nodes.seen("pc", "worker", 1.0)
    store.nodes.seen("pc", "worker", 3.0)
    store.nodes.seen("gpu", "trainer", 2.0)
    assert store.nodes.all() == [KnownNode("gpu", "trainer", 2.0, 2.0), KnownNode("pc", "worker", 1.0, 3.0)]
    store.nodes.forget("pc")
    assert [node.name for node in store.nodes.all()] == ["gpu"]


def test_runs_from_before_keep_the_convolutions_that_were_the_default_then(tmp_path: Path) -> None:
    older = next(number for number, script in enumerate(MIGRATIONS) if "network.cnn" in script)
    database = Database(Layout(tmp_path).relay_db, MIGRATIONS[:older])
    with database.transaction() as change:
        change.execute("INSERT INTO runs (id, name, state, created, lineage) VALUES (1, 'run', 'stopped', 0.0, 0)")
        for number, config in enumerate(('{"algorithm": {"tau": 0.1}}', '{"network": {"cnn": "nature", "gru": 8}}'), 1):
            change.execute(
                "INSERT INTO revisions (run, number, config, time, author) VALUES (1, ?, ?, 0.0, 'me')", (number, config)
            )
    database.close()

    store = RunStore(Layout(tmp_path))

    assert [each.config for each in store.revisions("run")] == [
        {"algorithm": {"tau": 0.1}, "network": {"cnn": "tmrl"}},
        {"network": {"cnn": "nature", "gru": 8}},
    ]
    store.close()


def test_a_newer_schema_is_refused_politely(tmp_path: Path) -> None:
    Database(Layout(tmp_path).relay_db, (*MIGRATIONS, "CREATE TABLE of_the_future (fact)")).close()
    with pytest.raises(StorageError, match=rf"newer tmrld.*schema {len(MIGRATIONS) + 1}.*Upgrade tmrld"):
        RunStore(Layout(tmp_path))


def test_files_of_runs_without_their_database_are_not_forgotten(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with closing(RunStore(layout)) as store:
        store.create("oval", {}, "me", 0.0)
        store.weights.add("oval", 1, 1, 0, b"policy", 0.0)
    layout.relay_db.with_name("relay.db.seal").unlink()
    layout.relay_db.write_bytes(b"")
    with pytest.raises(Damaged, match=r"relay\.db is missing or empty, and .* holds files of the runs oval"):
        RunStore(layout)
    layout.relay_db.unlink()
    with pytest.raises(Damaged, match="begin anew"):
        RunStore(layout)


def test_a_bit_that_flips_in_a_database_that_was_closed_in_order_is_noticed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with closing(RunStore(layout)) as store:
        store.create("oval", {"gamma": 0.99}, "me", 0.0)
    whole = layout.relay_db.read_bytes()
    at = whole.index(b"0.99") + 3
    layout.relay_db.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for _ in range(2):
        with pytest.raises(Damaged, match=r"not as it was when tmrld closed it.*remove .*relay\.db\.seal"):
            RunStore(layout)
    layout.relay_db.with_name("relay.db.seal").unlink()
    with closing(RunStore(layout)) as store:
        assert store.revision("oval").config == {"gamma": 0.98}


def test_a_seal_that_is_damaged_itself_keeps_nobody_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = Layout(tmp_path)
    RunStore(layout).close()
    seal = layout.relay_db.with_name("relay.db.seal")
    seal.write_text(seal.read_text()[:-20])
    RunStore(layout).close()
    assert "relay.db.seal is damaged" in caplog.text
    assert "Its database is checked less thoroughly" in caplog.text


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = Layout(tmp_path).relay_db
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(Damaged, match=r"relay\.db is damaged"):
        RunStore(Layout(tmp_path))


def test_schemas_migrate_one_after_the_other(tmp_path: Path) -> None:
    first, second = "CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y DEFAULT 7"
    database = Database(tmp_path / "db", [first])
    with database.transaction() as change:
        change.execute("INSERT INTO a VALUES (1)")
    database.close()
    database = Database(tmp_path / "db", [first, second])
    with database.reading() as view:
        assert view.execute("SELECT * FROM a").fetchall() == [(1, 7)]
    database.close()


def test_a_database_without_room_says_so_and_keeps_nothing_of_the_transaction(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", ["CREATE TABLE a (x)"])

    def fill() -> None:
        with database.transaction() as change:
            change.execute("PRAGMA max_page_count = 10")
            for _ in range(100):
                change.execute("INSERT INTO a VALUES (zeroblob(1000))")

    with pytest.raises(DiskFull, match="the disk is full"):
        fill()
    with database.reading() as view:
        assert view.execute("SELECT count(*) FROM a").fetchone() == (0,)
    database.close()


def test_only_notes_that_nobody_depends_on_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "some.db", ["CREATE TABLE t (x NOT NULL)"])) as database:
        for hurried, expected in ((False, FULL), (True, NORMAL), (False, FULL)):
            with database.transaction(hurried=hurried) as change:
                assert change.execute("PRAGMA synchronous").fetchone() == (expected,)
        with pytest.raises(sqlite3.IntegrityError), database.transaction(hurried=True) as change:
            change.executemany("INSERT INTO t VALUES (?)", [(1,), (None,)])
        with database.transaction() as change:
            assert change.execute("PRAGMA synchronous").fetchone() == (FULL,)
            assert change.execute("SELECT * FROM t").fetchall() == []
