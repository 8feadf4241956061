import { afterAll, beforeAll, expect, test } from 'vitest';
import { Credential } from '../../api/credential.ts';
import type { KubeClient } from '../../lib/kube/client.ts';
import { ControlPlane } from '../cluster/controlPlane.ts';
import { type Definition, install, pathOf, readDefinitions, START_LIMIT_MS } from './withCrds.ts';

/** What an earlier version of Sidekey may have stored: a field that is gone, a value that is refused now, a status of another shape. */
const OLD = {
  apiVersion: 'sidekey.dev/v1alpha1',
  kind: 'Credential',
  metadata: { name: 'old' },
  spec: { source: { store: {} }, hosts: ['api.example.com'], leaseDuration: '30s', legacyRetries: 3 },
};
const OLD_STATUS = { phase: 'Active', conditions: [{ type: 'Ready', status: 'True' }] };

let plane: ControlPlane;
let client: KubeClient;
const path = pathOf('Credential', 'default');
beforeAll(async () => {
  plane = await ControlPlane.start();
  client = plane.client();
  await install(client, readDefinitions().map(asOfOld));
  await client.create(path, OLD);
  await client.patch(`${path}/old/status`, { status: OLD_STATUS }, 'merge');
  await install(client);
}, START_LIMIT_MS);
afterAll(() => plane?.stop());

test('an object that an older version has written is read, without the fields that are gone', async () => {
  const old = await client.get<{ spec: object; status: object }>(`${path}/old`);
  expect(old.spec).not.toHaveProperty('legacyRetries');
  expect(old.status).not.toHaveProperty('phase');
  // The lease is one that nobody may write any more: the operator says so in a condition, and must be able to.
  expect(Credential.safeParse(old).error?.issues).toMatchObject([{ path: ['spec', 'leaseDuration'] }]);
  const listed = await client.list<{ metadata: { name: string } }>(path);
  expect(listed.items.map(({ metadata }) => metadata.name)).toEqual(['old']);
});

test('its status can be written, its labels and other fields changed; what is refused now can be repaired, not made worse', async () => {
  const condition = {
    type: 'Ready',
    status: 'False',
    reason: 'Pending',
    message: 'leaseDuration must be between 1m and 24h',
    lastTransitionTime: '2026-11-25T12:00:00Z',
  };
  const status = { observedGeneration: 1, version: 3, conditions: [condition] };
  const owner = { apiVersion: OLD.apiVersion, kind: OLD.kind, metadata: OLD.metadata };
  expect(await client.apply(`${path}/old/status`, { ...owner, status }, 'sidekey-operator')).toMatchObject({ status });
  await client.patch(`${path}/old`, { metadata: { labels: { team: 'a' } } }, 'merge');
  await client.patch(`${path}/old`, { spec: { hosts: ['api.example.com', 'b.example.com'] } }, 'merge');
  await expect(client.patch(`${path}/old`, { spec: { leaseDuration: '20s' } }, 'merge')).rejects.toMatchObject({
    reason: 'Invalid',
  });
  const repaired = await client.patch(`${path}/old`, { spec: { leaseDuration: '5m' } }, 'merge');
  expect(Credential.parse(repaired).spec.leaseDuration).toBe('5m');
});

/** The CRD before it had rules and a schema for the status. */
function asOfOld(definition: Definition): Definition {
  const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const [version] = definition.spec.versions;
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec: open, status: open } } };
  return { ...definition, spec: { ...definition.spec, versions: [{ ...version!, schema }] } };
}
