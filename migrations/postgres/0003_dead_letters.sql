-- Dead letters are few among many events: counting and listing them must not read the whole journal.
CREATE INDEX events_dead ON events (received_at_ms, message_id) WHERE outcome = 'dead';
