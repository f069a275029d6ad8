-- Reconciliation (`progress` now has `last_completed_pass` too): who runs a pass, where it stands, and what it found.

-- One pass at a time, over all processes and instances. A holder that dies loses it when it expires.
CREATE TABLE leases (
    name          TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    owner         TEXT COLLATE "C" NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

-- Every pass. `outcome` is NULL while it runs or waits to be resumed; `progress` says where it stands, and
-- holds its drift report so far.
CREATE TABLE passes (
    id            TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    outcome       TEXT COLLATE "C",
    started_at_ms BIGINT NOT NULL,
    progress      TEXT COLLATE "C" NOT NULL
);

-- The pass to resume, and the last one that was completed.
CREATE INDEX passes_by_start ON passes (started_at_ms, id);
