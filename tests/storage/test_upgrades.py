"""A newer tmrld reads what older ones have left, a killed upgrade is made good, and an older tmrld refuses politely.

``earlier/`` holds dumps of databases that earlier versions of this program have written: schema 4 of ``relay.db``, from before a
configuration named its convolutions, and the tokens from before they had a schema number.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tmrld.errors import Damaged, StorageError
from tmrld.security.database import PrivateDatabase
from tmrld.security.tokens import TokenStore
from tmrld.storage.database import Database, NewerSchema
from tmrld.storage.files import read_manifest
from tmrld.storage.layout import LAYOUT_VERSION, Layout, open_data_folder
from tmrld.storage.relay_schema import MIGRATIONS
from tmrld.storage.runs import RunStore
from tmrld.storage.upgrades import UPGRADES

EARLIER = Path(__file__).parent / "earlier"


def restored(name: str, path: Path) -> Path:
    """The database that a dump was made of."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((EARLIER / name).read_text())
    return path


def schema_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


# relay.db


def test_what_schema_4_held_is_all_there_and_the_file_as_it_was_is_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    path = restored("relay-schema-4.sql", layout.relay_db)
    store = RunStore(layout)
    oval, waiting = store.all()
    assert (oval.name, oval.state, oval.created, oval.revision) == ("oval", "running", 1000.0, 2)
    assert oval.spec == {"id": "tmrld/TM20Lidar-v0"}
    assert (waiting.name, waiting.queue_position) == ("waiting", 1)
    cnns = [revision.config["network"]["cnn"] for revision in (*store.revisions("oval"), *store.revisions("waiting"))]
    assert cnns == ["tmrl", "nature", "tmrl"]
    assert [(info.version, info.pinned) for info in store.weights.all("oval")] == [(2, False), (1, True)]
    newest = store.checkpoints.newest("oval")
    assert newest is not None
    assert (newest.update, newest.offset, newest.window) == (100, 5000, 1000)
    assert store.assignments.all() == {"gamer": "oval"}
    assert store.metrics.names("oval") == ["alpha", "loss"]
    store.close()
    kept = path.with_name("relay.db.schema-4")
    assert (schema_of(path), schema_of(kept)) == (len(MIGRATIONS), 4)
    if sys.platform != "win32":
        assert kept.stat().st_mode & 0o777 == 0o600
    with closing(Database(kept, MIGRATIONS[:4])) as before, before.reading() as view:
        configs = [json.loads(config) for (config,) in view.execute("SELECT config FROM revisions")]
    assert ["cnn" in config["network"] for config in configs] == [False, True, False]


def test_each_schema_that_there_ever_was_is_brought_up_to_date(tmp_path: Path) -> None:
    for older in range(len(MIGRATIONS)):
        layout = Layout(tmp_path / str(older))
        Database(layout.relay_db, MIGRATIONS[:older]).close()
        store = RunStore(layout)
        store.create("run", {"network": {"cnn": "tmrl"}}, "me", 0.0)
        store.close()
        copies = [path.name for path in layout.relay.glob("*.schema-*")]
        assert copies == ([f"relay.db.schema-{older}"] if older else [])


def test_only_the_newest_copy_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    steps = ["CREATE TABLE facts (fact)", "INSERT INTO facts VALUES (1)", "INSERT INTO facts VALUES (2)"]
    for number in (1, 2, 3):
        Database(path, steps[:number]).close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["facts.db", "facts.db.schema-2", "facts.db.seal"]


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    Database(path, ["CREATE TABLE facts (fact)"]).close()
    with pytest.raises(StorageError, match=r"Cannot use the database .*facts\.db: no such table: lies"):
        Database(path, ["CREATE TABLE facts (fact)", "INSERT INTO facts VALUES (1)", "INSERT INTO lies VALUES (1)"])
    with (
        closing(Database(path, ["CREATE TABLE facts (fact)", "INSERT INTO facts VALUES (3)"])) as database,
        database.reading() as view,
    ):
        assert view.execute("SELECT fact FROM facts").fetchall() == [(3,)]


