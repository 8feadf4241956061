import { expect, onTestFinished, test } from 'vitest';
import { ApiDouble, answer, refusal } from '../../../lib/kube/testing/apiDouble.ts';
import { partsReady } from './parts.ts';

/** Of a pod that is not ready and whose `/readyz`, asked through the API server, is answered like that; nobody may exec. */
async function finding(component: string, body: object) {
  const api = await ApiDouble.start((_request, response) => answer(response, 503, body));
  onTestFinished(() => api.close());
  const labels = { 'app.kubernetes.io/component': component };
  const pod = {
    metadata: { name: 'x', namespace: 'ns', labels },
    spec: { containers: [] },
    status: { phase: 'Running' },
  };
  const access = { client: api.client, namespace: 'default', flags: { kubeconfig: '/not/there' } };
  const findings = await partsReady({ access, namespace: 'ns', agents: '', pods: [pod], nowMs: 0 });
  expect(api.requests).toEqual(['GET /api/v1/namespaces/ns/pods/x:9090/proxy/readyz']);
  return findings.find(({ check }) => check === component);
}

const LOG = 'kubectl -n ns logs x';

test.each([
  ['store', { ready: false, degraded: ['the database does not answer'] }, 'the database does not answer', LOG],
  [
    'store',
    { ready: false, degraded: ['sealed'], sealed: { code: 'KekMissing', message: 'Mount it.' } },
    'the store is sealed (KekMissing)',
    'Mount it. The store looks again by itself, at most 15 s later.',
  ],
  [
    'webhook',
    { ready: false, certificate: false, trustBundle: true, objects: false },
    'it has no certificate, objects yet',
    LOG,
  ],
  ['operator', { ready: false, leader: true }, 'it answers that it is not ready', LOG],
  ['store', refusal(503, 'ServiceUnavailable', 'error trying to reach service'), 'error trying to reach service', LOG],
])('what the %s answers to the probe is told: %j', async (component, body, why, next) => {
  expect(await finding(component, body)).toEqual({
    check: component,
    state: 'failed',
    message: `0 of 1 ready: x: ${why}`,
    next,
  });
});
