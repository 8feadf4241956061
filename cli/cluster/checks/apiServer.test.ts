import { expect, test } from 'vitest';
import { ApiDouble, answer } from '../../../lib/kube/testing/apiDouble.ts';
import { apiServerVersion } from './apiServer.ts';

test.each([
  ['v1.29.9', '1', '29', 'failed'],
  ['v1.30.1', '1', '30', 'ok'],
  ['v1.31.3-eks-1', '1', '31+', 'ok'],
  ['v2.0.0', '2', '0', 'ok'],
])('an API server %s is %s.%s: %s', async (gitVersion, major, minor, state) => {
  const api = await ApiDouble.start((_request, response) => answer(response, 200, { gitVersion, major, minor }));
  const access = { client: api.client, namespace: 'default', flags: {} };
  const findings = await apiServerVersion({ access, namespace: '', agents: '', pods: [], nowMs: 0 });
  await api.close();
  expect(findings).toMatchObject([{ state, message: `Kubernetes ${gitVersion}` }]);
  expect(findings[0]?.next === undefined).toBe(state === 'ok');
});
