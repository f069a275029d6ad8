// Makes the Node service's database: the people of a Roster file, in the tables that a team would write for this.
// usage: node fill.mjs NEW.db ROSTER.db
import { open } from "./database.mjs";

const [file, source] = process.argv.slice(2);
const db = open(file);
db.prepare("ATTACH ? AS roster").run(source);
db.exec(`
  BEGIN;
  INSERT INTO users SELECT id, first_name, last_name, username, email, image_url, has_image, public_metadata,
      created_at_ms, updated_at_ms FROM roster.users;
  INSERT INTO memberships SELECT m.id, m.organization_id, m.user_id, m.role, u.created_at_ms, m.created_at_ms,
      m.updated_at_ms FROM roster.memberships m JOIN roster.users u ON u.id = m.user_id;
  COMMIT;
  PRAGMA wal_checkpoint(TRUNCATE);
`);
db.close();
