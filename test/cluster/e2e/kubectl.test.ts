import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { run } from '../kubectl.ts';
import { makeNamespace } from './madeNamespace.ts';
import { hostOf } from './upstreamPod.ts';
import { until, World } from './world.ts';

const NS = 'owners';
const URL = `https://${hostOf('api')}/v1/models`;

let world: World;
let dir: string;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-kubectl-test-'));
  world = await World.open();
  await world.namespace(NS);
  await world.grant(NS, 'key', 'sk-owners-7Uy2', { integration: { rules: [{ methods: ['GET'] }] } });
  await world.agent({ name: 'agent', namespace: NS });
  await world.running(NS, 'agent');
  await world.agent({ name: 'bare', namespace: NS, labels: { 'sidekey.dev/inject': 'false' } });
});
afterAll(async () => {
  await world?.close();
  rmSync(dir, { recursive: true, force: true });
});

const uid = () => world.kubectl(['-n', NS, 'get', 'pod', 'agent', '-o', 'jsonpath={.metadata.uid}']);
const ask = () => world.exec(NS, 'agent', 'curl', '-sS', '-m', '5', URL);

test('get and status show what is in force', async () => {
  const shown = await world.sidekey(['get', '-n', NS]);
  expect(shown.stdout).toMatch(new RegExp(`${NS}/key +True +Ready +secret +1`));
  const objects = JSON.parse((await world.sidekey(['get', 'integrations', '-n', NS, '-o', 'json'])).stdout);
  expect(objects).toMatchObject([{ kind: 'Integration', key: `${NS}/key` }]);
  expect((await world.sidekey(['get', 'credential', 'nope', '-n', NS])).code).toBe(1);
  const status = await world.sidekey(['status']);
  expect(status).toMatchObject({ code: 0, stdout: expect.stringMatching(/store +1\/1[\s\S]*webhook +2\/2/) });
});

test('doctor finds nothing, and then what is broken', async () => {
  const well = await world.sidekey(['doctor']);
  expect(well, well.stdout).toMatchObject({ code: 0 });
  const binding = 'validatingadmissionpolicybinding/sidekey-exec';
  const kept = await world.kubectl(['get', binding, '-o', 'json']);
  await world.kubectl(['delete', binding]);
  await makeNamespace(world.cluster, 'unread');
  await world.apply({
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name: 'key', namespace: 'unread' },
    spec: { source: { secret: { name: 'key', key: 'value' } }, hosts: ['api.example.com'] },
  });
  const ill = await until(async () => {
    const said = await world.sidekey(['doctor']);
    return said.stdout.includes('not allowed to be read') && said;
  });
  expect(ill.code).toBe(4);
  expect(ill.stdout).toMatch(/✗ policies +not bound with Deny: sidekey-exec\n.*helm upgrade/);
  expect(ill.stdout).toMatch(
    /✗ Secrets .*unread\/key\n.*kubectl create rolebinding .* -n unread --clusterrole=sidekey-secret-reader/,
  );
  const { metadata, ...rest } = JSON.parse(kept);
  await world.apply({
    ...rest,
    metadata: { name: metadata.name, labels: metadata.labels, annotations: metadata.annotations },
  });
  await world.kubectl(['delete', 'namespace', 'unread', '--timeout=60s']);
});

test("explain says what would become of a pod's request, by its labels", async () => {
  const explain = (pod: string, method: string, url = URL) => world.sidekey(['explain', pod, method, url, '-n', NS]);
  expect(await explain('pod/agent', 'GET')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`credential ${NS}/key is placed by Integration ${NS}/key`),
  });
  expect(await explain('agent', 'POST')).toMatchObject({ code: 4, stdout: expect.stringContaining('RuleDenied') });
  expect((await explain('agent', 'GET', 'https://example.com/')).stdout).toContain('passed through untouched');
  expect((await explain('bare', 'GET')).stderr).toContain('the pod has no label sidekey.dev/inject=true');
  expect(await explain('nobody', 'GET')).toMatchObject({ code: 1, stderr: expect.stringContaining('not found') });
});

