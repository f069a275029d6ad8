-- The read model and the journal.
--
-- Text is compared byte by byte (`COLLATE "C"`), as SQLite does it, so that both databases sort alike.
-- Moments are Unix milliseconds, flags are 0 or 1. There are no foreign keys between the entities: anything
-- may arrive first. `updated_at_ms`, `observed_at_ms` and `content_digest` are the version of the newest
-- state that is known; they are NULL when no state is known. A row with `deleted_at_ms` is a tombstone: it
-- keeps ids and times and nothing else. `fallen` marks a row whose user or organization is deleted.

CREATE TABLE users (
    id                 TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    updated_at_ms      BIGINT,
    observed_at_ms     BIGINT,
    content_digest     BIGINT,
    first_name         TEXT COLLATE "C",
    last_name          TEXT COLLATE "C",
    username           TEXT COLLATE "C",
    email              TEXT COLLATE "C",
    image_url          TEXT COLLATE "C",
    has_image          BIGINT NOT NULL,
    banned             BIGINT NOT NULL,
    public_metadata    TEXT COLLATE "C" NOT NULL,
    created_at_ms      BIGINT NOT NULL,
    last_sign_in_at_ms BIGINT,
    deleted_at_ms      BIGINT
);

CREATE TABLE organizations (
    id             TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    updated_at_ms  BIGINT,
    observed_at_ms BIGINT,
    content_digest BIGINT,
    name           TEXT COLLATE "C",
    created_at_ms  BIGINT NOT NULL,
    deleted_at_ms  BIGINT
);

CREATE TABLE memberships (
    id              TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL,
    created_at_ms   BIGINT NOT NULL,
    updated_at_ms   BIGINT,
    observed_at_ms  BIGINT,
    content_digest  BIGINT,
    role            TEXT COLLATE "C" NOT NULL,
    public_metadata TEXT COLLATE "C" NOT NULL,
    deleted_at_ms   BIGINT,
    fallen          BIGINT NOT NULL
);

-- The newest membership of a caller, on every request; and the projection of one place.
CREATE INDEX memberships_by_place ON memberships (organization_id, user_id, created_at_ms, id);
-- The organizations that a change of a user touches.
CREATE INDEX memberships_by_user ON memberships (user_id, organization_id);

CREATE TABLE invitations (
    id              TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    organization_id TEXT COLLATE "C",
    user_id         TEXT COLLATE "C",
    updated_at_ms   BIGINT,
    observed_at_ms  BIGINT,
    content_digest  BIGINT,
    email           TEXT COLLATE "C",
    role            TEXT COLLATE "C",
    status          TEXT COLLATE "C" NOT NULL,
    public_metadata TEXT COLLATE "C" NOT NULL,
    created_at_ms   BIGINT NOT NULL,
    expires_at_ms   BIGINT,
    deleted_at_ms   BIGINT,
    fallen          BIGINT NOT NULL
);

-- An organization's invitations, and what falls with it.
CREATE INDEX invitations_by_organization ON invitations (organization_id);
-- What falls, and is erased, with a user.
CREATE INDEX invitations_by_user ON invitations (user_id);

-- Who is listed: for each organization and user the newest membership, if it stands, once its user is known.
-- Derived from the tables above in the same transaction, with the keys by which the lists are ordered.
CREATE TABLE members (
    organization_id       TEXT COLLATE "C" NOT NULL,
    user_id               TEXT COLLATE "C" NOT NULL,
    membership_id         TEXT COLLATE "C" NOT NULL,
    account_created_at_ms BIGINT NOT NULL,
    email_key             TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);

-- `GET /api/v1/entities/users`: oldest account first.
CREATE INDEX members_by_account ON members (organization_id, account_created_at_ms, user_id, membership_id);
-- `GET /api/admin/getUsersInOrg`: by e-mail address.
CREATE INDEX members_by_email ON members (organization_id, email_key, user_id, membership_id);

-- What came in and what became of it. `payload` is stripped to the fields that we use.
CREATE TABLE events (
    message_id     TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    type           TEXT COLLATE "C" NOT NULL,
    object_id      TEXT COLLATE "C",
    user_id        TEXT COLLATE "C",
    occurred_at_ms BIGINT,
    received_at_ms BIGINT NOT NULL,
    outcome        TEXT COLLATE "C" NOT NULL,
    error          TEXT COLLATE "C",
    payload        TEXT COLLATE "C"
);

-- The journal in the order of arrival, for reading and for forgetting.
CREATE INDEX events_by_arrival ON events (received_at_ms, message_id);
-- What an erasure has to blank.
CREATE INDEX events_by_user ON events (user_id) WHERE payload IS NOT NULL;
CREATE INDEX events_by_object ON events (object_id) WHERE payload IS NOT NULL;

-- Moments that outlive the journal: `last_applied_event`.
CREATE TABLE progress (
    name  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    at_ms BIGINT NOT NULL
);
