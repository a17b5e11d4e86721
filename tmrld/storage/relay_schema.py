"""The tables of ``relay.db``.  Text in tables is UTF-8, times are seconds since 1970 on the relay's clock, NaN is stored as NULL."""

from __future__ import annotations

import difflib
import sqlite3

from tmrld.errors import NotFound

MIGRATIONS = (
    """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    spec TEXT,
    lineage INTEGER NOT NULL
);
CREATE TABLE revisions (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    config TEXT NOT NULL,
    time REAL NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE lineages (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    parent INTEGER,
    fork_update INTEGER,
    opened REAL NOT NULL,
    newest_update INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    name TEXT NOT NULL,
    UNIQUE (run, name)
);
CREATE TABLE points (
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    lineage INTEGER NOT NULL,
    at_update INTEGER NOT NULL,
    transitions INTEGER NOT NULL,
    received_at REAL NOT NULL,
    value REAL,
    PRIMARY KEY (series, lineage, at_update)
) WITHOUT ROWID;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    lineage INTEGER NOT NULL,
    first_update INTEGER NOT NULL,
    last_update INTEGER NOT NULL,
    count INTEGER NOT NULL,
    extremes BLOB NOT NULL,
    points BLOB NOT NULL
);
CREATE INDEX blocks_in_order ON blocks (series, lineage, first_update);
CREATE TABLE episodes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    episode TEXT NOT NULL,
    worker TEXT NOT NULL,
    purpose TEXT NOT NULL,
    track TEXT NOT NULL,
    seed TEXT,
    received_at REAL NOT NULL,
    steps INTEGER NOT NULL,
    episode_return REAL,
    finished INTEGER NOT NULL,
    lap_time_s REAL,
    progress REAL,
    actor TEXT NOT NULL,
    weights_version INTEGER NOT NULL,
    trajectory BLOB NOT NULL,
    UNIQUE (run, episode)
);
CREATE INDEX episodes_in_order ON episodes (run, id);
CREATE INDEX episodes_by_weights ON episodes (run, purpose, weights_version);
CREATE TABLE weights (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    version INTEGER NOT NULL,
    at_update INTEGER NOT NULL,
    lineage INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    received_at REAL NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, version)
) WITHOUT ROWID;
CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    lineage INTEGER NOT NULL,
    at_update INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    window INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    received_at REAL NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0,
    damaged INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run, lineage, at_update)
);
CREATE TABLE nodes (
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    PRIMARY KEY (name, role)
) WITHOUT ROWID
""",
    """
CREATE TABLE tracks (
    run INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    name TEXT NOT NULL,
    width_m REAL,
    points BLOB NOT NULL
);
CREATE INDEX episodes_by_lap ON episodes (run, lap_time_s) WHERE lap_time_s IS NOT NULL
""",
    """
ALTER TABLE runs ADD COLUMN queue_place INTEGER;
UPDATE runs SET queue_place = id WHERE state = 'queued';
CREATE TABLE assignments (
    node TEXT PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE
) WITHOUT ROWID
""",
    """
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at REAL NOT NULL,
    author TEXT NOT NULL,
    name TEXT NOT NULL,
    run TEXT,
    version INTEGER,
    track TEXT NOT NULL,
    environment TEXT NOT NULL,
    game TEXT NOT NULL,
    protocol TEXT NOT NULL,
    perturbed INTEGER NOT NULL,
    note TEXT NOT NULL,
    episodes TEXT NOT NULL
);
CREATE INDEX evaluations_by_track ON evaluations (track, id)
""",
    # A configuration that left network.cnn out meant "tmrl", which was the default.
    """
UPDATE revisions SET config = json_set(config, '$.network.cnn', 'tmrl') WHERE json_extract(config, '$.network.cnn') IS NULL
""",
    # Who worked for what was not noted before: whoever was known may have.
    """
CREATE TABLE served (
    node TEXT NOT NULL,
    role TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    PRIMARY KEY (node, role, run)
) WITHOUT ROWID;
INSERT INTO served SELECT nodes.name, nodes.role, runs.id FROM nodes, runs
""",
)


def run_id(view: sqlite3.Connection, name: str) -> int:
    """The key of this run in the other tables.  Raises NotFound, with the nearest name."""
    row = view.execute("SELECT id FROM runs WHERE name = ?", (name,)).fetchone()
    if row is None:
        names = [found for (found,) in view.execute("SELECT name FROM runs")]
        near = difflib.get_close_matches(name, names, n=1)
        raise NotFound(f"There is no run {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
    return int(row[0])
