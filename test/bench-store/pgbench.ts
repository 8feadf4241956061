import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type PostgresServer, postgresBinary } from '../postgres/server.ts';
import { type Note, round } from './measurements.ts';

/** Rows like those of the audit, by PostgreSQL's own client: what the server takes on this machine when nothing else is done. */
export async function pgbench(server: PostgresServer, seconds: number, note: Note): Promise<void> {
  const url = await server.newDatabase();
  const place = new URL(url);
  place.password = '';
  const env = { ...process.env, PGPASSWORD: server.password };
  await server.query('CREATE TABLE bench (seq bigserial PRIMARY KEY, at text NOT NULL, entry text NOT NULL)', url);
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-pgbench-'));
  try {
    const script = join(dir, 'insert.sql');
    writeFileSync(script, `INSERT INTO bench (at, entry) VALUES ('2026-01-01T00:00:00.000Z', '${'x'.repeat(400)}');\n`);
    const rates: number[] = [];
    for (const clients of [1, 8]) {
      const args = [
        '-n',
        '-f',
        script,
        '-c',
        String(clients),
        '-j',
        '1',
        '-T',
        String(Math.max(1, Math.floor(seconds))),
        place.href,
      ];
      const { stdout } = await promisify(execFile)(postgresBinary('pgbench'), args, { env });
      rates.push(Number(/tps = ([\d.]+)/.exec(stdout)?.[1]));
    }
    const [one, eight] = rates as [number, number];
    note('pgbench', `${round(one)}/s by 1 client, ${round(eight)}/s by 8`, { one, eight });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
