import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeFields } from '../../../api/fields.ts';
import { LEASE_HEADERS, type StoredCredential, type StoreError } from '../../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../../store/testing/records.ts';
import { PostgresServer } from '../../postgres/server.ts';
import { admin, json, material, SESSION, StoreClient, verified } from '../../store/storeClient.ts';
import { StoreProcess } from '../../store/storeProcess.ts';
import { eventually } from './eventually.ts';

const ROUNDS = 5;
const WRITERS = 4;
let dir: string;
let server: PostgresServer;
let store: StoreProcess;
let sidecar: StoreClient;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-failover-'));
  server = await PostgresServer.start();
  store = await StoreProcess.start(join(dir, 'state'), { databaseUrl: await server.newDatabase() });
  const operator = await StoreClient.join(store, { kind: 'operator' });
  for (let n = 0; n < WRITERS; n += 1) {
    await operator.call('PUT', `/v1/credentials/default/key-${n}`, json(credentialRecord({ source: 'store' })));
    const record = integrationRecord({ credential: `default/key-${n}` });
    await operator.call('PUT', `/v1/integrations/default/example-${n}`, json(record));
  }
  operator.close();
  sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
}, 60_000);
afterAll(async () => {
  sidecar?.close();
  await store?.kill();
  await server?.remove();
  rmSync(dir, { recursive: true, force: true });
});

interface Written {
  version: number;
  value: string;
}

/** Writes one value after the other until `stopped`; what was acknowledged last, and what came after it and may have happened. */
async function write(credential: string, round: number, stopped: () => boolean) {
  let acknowledged: Written | undefined;
  let unsure: string[] = [];
  const codes = new Set<string>();
  for (let n = 0; !stopped(); n += 1) {
    const value = `${round}.${n}`;
    const answer = await admin(store, 'PUT', `/v1/admin/credentials/${credential}/material`, material({ value }));
    if (answer.status === 200) {
      acknowledged = { version: answer.json<StoredCredential>().version, value };
      unsure = [];
    } else {
      unsure.push(value);
      codes.add(`${answer.status} ${answer.json<StoreError>().code}`);
    }
  }
  return { acknowledged, unsure, codes };
}

test(`PostgreSQL ends ${ROUNDS} times in the middle of writes, as in a crash: nothing acknowledged is lost, and the store recovers by itself`, {
  timeout: 120_000,
}, async () => {
  const recoveredMs: number[] = [];
  let count = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    let stopped = false;
    const writers = Array.from({ length: WRITERS }, (_, n) => write(`default/key-${n}`, round, () => stopped));
    await new Promise((resolve) => setTimeout(resolve, 150 + Math.random() * 150));
    await server.stop('immediate');
    // Long enough for every writer to be told.
    const lease = () => sidecar.call('POST', '/v1/leases', json({ credential: 'default/key-0' }));
    const refused = await lease();
    expect([refused.status, refused.json<StoreError>().code]).toEqual([503, 'StorageFailed']);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    await server.resume();
    const fromMs = performance.now();
    await eventually(async () => (await lease()).status === 200, 10_000);
    recoveredMs.push(performance.now() - fromMs);
    await new Promise((resolve) => setTimeout(resolve, 100));
    stopped = true;
    for (const [n, { acknowledged, unsure, codes }] of (await Promise.all(writers)).entries()) {
      for (const code of codes) expect(code).toBe('503 StorageFailed');
      const found = await sidecar.call('POST', '/v1/leases', json({ credential: `default/key-${n}` }));
      const value = decodeFields(found.body).get('value')!.toString();
      const version = Number(found.headers[LEASE_HEADERS.version]);
      if (value === acknowledged?.value) expect(version).toBe(acknowledged.version);
      else expect(unsure).toContain(value);
      expect(version).toBeGreaterThanOrEqual(acknowledged?.version ?? 0);
      count += acknowledged?.version ?? 0;
    }
  }
  console.log(
    `recovered after ${recoveredMs.map((ms) => ms.toFixed(0)).join(', ')} ms; ${count} acknowledged versions checked`,
  );
  expect(store.child.exitCode).toBeNull();
  expect((await verified(store)).problems).toEqual([]);
});

test('a store that starts before its database says what is missing', async () => {
  await server.stop();
  await expect(StoreProcess.start(join(dir, 'another'), { databaseUrl: server.url('nowhere') })).rejects.toMatchObject({
    code: 'DatabaseUnreachable',
    message: expect.stringContaining(`127.0.0.1:${server.port}/nowhere`),
  });
  await server.resume();
  const failed = await StoreProcess.start(join(dir, 'another'), { databaseUrl: server.url('nowhere') }).catch(
    (error) => error,
  );
  expect(failed).toMatchObject({ code: 'DatabaseUnreachable', message: expect.stringContaining('does not exist') });
  expect(failed.message).not.toContain(server.password);
  expect(store.log.join('')).not.toContain(server.password);
});
