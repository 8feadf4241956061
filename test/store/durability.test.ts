import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeFields } from '../../api/fields.ts';
import { LEASE_HEADERS, type StoredCredential } from '../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, json, material, SESSION, StoreClient, verified } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const ROUNDS = 30;
let dir: string;
let store: StoreProcess;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-durability-'));
  store = await StoreProcess.start(join(dir, 'state'));
});
afterAll(async () => {
  await store?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Writes one value after the other until the store dies; the last one that was acknowledged, and the one that was not. */
async function writeUntilDeath(round: number) {
  let acknowledged: { version: number; value: string } | undefined;
  for (let n = 0; ; n += 1) {
    const value = `value ${round}.${n}`;
    try {
      const answer = await admin(store, 'PUT', '/v1/admin/credentials/default/key/material', material({ value }));
      expect(answer.status).toBe(200);
      acknowledged = { version: answer.json<StoredCredential>().version, value };
    } catch {
      return { acknowledged, unanswered: value };
    }
  }
}

test(`what was acknowledged survives ${ROUNDS} times kill -9 in the middle of writing`, {
  timeout: 180_000,
}, async () => {
  const operator = await StoreClient.join(store, { kind: 'operator' });
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord({ source: 'store' })));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
  operator.close();
  const { answer, tls } = await StoreClient.join(store, { kind: 'session', session: SESSION });

  let last = { version: 0, value: '' };
  for (let round = 0; round < ROUNDS; round += 1) {
    const writing = writeUntilDeath(round);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
    await store.kill();
    const { acknowledged, unanswered } = await writing;
    last = acknowledged ?? last;

    store = await StoreProcess.start(store.stateDir);
    // The session outlives the process: the same certificate opens the new one.
    const sidecar = new StoreClient(store, answer, tls);
    const lease = await sidecar.call('POST', '/v1/leases', json({ credential: 'default/key' }));
    sidecar.close();
    if (last.version === 0 && lease.status === 409) continue;
    expect(lease.status).toBe(200);
    const found = {
      version: Number(lease.headers[LEASE_HEADERS.version]),
      value: decodeFields(lease.body).get('value')!.toString(),
    };
    // A write that was not answered may have happened; one that was must have.
    if (found.version === last.version) expect(found).toEqual(last);
    else expect(found).toEqual({ version: last.version + 1, value: unanswered });
    last = found;
    expect((await verified(store)).problems).toEqual([]);
  }
  expect(last.version).toBeGreaterThan(ROUNDS / 2);
});
