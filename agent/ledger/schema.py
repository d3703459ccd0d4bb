"""The tables of the ledger. A change here needs a new version and an upgrade of older files in
`database.py`, which has none so far."""

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    tag TEXT NOT NULL UNIQUE,
    fields TEXT NOT NULL            -- SessionRecord as JSON
) STRICT;
CREATE TABLE proposals (
    session_id TEXT NOT NULL REFERENCES sessions,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    verdict TEXT,
    source_hash TEXT NOT NULL,
    diff_hash TEXT NOT NULL,
    fields TEXT NOT NULL,           -- ProposalRecord as JSON
    PRIMARY KEY (session_id, number)
) STRICT;
CREATE INDEX proposals_by_diff ON proposals (session_id, diff_hash);
CREATE TABLE runs (
    experiment_id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    source_hash TEXT NOT NULL,
    ended INTEGER NOT NULL,
    usable INTEGER NOT NULL,        -- 1 once it ended with a result that may be judged
    fields TEXT NOT NULL,           -- RunRecord as JSON
    UNIQUE (session_id, number, kind, position, attempt)
) STRICT;
-- Exactly once: no place in a proposal can hold two results that count.
CREATE UNIQUE INDEX runs_usable_once ON runs (session_id, number, kind, position) WHERE usable = 1;
CREATE INDEX runs_by_source ON runs (session_id, source_hash, seed);
CREATE TABLE seeds (
    session_id TEXT NOT NULL REFERENCES sessions,
    seed_index INTEGER NOT NULL,
    pack_id TEXT NOT NULL,
    pack_index INTEGER NOT NULL,
    fields TEXT NOT NULL,           -- SeedRecord as JSON
    PRIMARY KEY (session_id, seed_index),
    UNIQUE (session_id, pack_id, pack_index)
) STRICT;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL REFERENCES sessions,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_session ON events (session_id, sequence);
CREATE TABLE blobs (hash TEXT PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE outbox (
    key TEXT PRIMARY KEY,           -- the memory's idempotency key
    session_id TEXT NOT NULL REFERENCES sessions,
    text TEXT NOT NULL,
    tags TEXT NOT NULL,
    importance REAL NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE spends (
    spend_id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL REFERENCES sessions,
    number INTEGER NOT NULL,        -- proposal that the call worked on
    model TEXT NOT NULL,
    settled INTEGER NOT NULL,       -- 0: asked, answer unknown; then cost_usd is the most it can be
    input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    time REAL NOT NULL
) STRICT;
"""
