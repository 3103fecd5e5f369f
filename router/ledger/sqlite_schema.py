"""The tables of ``<state>/sluice.db`` that the ledger owns."""

from router.ledger.port import NEVER
from router.ledger.sqlite_rows import DECLARED

FOREVER_S = 1e15  # `until_s` of a scope without an override

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS ledger_scopes (
    id INTEGER PRIMARY KEY,
    budget TEXT NOT NULL, value TEXT NOT NULL, period TEXT NOT NULL, ends TEXT NOT NULL,
    soft INTEGER NOT NULL, hard INTEGER, -- the limit in force; hard NULL: it never refuses
    alert_at TEXT NOT NULL,              -- JSON: shares of soft
    lim INTEGER NOT NULL,                -- hard, else soft
    floor INTEGER NOT NULL,              -- stays available unless the request is downgraded
    avail INTEGER NOT NULL,
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    until_s REAL NOT NULL,               -- when the override ends
    fired TEXT NOT NULL DEFAULT '[]',    -- JSON: shares that were told
    next_alert INTEGER NOT NULL DEFAULT {NEVER},
    UNIQUE (budget, value, period),
    CHECK (avail + reserved + spent = lim)
) STRICT;
CREATE TABLE IF NOT EXISTS ledger_held ( -- open reservations
    id TEXT PRIMARY KEY, nano INTEGER NOT NULL CHECK (nano >= 0), lease_ends_s REAL NOT NULL,
    scopes TEXT NOT NULL,                -- JSON: ids of ledger_scopes
    worst BLOB NOT NULL                  -- JSON: the row if the lease runs out
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger_lost ( -- leases that ran out, until a true settlement arrives
    id TEXT PRIMARY KEY, nano INTEGER NOT NULL, scopes TEXT NOT NULL, charged BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger_entries (
    seq INTEGER PRIMARY KEY,
    scopes TEXT NOT NULL,                -- JSON: ids of ledger_scopes it was charged to
    {DECLARED},
    UNIQUE (request_id, n)
) STRICT;
CREATE TABLE IF NOT EXISTS ledger_days ( -- no row that was settled on the day is before this one
    day TEXT PRIMARY KEY, first_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS ledger_entries_stay BEFORE UPDATE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_entries_remain BEFORE DELETE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE IF NOT EXISTS ledger_limits (
    budget TEXT PRIMARY KEY, soft INTEGER NOT NULL, hard INTEGER, alert_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger_adopted (
    one INTEGER PRIMARY KEY CHECK (one = 1), policy_hash TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS ledger_overrides (
    budget TEXT NOT NULL, value TEXT NOT NULL, soft INTEGER NOT NULL, until_s REAL NOT NULL,
    PRIMARY KEY (budget, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger_once (
    key_id TEXT NOT NULL, idempotency_key TEXT NOT NULL, body_hash TEXT NOT NULL,
    request_id TEXT NOT NULL, at_s REAL NOT NULL,
    PRIMARY KEY (key_id, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger_fleet_time (
    fleet TEXT NOT NULL, minute TEXT NOT NULL, seconds REAL NOT NULL, replicas INTEGER NOT NULL,
    nano_hour INTEGER NOT NULL, source TEXT NOT NULL, emulated INTEGER NOT NULL,
    PRIMARY KEY (minute, fleet, source)
) STRICT, WITHOUT ROWID;
"""
