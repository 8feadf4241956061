import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AdminCredential, JoinTokenAnswer } from '../../api/admin.ts';
import { decodeFields } from '../../api/fields.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { filesIn } from '../filesIn.ts';
import { admin, auditOf, clientKey, json, material, SESSION, StoreClient, verified } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const SECRETS = ['sk-first-value-of-the-key', 'sk-second-value-of-the-key', 'hunter2-by-hand'];
let dir: string;
let state: string;
let store: StoreProcess;
let sidecar: StoreClient;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-secrecy-'));
  state = join(dir, 'state');
  store = await StoreProcess.start(state);
  const operator = await StoreClient.join(store, { kind: 'operator' });
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord()));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
  for (const value of SECRETS.slice(0, 2))
    await operator.call('PUT', '/v1/credentials/default/key/material', material({ value }));
  await admin(store, 'PUT', '/v1/admin/credentials/default/by-hand/material', material({ value: SECRETS[2]! }));
  sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
  operator.close();
});
afterEach(async () => {
  sidecar.close();
  await store.stop();
  rmSync(dir, { recursive: true, force: true });
});

const lease = () => sidecar.call('POST', '/v1/leases', json({ credential: 'default/key' }));

test('nothing that the store writes holds a secret, a key of its own or a token in clear', async () => {
  const issued = await admin(store, 'POST', '/v1/admin/join-tokens', json({ kind: 'operator' }));
  const { joinToken } = issued.json<JoinTokenAnswer>();
  const leased = await lease();
  expect(decodeFields(leased.body).get('value')?.toString()).toBe(SECRETS[1]);
  await sidecar.call('POST', '/v1/renew', json({ publicKeyPem: clientKey().publicKeyPem }));
  const kek = Buffer.from(readFileSync(stateFiles(state).kek, 'latin1'), 'base64');
  const needles = [...[...SECRETS, joinToken].map((text) => Buffer.from(text)), kek].flatMap((bytes) => [
    bytes,
    Buffer.from(bytes.toString('base64').replaceAll('=', '')),
    Buffer.from(bytes.toString('hex')),
  ]);
  const written = () => filesIn(state, (name) => name !== 'kek');
  const check = (files: readonly (readonly [string, Buffer])[]) => {
    for (const [name, content] of files) {
      for (const needle of needles) expect([name, content.includes(needle)]).toEqual([name, false]);
      expect([name, content.includes('PRIVATE KEY')]).toEqual([name, false]);
    }
  };
  // Once with the write-ahead log as it is, once with all of it in the database file.
  expect(written().map(([name]) => name)).toEqual(expect.arrayContaining(['store.db', 'store.db-wal']));
  check(written());
  await store.stop();
  check([...written(), ['log', Buffer.from(store.log.join(''))]]);
});

test('no audit, no secret: when the record cannot be written, no byte of material leaves', async () => {
  expect((await lease()).status).toBe(200);
  await store.stop();
  const db = new DatabaseSync(stateFiles(state).database);
  db.exec(`CREATE TRIGGER no_audit BEFORE INSERT ON audit WHEN NEW.event LIKE '%lease.issued%'
    BEGIN SELECT RAISE(ABORT, 'the audit cannot be written'); END`);
  db.close();
  store = await StoreProcess.start(state);
  sidecar.close();
  sidecar = new StoreClient(store, sidecar.answer, sidecar.tls);
  const answer = await lease();
  expect([answer.status, answer.json<{ code: string }>().code]).toEqual([503, 'StorageFailed']);
  expect(answer.headers['retry-after']).toMatch(/^[123]$/);
  expect(answer.body.includes('sk-')).toBe(false);
  const issued = (await auditOf(store)).filter((entry) => entry.event.kind === 'lease.issued');
  expect(issued.length).toBe(1);
  expect((await verified(store)).problems).toEqual([]);
});

test('the issuance record says who, what, until when and from where', async () => {
  const answer = await lease();
  const issued = (await auditOf(store)).find((entry) => entry.event.kind === 'lease.issued');
  expect(issued!.event).toMatchObject({
    lease: answer.headers['sidekey-lease'],
    session: sidecar.answer.session!.id,
    namespace: 'default',
    serviceAccount: 'default',
    role: 'coder',
    tags: ['llm'],
    requester: 'tester',
    credential: 'default/key',
    version: 2,
    integration: 'default/example',
    from: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
  });
});

test('what the owner is told of credentials holds no material', async () => {
  const answer = await admin(store, 'GET', '/v1/admin/credentials');
  expect(answer.json<AdminCredential[]>()).toEqual([
    { key: 'default/by-hand', version: 1, fields: ['value'], updatedAt: expect.any(String) },
    { key: 'default/key', source: 'secret', version: 2, fields: ['value'], updatedAt: expect.any(String) },
  ]);
  const read = await admin(store, 'GET', '/v1/admin/credentials/default/key/material');
  expect([read.status, read.json<{ code: string }>().code]).toEqual([409, 'WrongSource']);
});
