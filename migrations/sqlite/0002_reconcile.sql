-- Reconciliation (`progress` now has `last_completed_pass` too): who runs a pass, where it stands, and what it found.

-- One pass at a time, over all processes and instances. A holder that dies loses it when it expires.
CREATE TABLE leases (
    name          TEXT PRIMARY KEY NOT NULL,
    owner         TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;

-- Every pass. `outcome` is NULL while it runs or waits to be resumed; `progress` says where it stands, and
-- holds its drift report so far.
CREATE TABLE passes (
    id            TEXT PRIMARY KEY NOT NULL,
    kind          TEXT NOT NULL,
    outcome       TEXT,
    started_at_ms INTEGER NOT NULL,
    progress      TEXT NOT NULL
) STRICT;

-- The pass to resume, and the last one that was completed.
CREATE INDEX passes_by_start ON passes (started_at_ms, id);
