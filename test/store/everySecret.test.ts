import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import { decodeFields } from '../../api/fields.ts';
import type { KekStatus } from '../../api/kek.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { FileKek } from '../../store/vault/fileKek.ts';
import { readKekFile } from '../../store/vault/kekFile.ts';
import { decodeOwnKey } from '../../store/vault/ownKeyValue.ts';
import { filesIn } from '../filesIn.ts';
import { PostgresServer } from '../postgres/server.ts';
import { found } from './needles.ts';
import { admin, json, material, SESSION, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const ROTATIONS = 4;
/** Of a ciphertext: enough that it is nowhere by chance. */
const SLICE_BYTES = 16;

test('the forms that are looked for are found wherever they are', () => {
  const secret = Buffer.from('sk-"secret"/of+the key~0123');
  const wrapped = (text: string) => Buffer.from(`before ${text} after`);
  const forms = [
    secret.toString('latin1'),
    secret.toString('base64'),
    secret.toString('base64url'),
    Buffer.concat([Buffer.from('x'), secret, Buffer.from('yz')]).toString('base64'),
    Buffer.concat([Buffer.from('xx'), secret, Buffer.from('y')]).toString('base64url'),
    secret.toString('hex'),
    encodeURIComponent(secret.toString()),
    JSON.stringify({ value: secret.toString() }),
  ];
  const files = forms.map((form, index) => [String(index), wrapped(form)] as const);
  expect(found(new Map([['secret', secret]]), files)).toEqual(forms.map((_, index) => `secret in ${index}`));
  expect(found(new Map([['secret', secret]]), [['none', wrapped('sk-other')]])).toEqual([]);
});

const isNoKey = (name: string) => !name.startsWith('kek');

describe.each(['SQLite', 'PostgreSQL'])('%s', (engine) => {
  let dir: string;
  let state: string;
  let postgres: PostgresServer | undefined;
  let databaseUrl: string | undefined;
  let store: StoreProcess;
  /** Every secret that the store was given, has made or had in its hands. */
  let secrets: Map<string, Buffer>;
  let log: string[];

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sidekey-every-'));
    state = join(dir, 'state');
    postgres = engine === 'PostgreSQL' ? await PostgresServer.start() : undefined;
    databaseUrl = await postgres?.newDatabase();
    secrets = new Map();
    log = [];
    store = await start();
  });
  afterEach(async () => {
    await store.stop();
    await postgres?.remove();
    rmSync(dir, { recursive: true, force: true });
  });

  async function start(): Promise<StoreProcess> {
    const started = await StoreProcess.start(state, { ...(databaseUrl && { databaseUrl }) });
    for (const [index, { bytes }] of readKekFile(stateFiles(state).kek).entries())
      secrets.set(`KEK ${secrets.size}.${index}`, Buffer.from(bytes));
    if (postgres !== undefined) secrets.set('password of the database', Buffer.from(postgres.password));
    return started;
  }

  function secret(name: string): string {
    const value = `sk-${name} ${'0123456789abcdef'.slice(secrets.size % 10)} with "quotes"/and+more`;
    secrets.set(name, Buffer.from(value));
    return value;
  }

  async function check(when: string): Promise<void> {
    const dirs = [state];
    if (postgres !== undefined) {
      await postgres.query('CHECKPOINT');
      dirs.push(String((await postgres.query('SHOW data_directory'))[0]!.data_directory));
    }
    const files = dirs.flatMap((dir) => filesIn(dir, isNoKey));
    expect(files.length).toBeGreaterThan(1);
    expect([when, found(secrets, [...files, ['log', Buffer.from([...log, ...store.log].join(''))]])]).toEqual([
      when,
      [],
    ]);
    for (const [name, content] of files)
      if (!/pg_|base\//.test(name)) expect([name, content.includes('PRIVATE KEY')]).toEqual([name, false]);
  }

  test('no file that it ever writes holds a secret that it ever had, in any form: rotated, removed, generated, keys and tokens', async () => {
    const token = async (invitation: object) => {
      const issued = await admin(store, 'POST', '/v1/admin/join-tokens', json(invitation));
      const { joinToken } = issued.json<JoinTokenAnswer>();
      secrets.set(`join token ${secrets.size}`, Buffer.from(joinToken));
    };
    await token({ kind: 'operator' });
    const operator = await StoreClient.join(store, { kind: 'operator' });
    for (const name of ['rotated', 'removed']) {
      await operator.call('PUT', `/v1/credentials/default/${name}`, json(credentialRecord()));
      const record = integrationRecord({ credential: `default/${name}` });
      await operator.call('PUT', `/v1/integrations/default/${name}`, json(record));
      for (let version = 1; version <= ROTATIONS; version += 1) {
        const body = material({ value: secret(`${name} ${version}`), second: secret(`${name} second ${version}`) });
        expect((await operator.call('PUT', `/v1/credentials/default/${name}/material`, body)).status).toBe(200);
      }
    }
    const generated = credentialRecord({ source: 'generated', generated: { bytes: 32, encoding: 'Hex' } });
    expect((await operator.call('PUT', '/v1/credentials/default/made', json(generated))).status).toBe(200);
    const revealed = await admin(store, 'GET', '/v1/admin/credentials/default/made/material');
    secrets.set('generated', Buffer.from(decodeFields(revealed.body).get('value')!));
    await admin(store, 'PUT', '/v1/admin/credentials/default/by-hand/material', material({ value: secret('by hand') }));
    const sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
    secrets.set('key of the sidecar', Buffer.from(sidecar.tls.key!.split('\n').slice(1, -2).join(''), 'base64'));
    for (const name of ['rotated', 'removed'])
      expect((await sidecar.call('POST', '/v1/leases', json({ credential: `default/${name}` }))).status).toBe(200);
    // What is refused is not repeated either.
    await sidecar.call('POST', '/v1/leases', { type: 'application/json', bytes: secret('in a bad request') });
    await operator.call('PUT', '/v1/credentials/default/none/material', material({ value: secret('of nobody') }));
    await check('running');

    await operator.call('DELETE', '/v1/credentials/default/removed');
    await admin(store, 'DELETE', '/v1/admin/credentials/default/by-hand/material');
    expect((await admin(store, 'POST', '/v1/admin/kek/rotate', json({}))).status).toBe(200);
    await check('in a rotation of the KEK');
    await expect
      .poll(async () => (await admin(store, 'GET', '/v1/admin/kek')).json<KekStatus>().rotation, { timeout: 20_000 })
      .toBeUndefined();
    sidecar.close();
    operator.close();
    await store.kill();
    log.push(...store.log);
    store = await start();
    await check('after kill -9');
    await store.stop();
    if (engine === 'SQLite') for (const [name, key] of await keysIn(state)) secrets.set(name, key);
    await check('stopped');
    expect(secrets.size).toBeGreaterThan(20);
  });
});

