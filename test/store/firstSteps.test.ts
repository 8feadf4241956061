import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeFields } from '../../api/fields.ts';
import { LEASE_HEADERS } from '../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, auditOf, json, material, SESSION, StoreClient, verified } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

let dir: string;
let store: StoreProcess;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-store-'));
  store = await StoreProcess.start(join(dir, 'state'));
});
afterAll(async () => {
  await store?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('operator sets a credential, sidecar leases it, both are told what changes, all of it is on record', async () => {
  const operator = await StoreClient.join(store, { kind: 'operator' });
  const sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
  expect(sidecar.answer.spiffeId).toBe('spiffe://sidekey.local/ns/default/sa/default');
  const events = await sidecar.events();
  expect(await events.next()).toEqual({ type: 'snapshot', grants: [], versions: {} });

  expect((await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord()))).json()).toEqual({
    key: 'default/key',
    source: 'secret',
    version: 0,
    fields: [],
  });
  expect((await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()))).status).toBe(204);
  expect(await events.next()).toMatchObject({ type: 'grant', grant: { integration: 'default/example' } });
  expect(await events.next()).toEqual({ type: 'version', credential: 'default/key', version: 0 });
  const stored = await operator.call('PUT', '/v1/credentials/default/key/material', material({ value: 'sk-real' }));
  expect(stored.json()).toMatchObject({ version: 1, fields: ['value'] });
  expect(await events.next()).toEqual({ type: 'version', credential: 'default/key', version: 1 });

  const lease = await sidecar.call('POST', '/v1/leases', json({ credential: 'default/key' }));
  expect(lease.status).toBe(200);
  expect(lease.headers[LEASE_HEADERS.version]).toBe('1');
  expect(lease.headers[LEASE_HEADERS.expiresInSeconds]).toBe('900');
  expect(decodeFields(lease.body).get('value')).toEqual(Buffer.from('sk-real'));

  expect((await operator.call('DELETE', '/v1/integrations/default/example')).status).toBe(204);
  expect(await events.next()).toEqual({ type: 'revoke', integration: 'default/example' });
  expect((await sidecar.call('POST', '/v1/leases', json({ credential: 'default/key' }))).status).toBe(403);

  expect((await admin(store, 'DELETE', `/v1/admin/sessions/${sidecar.answer.session!.id}`)).status).toBe(204);
  expect(await events.next()).toEqual({ type: 'end', reason: 'ended by the owner' });
  expect(await events.next()).toBeUndefined();

  expect(await verified(store)).toMatchObject({ problems: [] });
  const kinds = (await auditOf(store)).map((entry) => entry.event.kind);
  expect(kinds).toEqual([
    'store.started',
    'join-token.issued',
    'operator.joined',
    'join-token.issued',
    'session.started',
    'credential.applied',
    'integration.applied',
    'material.written',
    'lease.issued',
    'integration.removed',
    'lease.refused',
    'session.ended',
  ]);
  operator.close();
  sidecar.close();
});
