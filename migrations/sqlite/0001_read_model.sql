-- The read model and the journal.
--
-- Moments are Unix milliseconds, flags are 0 or 1. There are no foreign keys between the entities: anything
-- may arrive first. `updated_at_ms`, `observed_at_ms` and `content_digest` are the version of the newest
-- state that is known; they are NULL when no state is known. A row with `deleted_at_ms` is a tombstone: it
-- keeps ids and times and nothing else. `fallen` marks a row whose user or organization is deleted.

CREATE TABLE users (
    id                 TEXT PRIMARY KEY NOT NULL,
    updated_at_ms      INTEGER,
    observed_at_ms     INTEGER,
    content_digest     INTEGER,
    first_name         TEXT,
    last_name          TEXT,
    username           TEXT,
    email              TEXT,
    image_url          TEXT,
    has_image          INTEGER NOT NULL,
    banned             INTEGER NOT NULL,
    public_metadata    TEXT NOT NULL,
    created_at_ms      INTEGER NOT NULL,
    last_sign_in_at_ms INTEGER,
    deleted_at_ms      INTEGER
) STRICT;

CREATE TABLE organizations (
    id             TEXT PRIMARY KEY NOT NULL,
    updated_at_ms  INTEGER,
    observed_at_ms INTEGER,
    content_digest INTEGER,
    name           TEXT,
    created_at_ms  INTEGER NOT NULL,
    deleted_at_ms  INTEGER
) STRICT;

CREATE TABLE memberships (
    id              TEXT PRIMARY KEY NOT NULL,
    organization_id TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    updated_at_ms   INTEGER,
    observed_at_ms  INTEGER,
    content_digest  INTEGER,
    role            TEXT NOT NULL,
    public_metadata TEXT NOT NULL,
    deleted_at_ms   INTEGER,
    fallen          INTEGER NOT NULL
) STRICT;

-- The newest membership of a caller, on every request; and the projection of one place.
CREATE INDEX memberships_by_place ON memberships (organization_id, user_id, created_at_ms, id);
-- The organizations that a change of a user touches.
CREATE INDEX memberships_by_user ON memberships (user_id, organization_id);

CREATE TABLE invitations (
    id              TEXT PRIMARY KEY NOT NULL,
    organization_id TEXT,
    user_id         TEXT,
    updated_at_ms   INTEGER,
    observed_at_ms  INTEGER,
    content_digest  INTEGER,
    email           TEXT,
    role            TEXT,
    status          TEXT NOT NULL,
    public_metadata TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER,
    deleted_at_ms   INTEGER,
    fallen          INTEGER NOT NULL
) STRICT;

-- An organization's invitations, and what falls with it.
CREATE INDEX invitations_by_organization ON invitations (organization_id);
-- What falls, and is erased, with a user.
CREATE INDEX invitations_by_user ON invitations (user_id);

-- Who is listed: for each organization and user the newest membership, if it stands, once its user is known.
-- Derived from the tables above in the same transaction, with the keys by which the lists are ordered.
CREATE TABLE members (
    organization_id       TEXT NOT NULL,
    user_id               TEXT NOT NULL,
    membership_id         TEXT NOT NULL,
    account_created_at_ms INTEGER NOT NULL,
    email_key             TEXT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
) STRICT, WITHOUT ROWID;

-- `GET /api/v1/entities/users`: oldest account first.
CREATE INDEX members_by_account ON members (organization_id, account_created_at_ms, user_id, membership_id);
-- `GET /api/admin/getUsersInOrg`: by e-mail address.
CREATE INDEX members_by_email ON members (organization_id, email_key, user_id, membership_id);

-- What came in and what became of it. `payload` is stripped to the fields that we use.
CREATE TABLE events (
    message_id     TEXT PRIMARY KEY NOT NULL,
    type           TEXT NOT NULL,
    object_id      TEXT,
    user_id        TEXT,
    occurred_at_ms INTEGER,
    received_at_ms INTEGER NOT NULL,
    outcome        TEXT NOT NULL,
    error          TEXT,
    payload        TEXT
) STRICT;

-- The journal in the order of arrival, for reading and for forgetting.
CREATE INDEX events_by_arrival ON events (received_at_ms, message_id);
-- What an erasure has to blank.
CREATE INDEX events_by_user ON events (user_id) WHERE payload IS NOT NULL;
CREATE INDEX events_by_object ON events (object_id) WHERE payload IS NOT NULL;

-- Moments that outlive the journal: `last_applied_event`.
CREATE TABLE progress (
    name  TEXT PRIMARY KEY NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
