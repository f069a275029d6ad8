-- Of a membership that fell with its user or organization ids and times remain, and no digest of what it said. What was
-- written before this is a digest of all of it.
UPDATE memberships SET content_digest = 0 WHERE fallen = 1 AND content_digest IS NOT NULL;
