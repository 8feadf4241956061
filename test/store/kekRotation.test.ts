import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AuditEvent } from '../../api/admin.ts';
import type { KekSpec } from '../../api/bootstrap.ts';
import type { KekStatus } from '../../api/kek.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { FileKek } from '../../store/vault/fileKek.ts';
import type { KekProvider } from '../../store/vault/kek.ts';
import { TransitKek } from '../../store/vault/transit/transitKek.ts';
import { TransitDouble } from '../doubles/transit.ts';
import { admin, auditOf, json, material, verified } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const ROUNDS = Number(process.env.SIDEKEY_KEK_ROUNDS ?? 24);
const CREDENTIALS = 400;

let dir: string;
let server: TransitDouble;
let store: StoreProcess;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-kill-'));
  server = await new TransitDouble().start();
  server.createKey('sidekey');
  writeFileSync(join(dir, 'token'), server.token);
});
afterEach(async () => {
  await store?.stop();
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

const kek = async () => (await admin(store, 'GET', '/v1/admin/kek')).json<KekStatus>();

/** Opens every data key of the database file with the keys that there are, as anybody could who starts a store now. */
async function unreadable(transit: TransitKek): Promise<string[]> {
  const files = stateFiles(store.stateDir);
  const providers: KekProvider[] = [new FileKek(files.kek), transit];
  const db = new DatabaseSync(files.database, { timeout: 2_000 });
  const rows = db.prepare('SELECT * FROM data_keys').all();
  db.close();
  const broken: string[] = [];
  for (const row of rows) {
    const key = { kekId: String(row.kek_id), wrapped: Buffer.from(row.wrapped as Uint8Array) };
    const provider = providers.find((one) => one.knows(key.kekId));
    const aad = Buffer.from(['sidekey', 'data key', row.credential].join('\0'));
    const opened = await provider?.unwrap(key, aad).catch(() => undefined);
    if (opened?.length !== 32) broken.push(`${row.credential} under ${key.kekId}`);
  }
  expect(rows.length).toBe(CREDENTIALS);
  return broken;
}

test(`kill -9 at ${ROUNDS} random points of rotations, within the key file, to transit and back: nothing is ever unreadable, and each is finished`, {
  timeout: 600_000,
}, async () => {
  store = await StoreProcess.start(join(dir, 'state'));
  const puts = Array.from({ length: CREDENTIALS }, (_, index) =>
    admin(store, 'PUT', `/v1/admin/credentials/default/key-${index}/material`, material({ value: `value ${index}` })),
  );
  expect(new Set((await Promise.all(puts)).map(({ status }) => status))).toEqual(new Set([200]));
  const spec = { address: server.address, keyName: 'sidekey', tokenFile: join(dir, 'token') };
  const transit = new TransitKek(spec);
  const places: (KekSpec | undefined)[] = [undefined, { transit: spec }, undefined, { file: 'kek' }];

  const rotate = (to: KekSpec | undefined) =>
    admin(store, 'POST', '/v1/admin/kek/rotate', json(to === undefined ? {} : { to }));
  /** Longest that a round lives after its rotation was asked for: as long as such a one takes here when nobody kills it. */
  const livesMs: number[] = [];
  for (const to of places) {
    const fromMs = performance.now();
    await rotate(to);
    while ((await kek()).rotation !== undefined);
    livesMs.push(performance.now() - fromMs);
  }

  const cut = { before: 0, during: 0, after: 0 };
  for (let round = 0; round < ROUNDS; round += 1) {
    const kind = round % places.length;
    const asked = rotate(places[kind]).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, Math.random() * livesMs[kind]!));
    await store.kill();
    await asked;
    expect(await unreadable(transit)).toEqual([]);

    store = await StoreProcess.start(store.stateDir);
    const status = await kek();
    const kinds = (await auditOf(store)).map(({ event }) => event.kind);
    if (status.rotation !== undefined || kinds.at(-1) === 'kek.rotation.finished') cut.during += 1;
    else if (kinds.filter((kind) => kind === 'kek.rotation.started').length <= places.length + round - cut.before)
      cut.before += 1;
    else cut.after += 1;
    await expect.poll(async () => (await kek()).rotation, { timeout: 60_000 }).toBeUndefined();
    const used = (await kek()).keys.filter(({ dataKeys, ownKeys }) => dataKeys + ownKeys > 0);
    expect(used).toEqual([expect.objectContaining({ current: true, dataKeys: CREDENTIALS })]);
    expect((await verified(store)).problems).toEqual([]);
  }
  const events = (await auditOf(store)).map(({ event }) => event);
  const of = (kind: string) => events.filter((event: AuditEvent) => event.kind === kind);
  expect(of('kek.rotation.finished').length).toBe(of('kek.rotation.started').length);
  console.log(`killed: ${JSON.stringify({ ...cut, resumed: of('kek.rotation.resumed').length, rounds: ROUNDS })}`);
  expect(of('kek.rotation.resumed').length).toBeGreaterThan(ROUNDS / 4);
  const files = stateFiles(store.stateDir);
  expect(readFileSync(files.kek, 'latin1').trim().split('\n').length).toBeLessThanOrEqual(2);
  transit.close();
});