test('of removed and replaced material not even the ciphertext stays in the files of SQLite, nor a data key under an old KEK', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-gone-'));
  const state = join(dir, 'state');
  const store = await StoreProcess.start(state);
  try {
    const put = (name: string, value: string) =>
      admin(store, 'PUT', `/v1/admin/credentials/default/${name}/material`, material({ value }));
    for (let index = 0; index < 20; index += 1) await put(`key-${index}`, `value of ${index}`);
    const before = ciphertexts(state, join(dir, 'copy'));
    expect(before.length).toBe(40);
    expect(left(before, state).length).toBe(40);
    for (let index = 0; index < 10; index += 1) await put(`key-${index}`, `other value of ${index}`);
    for (let index = 10; index < 20; index += 1)
      await admin(store, 'DELETE', `/v1/admin/credentials/default/key-${index}/material`);
    await admin(store, 'POST', '/v1/admin/kek/rotate', json({}));
    await expect
      .poll(async () => (await admin(store, 'GET', '/v1/admin/kek')).json<KekStatus>().rotation, { timeout: 20_000 })
      .toBeUndefined();
    // While it runs: a rotation, and each minute, empties the write-ahead log.
    await expect.poll(() => left(before, state), { timeout: 5_000 }).toEqual([]);
  } finally {
    await store.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});

/** Every data key and own key of the database, unwrapped. */
async function keysIn(state: string): Promise<[string, Buffer][]> {
  const { database, kek } = stateFiles(state);
  const db = new DatabaseSync(database);
  const dataKeys = db.prepare('SELECT * FROM data_keys').all();
  const meta = db.prepare('SELECT * FROM meta').all();
  db.close();
  const provider = new FileKek(kek);
  const keys: [string, Buffer][] = [];
  for (const { credential, kek_id: kekId, wrapped } of dataKeys) {
    const key = { kekId: String(kekId), wrapped: Buffer.from(wrapped as Uint8Array) };
    const aad = Buffer.from(['sidekey', 'data key', credential].join('\0'));
    keys.push([`data key of ${credential}`, await provider.unwrap(key, aad)]);
  }
  for (const { name, value } of meta) {
    const key = decodeOwnKey(Buffer.from(value as Uint8Array));
    if (key === undefined) continue;
    keys.push([`own key ${name}`, await provider.unwrap(key, Buffer.from(['sidekey', 'own key', name].join('\0')))]);
  }
  expect(keys.filter(([name]) => name.startsWith('own')).length).toBeGreaterThanOrEqual(3);
  return keys;
}

/** Every sealed material and wrapped data key, from a copy of the files: the running store has them to itself. */
function ciphertexts(state: string, copy: string): Buffer[] {
  for (const suffix of ['', '-wal'])
    if (existsSync(`${stateFiles(state).database}${suffix}`))
      cpSync(`${stateFiles(state).database}${suffix}`, `${copy}${suffix}`);
  const db = new DatabaseSync(copy);
  const rows = db.prepare('SELECT sealed AS bytes FROM materials UNION ALL SELECT wrapped FROM data_keys').all();
  db.close();
  return rows.map(({ bytes }) => Buffer.from(bytes as Uint8Array));
}

/** Those of which a piece is left. */
function left(all: readonly Buffer[], state: string): Buffer[] {
  const contents = filesIn(state, isNoKey).map(([, content]) => content);
  return all.filter((one) => {
    const piece = one.subarray(one.length - SLICE_BYTES);
    return contents.some((content) => content.includes(piece));
  });
}
