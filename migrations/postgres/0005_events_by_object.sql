-- An event that names its user is found by it; only the others need to be found by their object. Every delivery
-- wrote a page of this index somewhere in the file.
DROP INDEX events_by_object;
CREATE INDEX events_by_object ON events (object_id) WHERE payload IS NOT NULL AND user_id IS NULL;
