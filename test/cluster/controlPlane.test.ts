import { afterAll, beforeAll, expect, test } from 'vitest';
import { KubeError } from '../../lib/kube/client.ts';
import { ControlPlane } from './controlPlane.ts';
import { KUBERNETES_VERSION } from './versions.ts';

/** The first run on a machine builds them. */
const BUILD_LIMIT_MS = 20 * 60_000;

let plane: ControlPlane;
beforeAll(async () => {
  plane = await ControlPlane.start();
}, BUILD_LIMIT_MS);
afterAll(() => plane?.stop());

test('the API server says the version that we test against', async () => {
  const version = await plane.client().get<{ gitVersion: string }>('/version');
  expect(version.gitVersion).toBe(`v${KUBERNETES_VERSION}`);
});

test('a user is who its certificate says, with its groups, and may do only what it was given', async () => {
  const user = { name: 'jane@example.com', groups: ['team/a', 'team+b'] };
  const review = await plane
    .client(user)
    .create<{ status: { userInfo: { username: string; groups: string[] } } }>(
      '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    );
  expect(review.status.userInfo.username).toBe('jane@example.com');
  expect(review.status.userInfo.groups).toEqual(['team/a', 'team+b', 'system:authenticated']);
  await expect(plane.client(user).list('/api/v1/secrets')).rejects.toMatchObject({ reason: 'Forbidden' });
  expect(await plane.kubectl(['get', 'secrets'], { user })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('User "jane@example.com" cannot list resource "secrets"'),
  });
});

test('a requested token is reviewed for the audience it was requested for', async () => {
  const client = plane.client();
  await client.create('/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'agent' } });
  const { status } = await client.create<{ status: { token: string } }>(
    '/api/v1/namespaces/default/serviceaccounts/agent/token',
    { spec: { audiences: ['sidekey'] } },
  );
  const review = (audience: string) =>
    client.create<{ status: object }>('/apis/authentication.k8s.io/v1/tokenreviews', {
      spec: { token: status.token, audiences: [audience] },
    });
  expect((await review('sidekey')).status).toMatchObject({
    authenticated: true,
    audiences: ['sidekey'],
    user: { username: 'system:serviceaccount:default:agent' },
  });
  expect((await review('other')).status).not.toMatchObject({ authenticated: true });
  // It is not for the API server itself.
  await expect(plane.client({ token: status.token }).get('/api/v1/namespaces')).rejects.toThrow(KubeError);
});

test('what is stored outlives a restart of the API server', async () => {
  await plane.kubectl(['create', 'configmap', 'kept', '--from-literal=a=b']);
  await plane.restart();
  expect(await plane.kubectl(['get', 'configmap', 'kept', '-o', 'jsonpath={.data.a}'])).toMatchObject({
    code: 0,
    stdout: 'b',
  });
}, 60_000);
