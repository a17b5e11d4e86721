BEGIN TRANSACTION;
CREATE TABLE former_names (
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (hash, name)
) STRICT
;
CREATE TABLE invites (
    id TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    name TEXT,
    hash TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    used_by TEXT,
    token_hash TEXT
) STRICT
;
CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL
) STRICT
;
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created REAL NOT NULL
) STRICT
;
INSERT INTO "tokens" VALUES('ann','admin','1111111111111111111111111111111111111111111111111111111111111111',2000.0);
INSERT INTO "tokens" VALUES('gamer','worker','b3db1ecc1fda46fe2726396dd75bbff7c8b0cfb6aec5ef93c8641b6271e2cfa6',2001.0);
COMMIT;
PRAGMA user_version = 0;