test('inject shows what the webhook makes of a pod', async () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'shown', namespace: NS, labels: { 'sidekey.dev/inject': 'true', 'tag.sidekey.dev/llm': 'true' } },
    spec: {
      containers: [{ name: 'agent', image: 'example.com/agent', env: [{ name: 'KEY', value: '${credentials.key}' }] }],
    },
  };
  const file = join(dir, 'pod.json');
  writeFileSync(file, JSON.stringify(pod));
  const shown = await world.sidekey(['inject', '-f', file]);
  expect(shown.code, shown.stderr).toBe(0);
  const ours = parse(shown.stdout);
  const theirs = JSON.parse(await world.kubectl(['create', '--dry-run=server', '-o', 'json', '-f', file]));
  expect(ours.spec.initContainers[0]).toMatchObject({ name: 'sidekey', image: theirs.spec.initContainers[0].image });
  expect(ours.spec.containers[0].env).toEqual(theirs.spec.containers[0].env);
  expect(ours.spec.initContainers[0].env).toEqual(theirs.spec.initContainers[0].env);
  const diff = await world.sidekey(['inject', '-f', file, '--diff']);
  expect(diff.stdout).toMatch(/^\+ .*name: sidekey$/m);
});

test('what the owner revokes is refused within a second, and lifted again', async () => {
  await until(async () => (await ask()).stdout.includes('"ok":true'));
  const fromMs = performance.now();
  expect((await world.sidekey(['revoke', 'pod', await uid()])).code).toBe(0);
  const revokedMs = performance.now() - fromMs;
  await until(async () => (await ask()).stdout.includes('Revoked') || (await ask()).code !== 0, 2_000);
  console.log(
    `revoke answered after ${revokedMs.toFixed(0)} ms, and the agent was refused ${(performance.now() - fromMs - revokedMs).toFixed(0)} ms later, exec included`,
  );
  const id = `pod:${await uid()}`;
  expect((await world.sidekey(['revoke', 'list'])).stdout).toContain(id);
  expect((await world.sidekey(['revoke', 'lift', id])).code).toBe(0);
  await until(async () => (await ask()).stdout.includes('"ok":true'), 90_000);
}, 120_000);

test('the owner asks and keeps the store as on one machine', async () => {
  const listed = await world.sidekey(['session', 'list', '-o', 'json']);
  expect(JSON.parse(listed.stdout)).toEqual(
    expect.arrayContaining([expect.objectContaining({ namespace: NS, pod: { name: 'agent', uid: await uid() } })]),
  );
  expect((await world.sidekey(['audit', 'query', '--credential', `${NS}/key`, '--since', '10m'])).stdout).toContain(
    'lease.issued',
  );
  expect((await world.sidekey(['audit', 'verify'])).code).toBe(0);
  expect((await world.sidekey(['kek', 'status'])).stdout).toContain('/etc/sidekey/kek');
  expect((await world.sidekey(['ca', 'status'])).code).toBe(0);
  const file = join(dir, 'backup');
  onTestFinished(() => rmSync(file, { force: true }));
  const backup = await world.sidekey(['backup', file, '--under', 'kek']);
  expect(backup.code, backup.stderr).toBe(0);
  expect(statSync(file).size).toBeGreaterThan(1_000);
  await world.apply({
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name: 'by-hand', namespace: NS },
    spec: { source: { store: {} }, hosts: [hostOf('other')] },
  });
  const set = await run(
    new globalThis.URL('../../../bin/kubectl-sidekey', import.meta.url).pathname,
    ['credential', 'set', 'by-hand', '-n', NS],
    { kubeconfigFile: world.cluster.kubeconfigFile, input: 'sk-by-hand' },
  );
  expect(set.code, set.stderr).toBe(0);
  await world.kubectl(['-n', NS, 'wait', 'credential/by-hand', '--for=condition=Ready', '--timeout=20s']);
});
