BEGIN TRANSACTION;
CREATE TABLE assignments (
    node TEXT PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE
) WITHOUT ROWID
;
INSERT INTO "assignments" VALUES('gamer',1);
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
INSERT INTO "checkpoints" VALUES(1,1,0,100,5000,1000,12,'8c51bcbcf387d1f00d73035db73bc8d356a5ad7b123e0af1d8cecb8107c58cd7',1005.0,0,0);
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
CREATE TABLE lineages (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    parent INTEGER,
    fork_update INTEGER,
    opened REAL NOT NULL,
    newest_update INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
INSERT INTO "lineages" VALUES(1,0,NULL,NULL,1000.0,200);
INSERT INTO "lineages" VALUES(2,0,NULL,NULL,1001.0,-1);
CREATE TABLE nodes (
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    PRIMARY KEY (name, role)
) WITHOUT ROWID
;
INSERT INTO "nodes" VALUES('gamer','worker',1006.0,1006.0);
CREATE TABLE points (
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    lineage INTEGER NOT NULL,
    at_update INTEGER NOT NULL,
    transitions INTEGER NOT NULL,
    received_at REAL NOT NULL,
    value REAL,
    PRIMARY KEY (series, lineage, at_update)
) WITHOUT ROWID;
INSERT INTO "points" VALUES(1,0,0,0,1000.0,NULL);
INSERT INTO "points" VALUES(1,0,1,10,1001.0,NULL);
INSERT INTO "points" VALUES(1,0,2,20,1002.0,NULL);
INSERT INTO "points" VALUES(1,0,3,30,1003.0,NULL);
INSERT INTO "points" VALUES(1,0,4,40,1004.0,NULL);
INSERT INTO "points" VALUES(2,0,0,0,1000.0,1.0);
INSERT INTO "points" VALUES(2,0,1,10,1001.0,0.5);
INSERT INTO "points" VALUES(2,0,2,20,1002.0,3.33333333333333314829e-01);
INSERT INTO "points" VALUES(2,0,3,30,1003.0,0.25);
INSERT INTO "points" VALUES(2,0,4,40,1004.0,0.2);
CREATE TABLE revisions (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    config TEXT NOT NULL,
    time REAL NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
INSERT INTO "revisions" VALUES(1,1,'{"algorithm": {"gamma": 0.99}, "network": {"hidden": [256, 256]}}',1000.0,'ann');
INSERT INTO "revisions" VALUES(1,2,'{"algorithm": {"gamma": 0.99}, "network": {"cnn": "nature", "hidden": [256, 256]}}',1002.0,'bob');
INSERT INTO "revisions" VALUES(2,1,'{"algorithm": {"gamma": 0.99}, "network": {"hidden": [256, 256]}}',1001.0,'ann');
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    spec TEXT,
    lineage INTEGER NOT NULL
, queue_place INTEGER);
INSERT INTO "runs" VALUES(1,'oval','running',1000.0,'{"id": "tmrld/TM20Lidar-v0"}',0,NULL);
INSERT INTO "runs" VALUES(2,'waiting','queued',1001.0,NULL,0,2);
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    name TEXT NOT NULL,
    UNIQUE (run, name)
);
INSERT INTO "series" VALUES(1,1,'alpha');
INSERT INTO "series" VALUES(2,1,'loss');
CREATE TABLE tracks (
    run INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    name TEXT NOT NULL,
    width_m REAL,
    points BLOB NOT NULL
);
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
INSERT INTO "weights" VALUES(1,1,100,0,16,'11354c3c25e3c665d0945ad73458fdb603ff263b51dca995663a5db828ccf99c',1003.0,1);
INSERT INTO "weights" VALUES(1,2,200,0,17,'fba73dcc7e1f804a720985075a181f4f52bd1db68ace294cdc372d8ed7088d64',1004.0,0);
CREATE INDEX blocks_in_order ON blocks (series, lineage, first_update);
CREATE INDEX episodes_in_order ON episodes (run, id);
CREATE INDEX episodes_by_weights ON episodes (run, purpose, weights_version);
CREATE INDEX episodes_by_lap ON episodes (run, lap_time_s) WHERE lap_time_s IS NOT NULL
;
CREATE INDEX evaluations_by_track ON evaluations (track, id)
;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',2);
INSERT INTO "sqlite_sequence" VALUES('series',2);
INSERT INTO "sqlite_sequence" VALUES('checkpoints',1);
COMMIT;
PRAGMA user_version = 4;
