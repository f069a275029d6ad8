-- An event that names its user is found by it; only the others need to be found by their object. Each delivery wrote a
-- page of that index somewhere in the file. No release had the indexes of before.
DROP INDEX events_by_object;
CREATE INDEX events_by_object ON events (object_id) WHERE payload IS NOT NULL AND user_id IS NULL;
-- Without those that have none, so that nobody looks for these in it.
DROP INDEX events_by_user;
CREATE INDEX events_by_user ON events (user_id) WHERE payload IS NOT NULL AND user_id IS NOT NULL;
