import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { START_LIMIT_MS } from '../crds/withCrds.ts';
import { type Governed, NAMESPACE, outcome, startWithPolicies } from './withPolicies.ts';

const GOLDENS = join(import.meta.dirname, '..', '..', 'webhook', 'inject', 'testdata');

let cluster: Governed;
beforeAll(async () => {
  cluster = await startWithPolicies();
}, START_LIMIT_MS);
afterAll(() => cluster?.plane.stop());

const goldens = readdirSync(GOLDENS)
  .filter((file) => file.endsWith('.injected.yaml'))
  .map((file) => ({ file, pods: podsOf(file) }))
  .filter(({ pods }) => pods.length > 0);

test('there are pods with a sidecar among the goldens of the webhook', () => {
  const injected = goldens.filter(({ pods }) =>
    pods.some(({ spec }) => spec?.initContainers?.some(({ name }) => name === 'sidekey')),
  );
  expect(injected.length).toBeGreaterThan(10);
});

test.for(goldens)('the policies admit $file as the webhook leaves it', async ({ pods }) => {
  for (const pod of pods) {
    const serviceAccount = pod.spec?.serviceAccountName ?? 'default';
    await cluster.admin.apply(
      `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${serviceAccount}`,
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: serviceAccount } },
      'test',
    );
    const here = { ...pod, metadata: { ...pod.metadata, namespace: NAMESPACE } };
    expect(await outcome(cluster.admin.create(`/api/v1/namespaces/${NAMESPACE}/pods`, here, { dryRun: 'All' }))).toBe(
      'allowed',
    );
  }
});

function podsOf(file: string): V1Pod[] {
  return (
    parseAllDocuments(readFileSync(join(GOLDENS, file), 'utf8'))
      .map((document) => document.toJS() as V1Pod | null)
      .filter((object) => object?.kind === 'Pod')
      .filter((object) => object !== null)
      // Such are added to running pods only.
      .map((pod) => ({ ...pod, spec: { ...pod.spec!, ephemeralContainers: undefined } }))
  );
}
