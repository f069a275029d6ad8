-- What is new, for caches, for other processes and for the change feed.

-- Counters. `version`: the number of the newest batch that changed an answer.
CREATE TABLE sequences (
    name  TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT;

-- The number of the newest batch that touched each organization.
CREATE TABLE organization_versions (
    organization_id TEXT PRIMARY KEY NOT NULL,
    version         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whom each batch touched. `kind`: `upserted` (is listed), `removed` (is not any more), `hidden` (is not, as
-- before), and `organization` with no user. The oldest are forgotten.
CREATE TABLE changes (
    version         INTEGER NOT NULL,
    organization_id TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    PRIMARY KEY (version, organization_id, user_id)
) STRICT, WITHOUT ROWID;

-- A feed that is resumed.
CREATE INDEX changes_of_organization ON changes (organization_id, version);
