import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { breakable, startCluster } from './cluster.ts';
import { imageArchive } from './imageArchive.ts';
import { KindCluster } from './kindCluster.ts';
import { RootFilesystem } from './rootFilesystem.ts';

/** Instead of kind and docker: writes down how it was called, knows the clusters that were made, and fails at what it is told to. */
const DOUBLE = `#!/bin/sh
echo "$(basename "$0") $*" >>"$DOUBLE_DIR/calls"
case "$(basename "$0") $*" in
  $DOUBLE_FAILS) echo 'it is not to be' >&2; exit 1 ;;
esac
case "$1 $2" in
  'create cluster') echo "$4" >>"$DOUBLE_DIR/clusters"; echo {} >"$6" ;;
  'get clusters') cat "$DOUBLE_DIR/clusters" ;;
  'export logs') mkdir -p "$3" ;;
  'delete cluster') : >"$DOUBLE_DIR/clusters" ;;
  info*) echo 28.0.0 ;;
esac
`;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-kind-test-'));
  mkdirSync(join(dir, 'bin'));
  writeFileSync(join(dir, 'clusters'), '');
  for (const name of ['kind', 'docker']) {
    writeFileSync(join(dir, 'bin', name), DOUBLE);
    chmodSync(join(dir, 'bin', name), 0o755);
  }
  vi.stubEnv('PATH', `${join(dir, 'bin')}:${process.env.PATH}`);
  vi.stubEnv('DOUBLE_DIR', dir);
  vi.stubEnv('DOUBLE_FAILS', 'nothing');
  vi.stubEnv('KUBECONFIG', undefined);
  vi.stubEnv('SIDEKEY_E2E_KUBECONFIG', undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

const wholeCalls = () => {
  const all = readFileSync(join(dir, 'calls'), 'utf8').trimEnd().split('\n');
  writeFileSync(join(dir, 'calls'), '');
  return all;
};
const calls = () => wholeCalls().map((call) => call.split(' ').slice(0, 3).join(' '));
const dirOf = (name: string) => new URL(`../../.cache/kind/sidekey-${name}`, import.meta.url).pathname;
const image = () => imageArchive({ name: 'sidekey.test/x:1', layers: [new RootFilesystem().file('/a', 'a').layer] });

test('a cluster by kind that was made for a run ends with it', async () => {
  const cluster = await startCluster({ name: `own-${process.pid}` });
  expect(cluster).toBeInstanceOf(KindCluster);
  expect(cluster.outlivesRun).toBe(false);
  await cluster.stop();
  expect(calls()).toContain('kind delete cluster');
  expect(existsSync(dirOf(`own-${process.pid}`))).toBe(false);
});

test('the node has the image that SIDEKEY_KIND_IMAGE names, where it names one', async () => {
  const create = () => wholeCalls().find((call) => call.startsWith('kind create'));
  await (await startCluster({ name: `image-${process.pid}` })).stop();
  expect(create()).not.toContain('--image');
  vi.stubEnv('SIDEKEY_KIND_IMAGE', 'example.test/node:v1.34.4');
  await (await startCluster({ name: `image-${process.pid}` })).stop();
  expect(create()).toMatch(/ --image example\.test\/node:v1\.34\.4$/);
});

test('a cluster by kind that does not start, or whose node is not ready in time, is deleted, and its logs are kept', async () => {
  const name = `broken-${process.pid}`;
  for (const [fails, why] of [
    ['kind create*', 'kind create cluster failed: it is not to be'],
    ['docker exec * timeout *', 'failed: it is not to be'],
  ] as const) {
    vi.stubEnv('DOUBLE_FAILS', fails);
    await expect(startCluster({ name, kept: true })).rejects.toMatchObject({
      message: `the cluster did not start; its logs are in ${dirOf(name)}/logs`,
      cause: { message: expect.stringContaining(why) },
    });
    expect(calls().slice(-2)).toEqual(['kind export logs', 'kind delete cluster']);
  }
  rmSync(dirOf(name), { recursive: true });
});

test('a cluster by kind whose run was killed is deleted by the next one', async () => {
  const { pid } = spawnSync('true');
  const abandoned = dirOf(`test-${pid}`);
  mkdirSync(abandoned, { recursive: true });
  writeFileSync(join(abandoned, 'owner.json'), JSON.stringify({ pid, startTicks: '1' }));
  const cluster = await startCluster({ name: `next-${process.pid}` });
  expect(wholeCalls()).toContain(`kind delete cluster --name sidekey-test-${pid} --kubeconfig ${abandoned}/kubeconfig`);
  expect(existsSync(abandoned)).toBe(false);
  // Who runs beside it is left alone.
  const beside = await startCluster({ name: `beside-${process.pid}` });
  expect(calls()).not.toContain('kind delete cluster');
  for (const one of [cluster, beside]) await one.stop();
});

test('a cluster by kind that is kept is known by its KUBECONFIG, takes images, and is left as it is', async () => {
  const name = `kept-${process.pid}`;
  const { kubeconfigFile } = await startCluster({ name, kept: true });
  expect(calls()).toContain('kind create cluster');
  // As `make cluster` once more.
  await startCluster({ name, kept: true });
  const again = calls();
  expect(again).not.toContain('kind create cluster');
  expect(again).toContain(`docker start sidekey-${name}-control-plane`);

  vi.stubEnv('KUBECONFIG', kubeconfigFile);
  const found = await startCluster();
  expect(found).toBeInstanceOf(KindCluster);
  expect(found.outlivesRun).toBe(true);
  const { digest } = image();
  expect(await found.loadImage(image())).toBe(`sidekey.test/x@${digest}`);
  await found.stop();
  expect(calls()).toEqual([
    'kind get clusters',
    'kind load image-archive',
    `docker exec sidekey-${name}-control-plane`,
  ]);

  await KindCluster.remove(name);
  expect(calls()).toEqual(['kind delete cluster']);
});

test('the parts of a cluster by kind are ours to stop, and it is ready again before a test goes on', async () => {
  const name = `breakable-${process.pid}`;
  const started = await startCluster({ name });
  const cluster = breakable(started)!;
  calls();
  const node = `sidekey-${name}-control-plane`;
  for (const [stop, call] of [
    [() => cluster.reboot(), `docker restart -t 0 ${node}`],
    [() => cluster.runtimeRestart(), `docker exec ${node} systemctl restart containerd`],
    [
      () => cluster.apiServerRestart(),
      expect.stringContaining(`docker exec ${node} sh -c pid=$(pgrep -x kube-apiserver)`),
    ],
  ] as const) {
    await stop();
    expect(wholeCalls()).toEqual([
      call,
      expect.stringContaining(`docker exec ${node} timeout 120 sh -c until kubectl`),
    ]);
  }
  await started.stop();
  vi.stubEnv('KUBECONFIG', join(dir, 'kubeconfig'));
  expect(breakable(await startCluster())).toBeUndefined();
});

test('a cluster of somebody else is given images by its owner only, and says how', async () => {
  const kubeconfigFile = join(dir, 'kubeconfig');
  vi.stubEnv('KUBECONFIG', kubeconfigFile);
  const cluster = await startCluster();
  expect(cluster.outlivesRun).toBe(true);
  await expect(cluster.loadImage(image())).rejects.toThrow(
    /sidekey\.test\/x:1[\s\S]*make cluster-images[\s\S]*images import[\s\S]*SIDEKEY_E2E_IMAGES=loaded/,
  );
  vi.stubEnv('SIDEKEY_E2E_IMAGES', 'loaded');
  expect(await cluster.loadImage(image())).toBe('sidekey.test/x:1');
});
