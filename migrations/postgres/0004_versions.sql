-- What is new, for caches, for other processes and for the change feed.

-- Counters. `version`: the number of the newest batch that changed an answer.
CREATE TABLE sequences (
    name  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    value BIGINT NOT NULL
);

-- Whom each batch touched. `kind`: `upserted` (is listed), `removed` (is not any more), `hidden` (is not, as
-- before), and `organization` with no user. The oldest are forgotten. A feed that is resumed reads on from a
-- version; an index by organization would cost every write a page of its own.
CREATE TABLE changes (
    version         BIGINT NOT NULL,
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (version, organization_id, user_id)
);

-- Whoever writes locks this row first.
INSERT INTO sequences (name, value) VALUES ('version', 0);
