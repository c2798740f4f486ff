-- A VM. record is the whole row as JSON (internal/store.VM); the columns beside
-- it are what is looked up or must be unique.
CREATE TABLE vms (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL, -- Unix time in nanoseconds
    record     TEXT NOT NULL
) STRICT;

-- An operation. One without a last event at a start of the daemon was
-- interrupted; ended ones are kept a while for clients that were cut off.
CREATE TABLE operations (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    target     TEXT NOT NULL,
    step       TEXT NOT NULL,
    undoing    INTEGER NOT NULL DEFAULT 0,
    attempts   INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    last_event TEXT -- api.Event as JSON, once it has ended
) STRICT;
