-- A member is found by organization, age of the account, and id: one index less that begins with the organization, and
-- so one page less, somewhere on the disk, for each membership that is written. No release had the table of before.
ALTER TABLE members DROP CONSTRAINT members_pkey;
ALTER TABLE members ADD PRIMARY KEY (organization_id, account_created_at_ms, user_id) INCLUDE (membership_id);
DROP INDEX members_by_account;

-- `unlisted` marks a membership that is on no list whatever else is at its place: it ended, or fell, or its user is not
-- known. They are few, and those of an organization are found by an index of their own; all others are found by the
-- organization's list, and a place by its user. That is another such index less.
ALTER TABLE memberships ADD COLUMN unlisted BIGINT NOT NULL DEFAULT 0;
UPDATE memberships SET unlisted = 1
    WHERE deleted_at_ms IS NOT NULL OR fallen = 1 OR NOT EXISTS (
        SELECT 1 FROM users u WHERE u.id = memberships.user_id AND u.updated_at_ms IS NOT NULL);
DROP INDEX memberships_by_place;
CREATE INDEX memberships_unlisted ON memberships (organization_id, user_id) WHERE unlisted = 1;
