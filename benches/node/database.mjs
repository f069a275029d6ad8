// The tables of the Node service. Better than many: the list's order is in an index, so that a page deep in a large
// organization costs what the first one does.
import Database from "better-sqlite3";

export function open(file) {
  const db = new Database(file);
  db.pragma("journal_mode = WAL");
  // As durable as Roster: a commit is on the disk before the webhook is acknowledged.
  db.pragma("synchronous = FULL");
  db.pragma("busy_timeout = 5000");
  db.exec(`
    CREATE TABLE IF NOT EXISTS users (
      id TEXT PRIMARY KEY, first_name TEXT, last_name TEXT, username TEXT, email TEXT, image_url TEXT,
      has_image INTEGER NOT NULL, public_metadata TEXT NOT NULL, created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS memberships (
      id TEXT PRIMARY KEY, organization_id TEXT NOT NULL, user_id TEXT NOT NULL, role TEXT NOT NULL,
      user_created_at INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS memberships_in_order ON memberships (organization_id, user_created_at, user_id);
    CREATE INDEX IF NOT EXISTS memberships_of_user ON memberships (user_id);
    CREATE TABLE IF NOT EXISTS events (
      message_id TEXT PRIMARY KEY, type TEXT NOT NULL, received_at INTEGER NOT NULL, payload TEXT NOT NULL
    );
  `);
  return db;
}
