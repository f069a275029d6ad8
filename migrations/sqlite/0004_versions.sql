-- What is new, for caches, for other processes and for the change feed.

-- Counters. `version`: the number of the newest batch that changed an answer.
CREATE TABLE sequences (
    name  TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT;

-- Whom each batch touched. `kind`: `upserted` (is listed), `removed` (is not any more), `hidden` (is not, as
-- before), and `organization` with no user. The oldest are forgotten. A feed that is resumed reads on from a
-- version; an index by organization would cost every write a page of its own.
CREATE TABLE changes (
    version         INTEGER NOT NULL,
    organization_id TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    PRIMARY KEY (version, organization_id, user_id)
) STRICT, WITHOUT ROWID;
