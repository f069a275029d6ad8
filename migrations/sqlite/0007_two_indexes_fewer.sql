-- A list is read from the table itself, and a member is found by organization, age of the account, and id: one tree less
-- that begins with the organization, and so one page less, somewhere in the file, for each membership that is written.
-- No release had the table of before.
ALTER TABLE members RENAME TO members_before;
CREATE TABLE members (
    organization_id       TEXT NOT NULL,
    account_created_at_ms INTEGER NOT NULL,
    user_id               TEXT NOT NULL,
    membership_id         TEXT NOT NULL,
    email_key             TEXT NOT NULL,
    -- `GET /api/v1/entities/users`: oldest account first.
    PRIMARY KEY (organization_id, account_created_at_ms, user_id)
) STRICT, WITHOUT ROWID;
INSERT INTO members (organization_id, account_created_at_ms, user_id, membership_id, email_key)
    SELECT organization_id, account_created_at_ms, user_id, membership_id, email_key FROM members_before
    ORDER BY organization_id, account_created_at_ms, user_id;
DROP TABLE members_before;
-- `GET /api/admin/getUsersInOrg`: by e-mail address.
CREATE INDEX members_by_email ON members (organization_id, email_key, user_id, membership_id);

-- `unlistable` marks a membership that is on no list whatever else is at its place: it ended, or fell, or its user is not
-- known. They are few, and those of an organization are found by an index of their own; all others are found by the
-- organization's list, and a place by its user. That is another such tree less.
ALTER TABLE memberships ADD COLUMN unlistable INTEGER NOT NULL DEFAULT 0;
UPDATE memberships SET unlistable = 1
    WHERE deleted_at_ms IS NOT NULL OR fallen = 1 OR NOT EXISTS (
        SELECT 1 FROM users u WHERE u.id = memberships.user_id AND u.updated_at_ms IS NOT NULL);
DROP INDEX memberships_by_place;
-- Who of an organization may not see its lists, and what falls with it.
CREATE INDEX memberships_unlistable ON memberships (organization_id, user_id) WHERE unlistable = 1;
