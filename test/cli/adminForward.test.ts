import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { AdminClient } from '../../cli/adminClient.ts';
import { openAccess, type Pod } from '../../cli/cluster/access.ts';
import { AdminForward } from '../../cli/cluster/adminForward.ts';
import { ControlPlane } from '../cluster/controlPlane.ts';
import { ExecFront } from './execFront.ts';

const POD: Pod = { metadata: { name: 'store-0', namespace: 'default' }, spec: { containers: [] } };

let plane: ControlPlane;
beforeAll(async () => {
  plane = await ControlPlane.start();
}, 20 * 60_000);
afterAll(() => plane?.stop());

/** How the command ends that asks the store in POD. */
async function asked(kubeconfig: string): Promise<unknown> {
  const access = await openAccess({ kubeconfig });
  onTestFinished(() => access.client.close());
  const forward = await AdminForward.to(access, POD);
  onTestFinished(() => forward.close());
  return new AdminClient(forward.folder).sessions().catch((error: unknown) => error);
}

async function front(...command: [string, ...string[]]): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-front-'));
  const started = await ExecFront.start(plane, dir, command);
  onTestFinished(async () => {
    await started.stop();
    rmSync(dir, { recursive: true });
  });
  return started.kubeconfigFile;
}

test('who may not exec into the pod of the store is told which right that needs', async () => {
  const client = plane.client();
  onTestFinished(() => client.close());
  await client.create('/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  const containers = [{ name: 'store', image: 'store' }];
  await client.create('/api/v1/namespaces/default/pods', { metadata: { name: 'store-0' }, spec: { containers } });
  expect(await asked(plane.kubeconfigFor({ name: 'jane' }))).toMatchObject({
    code: 'Unreachable',
    exitCode: 3,
    message: 'the store in pod default/store-0 cannot be reached: you may not exec into it',
    next: expect.stringContaining('pods/exec in namespace default'),
  });
});

test('what the other end says of a store that does not listen is said here', async () => {
  const command = ['sh', '-c', 'echo "the store on /state/admin.sock cannot be reached: ENOENT" >&2; exit 1'] as const;
  expect(await asked(await front(...command))).toMatchObject({
    code: 'Unreachable',
    exitCode: 3,
    message: expect.stringContaining('default/store-0 cannot be reached: the store on /state/admin.sock cannot be'),
    next: 'kubectl -n default logs store-0',
  });
});

test('a connection that ends before there is an answer is told as such, at once', async () => {
  const fromMs = performance.now();
  expect(await asked(await front('sh', '-c', 'kill -KILL $$'))).toMatchObject({
    code: 'Unreachable',
    message: expect.stringContaining('the connection through the API server ended'),
  });
  expect(performance.now() - fromMs).toBeLessThan(5_000);
});

test('a node that takes longer to start a process than a store to answer is waited for', async () => {
  const answer = String.raw`HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]`;
  expect(await asked(await front('sh', '-c', `sleep 12; printf '${answer}'`))).toEqual([]);
}, 30_000);
