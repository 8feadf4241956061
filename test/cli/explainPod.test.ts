import { Writable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Access, openAccess } from '../../cli/cluster/access.ts';
import { clusterExplain } from '../../cli/commands/cluster/explain.ts';
import { Context } from '../../cli/context.ts';
import type { ControlPlane } from '../cluster/controlPlane.ts';
import { START_LIMIT_MS, startWithCrds } from '../crds/withCrds.ts';

const NS = 'agents';

let plane: ControlPlane;
let access: Access;
beforeAll(async () => {
  plane = await startWithCrds(NS);
  await plane.client().create(`/api/v1/namespaces/${NS}/serviceaccounts`, { metadata: { name: 'default' } });
  access = await openAccess({ kubeconfig: plane.kubeconfigFile });
}, START_LIMIT_MS);
afterAll(async () => {
  await access?.client.close();
  await plane?.stop();
});

interface PodChanges {
  /** What its sidecar was made with; none without it. */
  sidecar?: 'Open' | 'Closed';
  annotation?: string;
}

/** What is said of its request to a host without an Integration: on the terminal, and how the command ended. */
async function explained(name: string, { annotation, sidecar }: PodChanges): Promise<{ said: string; code: string }> {
  const env = [{ name: 'SIDEKEY_EGRESS', value: sidecar }];
  await plane.client().create(`/api/v1/namespaces/${NS}/pods`, {
    metadata: {
      name,
      labels: { 'sidekey.dev/inject': 'true' },
      ...(annotation && { annotations: { 'sidekey.dev/egress': annotation } }),
    },
    spec: {
      containers: [{ name: 'agent', image: 'agent' }],
      ...(sidecar && { initContainers: [{ name: 'sidekey', image: 'sidekey', restartPolicy: 'Always', env }] }),
    },
  });
  let said = '';
  const out = new Writable({
    write: (chunk, _encoding, done) => {
      said += chunk;
      done();
    },
  });
  const context = new Context({ terminal: { out, err: out, outIsTerminal: false, errIsTerminal: false, env: {} } });
  const code = await clusterExplain(context, access, `pod/${name}`, 'GET', 'https://example.com/', {
    namespace: NS,
  }).then(
    () => 'passed',
    (error) => error.code,
  );
  return { said, code };
}

test("a pod without an annotation goes by what its sidecar was made with, such as the chart's Closed", async () => {
  const { code, said } = await explained('by-chart', { sidecar: 'Closed' });
  expect(code).toBe('NoIntegration');
  expect(said).not.toContain('warning');
});

test('an annotation that was changed after admission is not what is in force, and that is said', async () => {
  const { code, said } = await explained('edited', { sidecar: 'Closed', annotation: 'Open' });
  expect(code).toBe('NoIntegration');
  expect(said).toContain('says Open, but the sidecar was made with Closed');
  expect((await explained('loosened', { sidecar: 'Open', annotation: 'Closed' })).code).toBe('passed');
});

test('of a pod without a sidecar the annotation is taken, and which is said', async () => {
  const closed = await explained('bare-closed', { annotation: 'Closed' });
  expect(closed).toMatchObject({
    code: 'NoIntegration',
    said: expect.stringMatching(/egress is taken to be Closed, as the annotation/),
  });
  expect(await explained('bare', {})).toMatchObject({
    code: 'passed',
    said: expect.stringMatching(/egress is taken to be Open: there is neither a sidecar nor the annotation/),
  });
});
