import { writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** Commits one row after the other and says so of each: `node writer.ts FILE OFF|FULL`. */
const [path = '', synchronous = ''] = process.argv.slice(2);
const db = new DatabaseSync(path);
db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; CREATE TABLE rows (n INTEGER)`);
for (let n = 1; n <= 1_000; n += 1) {
  db.exec(`INSERT INTO rows VALUES (${n})`);
  writeSync(1, `${n}\n`);
}