SLOW = """
import sys
from pathlib import Path
from tmrld.storage.database import Database
for_ever = "INSERT INTO facts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
Database(Path(sys.argv[1]), ["CREATE TABLE facts (fact); INSERT INTO facts VALUES (0)", "DELETE FROM facts; " + for_ever])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_an_upgrade_that_is_killed_is_made_good_by_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    first = "CREATE TABLE facts (fact); INSERT INTO facts VALUES (0)"
    Database(path, [first]).close()
    with subprocess.Popen([sys.executable, "-c", SLOW, str(path)]) as upgrading:
        wal = path.with_name("facts.db-wal")
        deadline = time.monotonic() + 30
        while not (wal.exists() and wal.stat().st_size > 2**20) and time.monotonic() < deadline:
            assert upgrading.poll() is None
            time.sleep(0.01)
        os.kill(upgrading.pid, signal.SIGKILL)
    with closing(sqlite3.connect(path)) as left:
        assert left.execute("PRAGMA user_version").fetchone() == (1,)
        assert left.execute("SELECT fact FROM facts").fetchall() == [(0,)]
    with closing(Database(path, [first, "UPDATE facts SET fact = 1"])) as database, database.reading() as view:
        assert view.execute("SELECT fact FROM facts").fetchall() == [(1,)]
    assert schema_of(path.with_name("facts.db.schema-1")) == 1


def test_an_older_tmrld_refuses_a_newer_schema_and_names_the_copy_from_before(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    steps = ["CREATE TABLE facts (fact)", "INSERT INTO facts VALUES (1)"]
    for number in (1, 2):
        Database(path, steps[:number]).close()
    with pytest.raises(
        NewerSchema, match=r"newer tmrld \(schema 2; this one knows schemas up to 1\)\. Upgrade tmrld, or put .*"
    ):
        Database(path, steps[:1])
    path.with_name("facts.db.schema-1").replace(path)
    Database(path, steps[:1]).close()


# tokens.db


def test_tokens_from_before_the_schema_had_a_number_stay_good(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    path = restored("tokens-unversioned.sql", layout.tokens_db)
    for _ in range(2):
        store = TokenStore(path)
        grant = store.check("tmrld_worker_of-long-ago")
        assert grant is not None
        assert (grant.name, grant.scope) == ("gamer", "worker")
        store.issue("later", "viewer", replace=True)
        assert [record.name for record in store.list()] == ["ann", "gamer", "later"]
        store.close()
    assert schema_of(path) == 1


def test_an_older_tmrld_refuses_a_newer_token_store(tmp_path: Path) -> None:
    path = tmp_path / "tokens.db"
    steps = [["CREATE TABLE a (b, c)"], ["CREATE TABLE d (e, f)"]]
    PrivateDatabase(path, steps).close()
    with pytest.raises(StorageError, match=r"newer tmrld \(schema 2; this one knows schemas up to 1\): upgrade tmrld"):
        PrivateDatabase(path, steps[:1])
    PrivateDatabase(path, steps).close()


# The folder

FIRST_FOLDER = """\
{
 "content": {},
 "kind": "tmrld data folder",
 "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
 "version": 1
}
"""
OPTIONS = {"algorithm": {"gamma": 0.5}, "training": {"seed": 4}}


def a_first_folder(root: Path) -> Layout:
    """As the first tmrld left it: what a trainer notes for itself had no checksums."""
    layout = Layout(root)
    layout.trainer_revisions("oval").mkdir(parents=True)
    layout.version.write_text(FIRST_FOLDER)
    layout.trainer_made("oval").write_text(repr(1722.0625))
    (layout.trainer_revisions("oval") / "3.json").write_text(json.dumps(OPTIONS))
    return layout


def assert_brought_up_to_date(layout: Layout) -> None:
    assert read_manifest(layout.version, "tmrld data folder", LAYOUT_VERSION) == {}
    assert json.loads(layout.version.read_text())["version"] == LAYOUT_VERSION
    assert read_manifest(layout.trainer_made("oval"), "tmrld run made", 1) == {"created": 1722.0625}
    assert read_manifest(layout.trainer_revisions("oval") / "3.json", "tmrld training options", 1) == OPTIONS


def test_the_first_layout_is_brought_up_to_date_where_it_lies(tmp_path: Path) -> None:
    layout = a_first_folder(tmp_path)
    for _ in range(2):
        open_data_folder(tmp_path).close()
        assert_brought_up_to_date(layout)


def test_an_upgrade_of_the_folder_that_was_cut_off_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = a_first_folder(tmp_path)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # one note is converted, nothing after it
        patch.setattr("tmrld.storage.upgrades.log.error", cut_off)
        (layout.trainer_run("oval") / "revisions" / "2.json").write_text("no json")
        with pytest.raises(KeyboardInterrupt):
            open_data_folder(tmp_path)
    assert json.loads(layout.version.read_text())["version"] == 1
    open_data_folder(tmp_path).close()
    assert_brought_up_to_date(layout)


def test_a_note_that_was_damaged_before_is_told_and_stays_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = a_first_folder(tmp_path)
    layout.trainer_made("oval").write_text("17#2.0")
    open_data_folder(tmp_path).close()
    assert "made is damaged" in caplog.text
    with pytest.raises(Damaged):
        read_manifest(layout.trainer_made("oval"), "tmrld run made", 1)


def test_there_is_a_way_from_every_earlier_layout() -> None:
    assert sorted(UPGRADES) == list(range(1, LAYOUT_VERSION))
