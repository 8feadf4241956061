import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { KubeError } from '../../lib/kube/client.ts';
import { releaseFinalizers } from '../../operator/act/kube/releaseFinalizers.ts';
import { AGENTS_NAMESPACE, Installation, serviceAccount } from './installed.ts';
import { render } from './render.ts';

const START_LIMIT_MS = 20 * 60_000;
const PATH = `/apis/sidekey.dev/v1alpha1/namespaces/${AGENTS_NAMESPACE}/credentials/key`;
const log = { debug() {}, info() {}, warn() {}, error() {} };
const OTHERS = 'example.com/other';

let installation: Installation;
beforeAll(async () => {
  installation = await Installation.prepare();
  const admin = installation.plane.client();
  const header = { apiVersion: 'sidekey.dev/v1alpha1', kind: 'Credential', metadata: { name: 'key' } };
  const spec = { source: { secret: { name: 'key', key: 'value' } }, hosts: ['api.example.com'] };
  await admin.apply(PATH, { ...header, spec }, 'somebody');
  await admin.apply(
    PATH,
    { ...header, metadata: { name: 'key', finalizers: ['sidekey.dev/store'] } },
    'sidekey-finalizer',
  );
  await admin.apply(PATH, { ...header, spec, metadata: { name: 'key', finalizers: [OTHERS] } }, 'somebody');
  // Of what an uninstall runs last, all but the Job itself: nothing runs here.
  const hook = (await render()).filter(({ kind, metadata }) => metadata.name === 'sidekey-uninstall' && kind !== 'Job');
  expect(hook.map(({ kind }) => kind).sort()).toEqual(['ClusterRole', 'ClusterRoleBinding', 'ServiceAccount']);
  const { code, stderr } = await installation.plane.kubectl(['apply', '-f', '-'], {
    input: hook.map((object) => stringify(object)).join('---\n'),
  });
  expect(code, stderr).toBe(0);
}, START_LIMIT_MS);
afterAll(() => installation?.plane.stop());

test('the last act of an uninstall takes our finalizer off, with no other right, and leaves those of others', async () => {
  const client = installation.plane.client(serviceAccount('uninstall'));
  await expect(client.delete(PATH)).rejects.toThrow(KubeError);
  await expect(client.list('/api/v1/secrets')).rejects.toThrow(KubeError);
  const before = await client.list<{ metadata: { finalizers: string[] } }>('/apis/sidekey.dev/v1alpha1/credentials');
  expect(before.items.map(({ metadata }) => metadata.finalizers.toSorted())).toEqual([[OTHERS, 'sidekey.dev/store']]);
  expect(await releaseFinalizers({ client, log })).toBe(1);
  const { metadata, spec } = await installation.plane
    .client()
    .get<{ metadata: { finalizers: string[] }; spec: object }>(PATH);
  expect(metadata.finalizers).toEqual([OTHERS]);
  expect(spec).toMatchObject({ hosts: ['api.example.com'] });
  expect(await releaseFinalizers({ client, log })).toBe(0);
});
