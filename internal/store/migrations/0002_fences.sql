-- What an operation was asked for and until when, so that a later daemon does the
-- same; the generation of the VM that it works on, which each later operation on the
-- VM raises; and the key by which its client asks again (docs/adr/0017).
ALTER TABLE operations ADD COLUMN params TEXT;                           -- JSON
ALTER TABLE operations ADD COLUMN deadline INTEGER;                      -- Unix time in nanoseconds
ALTER TABLE operations ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE operations ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;    -- op.Settled
ALTER TABLE operations ADD COLUMN request TEXT;                          -- Idempotency-Key
ALTER TABLE operations ADD COLUMN ended_at INTEGER;                      -- Unix time in nanoseconds
CREATE UNIQUE INDEX operations_request ON operations (request) WHERE request IS NOT NULL;

ALTER TABLE vms ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

-- The answers to changes that are no operations, for clients that ask again.
CREATE TABLE answers (
    request  TEXT PRIMARY KEY, -- Idempotency-Key
    answer   TEXT NOT NULL,    -- JSON
    given_at INTEGER NOT NULL  -- Unix time in nanoseconds
) STRICT;
