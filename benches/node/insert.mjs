// What SQLite itself can do: one small row a transaction, each on the disk before the next. Prints rows per second.
// usage: node insert.mjs FILE SECONDS
import Database from "better-sqlite3";

const [file, seconds] = process.argv.slice(2);
const db = new Database(file);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
const insert = db.prepare("INSERT INTO rows (text) VALUES (?)");
const text = "x".repeat(1000);
const begun = performance.now();
let rows = 0;
while (performance.now() - begun < seconds * 1000) {
  insert.run(text);
  rows += 1;
}
console.log(rows / ((performance.now() - begun) / 1000));
db.close();
