import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { powerRounds } from './power/powerRounds.ts';
import { powerEnv } from './power/shim.ts';
import { SCENARIOS } from './scenarios.ts';
import { UPKEEP } from './workload.ts';

/** make chaos has more of each, from other seeds. */
const SEED = 20_261_125;
const WRITER = new URL('power/writer.ts', import.meta.url).pathname;

/** Each of them was acknowledged before a kill. */
const WRITE_PATHS = ['material', 'lease', 'revocation', 'session', 'audit', ...UPKEEP];
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-power-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('kill -9 in the middle of every write path of a store on SQLite, 15 times: nothing acknowledged is lost', {
  timeout: 120_000,
}, async () => {
  const { counts, rounds } = await SCENARIOS['kill -9, SQLite']!({ seed: SEED, rounds: 15 });
  expect(rounds).toBe(15);
  for (const path of WRITE_PATHS) expect([path, counts[path]! > 0]).toEqual([path, true]);
});

test('kill -9 in the middle of every write path of a store on PostgreSQL, and of its server, 15 times: nothing acknowledged is lost', {
  timeout: 240_000,
}, async () => {
  const { counts, rounds } = await SCENARIOS['kill -9, PostgreSQL']!({ seed: SEED, rounds: 15 });
  expect(rounds).toBe(15);
  for (const path of WRITE_PATHS) expect([path, counts[path]! > 0]).toEqual([path, true]);
});

/** How many rows were acknowledged before the power failed, and how many there are after. */
function writeUntilPowerLoss(synchronous: 'OFF' | 'FULL') {
  const path = join(dir, 'rows.db');
  const env = { ...process.env, ...powerEnv({ dir, failAt: 200 }) };
  const { signal, stdout } = spawnSync(process.execPath, [WRITER, path, synchronous], { env, encoding: 'utf8' });
  expect(signal).toBe('SIGKILL');
  const db = new DatabaseSync(path);
  const isThere = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'rows'").get() !== undefined;
  const found = isThere ? Number(db.prepare('SELECT max(n) AS n FROM rows').get()?.n) : 0;
  db.close();
  return { acknowledged: stdout.trim().split('\n').length, found };
}

test('the power loss of these tests does lose what was not synced: with synchronous = OFF rows are gone, with FULL none', () => {
  const off = writeUntilPowerLoss('OFF');
  expect(off.acknowledged).toBeGreaterThan(10);
  expect(off.found).toBeLessThan(off.acknowledged);
  rmSync(dir, { recursive: true });
  execFileSync('mkdir', [dir]);
  const full = writeUntilPowerLoss('FULL');
  expect(full.acknowledged).toBeGreaterThan(10);
  expect(full.found).toBeGreaterThanOrEqual(full.acknowledged);
});

test('power loss at any write, with sectors that got to the disk in any order: nothing acknowledged is lost', {
  timeout: 120_000,
}, async () => {
  const { struck } = await powerRounds({ seed: SEED, rounds: 6, fault: 'power', stateDir: join(dir, 'state') });
  expect(struck).toBeGreaterThan(3);
});

test('the checks after a power loss do see a loss: on a disk that lies about fsync they fail', {
  timeout: 60_000,
}, async () => {
  const lying = powerRounds({ seed: SEED, rounds: 3, fault: 'lie', stateDir: join(dir, 'state') });
  await expect(lying).rejects.toThrow(/^seed/);
});

test('an I/O error from fsync ends the store at once, and what it had acknowledged is there', {
  timeout: 120_000,
}, async () => {
  const { struck } = await powerRounds({ seed: SEED, rounds: 4, fault: 'eio', stateDir: join(dir, 'state') });
  expect(struck).toBeGreaterThan(0);
});

test('a replica whose database stalls or is cut off in the middle of its writes: both replicas know all that was acknowledged', {
  timeout: 120_000,
}, async () => {
  expect((await SCENARIOS['partition, PostgreSQL']!({ seed: SEED, rounds: 3 })).rounds).toBe(3);
});
