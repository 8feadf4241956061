import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest';
import { type BreakableCluster, breakable } from '../cluster.ts';
import { SYSTEM_NAMESPACE } from './release.ts';
import { hostOf } from './upstreamPod.ts';
import { until, World } from './world.ts';

const NS = 'upkeep';
const KEY = 'sk-upkeep-5Jd81mWqZ';
const URL = `https://${hostOf('third')}/v1/models`;
/** 50 a minute. */
const POD_EVERY_MS = 1_200;
const AFTER_ROTATION_MS = 15_000;
const ASKING = `
  for (;;) {
    const atMs = Date.now();
    const said = await fetch('${URL}').then((answer) => String(answer.status), (error) => String(error.cause ?? error));
    console.log(JSON.stringify({ atMs, said }));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }`;
/** Its first request, made at once, decides how it ends. */
const FIRST = `
  const answer = await fetch('${URL}');
  console.log(answer.status + ' ' + (answer.headers.get('sidekey-error') ?? ''));
  process.exit(answer.status === 200 ? 0 : 1);`;

let world: World;
beforeAll(async () => {
  world = await World.open();
  await world.namespace(NS);
  await world.grant(NS, 'key', KEY, { host: 'third' });
  await world.agent({ name: 'asking', namespace: NS, script: ASKING });
  await world.running(NS, 'asking');
});
afterAll(() => world?.close());

const system = (...args: string[]) => world.kubectl(['-n', SYSTEM_NAMESPACE, ...args]);
const rolled = async (what: string) => {
  await system('rollout', 'restart', what);
  await system('rollout', 'status', what, '--timeout=90s');
};

/** What an agent says of its requests. */
const asked = (of = 'asking') => world.said<{ atMs: number; said: string }>(NS, of);

/** The cluster, if its parts are ours to stop; else the test is left out. */
function ourCluster(skip: TestContext['skip'], what: string): BreakableCluster {
  const cluster = breakable(world.cluster);
  if (cluster !== undefined) return cluster;
  const why = `${what} of a given cluster is not ours to stop`;
  // The reporter says only how many were left out.
  console.warn(`left out: ${why}`);
  return skip(why);
}

test('restarts of every part, and another CA of the webhook, fail no admission and no request while 50 pods a minute are created', async () => {
  const fromMs = Date.now();
  const created: number[] = [];
  const refused: string[] = [];
  let going = true;
  const creating = (async () => {
    const creations: Promise<unknown>[] = [];
    // Whether the one before is through or not.
    for (let n = 0; going; n += 1) {
      const creation = world.agent({ name: `first-${n}`, namespace: NS, script: FIRST });
      creations.push(creation.then(() => created.push(n)).catch((error: Error) => refused.push(error.message)));
      await delay(POD_EVERY_MS);
    }
    await Promise.all(creations);
  })();
  const caBundle = async () =>
    world.kubectl([
      ...['get', 'mutatingwebhookconfiguration', 'sidekey', '-o'],
      'jsonpath={.webhooks[0].clientConfig.caBundle}',
    ]);
  try {
    await rolled('deployment/sidekey-operator');
    await rolled('deployment/sidekey-webhook');
    const before = await caBundle();
    await system('delete', 'secret', 'sidekey-webhook-tls');
    await until(async () => (await caBundle()) !== before, 60_000);
    await rolled('statefulset/sidekey-store');
    await world.sidekeyDone(['ca', 'rotate']);
    // Under the new intermediate, and past what may be slow to see it.
    await delay(AFTER_ROTATION_MS);
  } finally {
    // Whatever came of it: what is created on and on would take the node from the tests that follow.
    going = false;
    await creating;
  }
  expect(refused).toEqual([]);
  const phases = await until(async () => {
    const text = await world.kubectl([
      ...['-n', NS, 'get', 'pods', '-o'],
      'jsonpath={range .items[*]}{.metadata.name} {.status.phase}{"\\n"}{end}',
    ]);
    const all = text.split('\n').filter((line) => line.startsWith('first-'));
    return all.every((line) => / (Succeeded|Failed)$/.test(line)) && all;
  }, 90_000);
  const failed = phases.filter((line) => line.endsWith('Failed')).map((line) => line.split(' ')[0]!);
  const why = await Promise.all(failed.map(async (name) => `${name}: ${await world.logs(NS, name)}`));
  const answers = (await asked()).filter(({ atMs }) => atMs >= fromMs);
  console.log(
    `${created.length} pods and ${answers.length} requests in ${((Date.now() - fromMs) / 1000).toFixed(0)} s of restarts`,
  );
  expect(why).toEqual([]);
  expect(answers.filter(({ said }) => said !== '200')).toEqual([]);
}, 300_000);

test('while the webhook is away labelled pods are refused in words, others are untouched, and then all goes on', async () => {
  await system('scale', 'deployment/sidekey-webhook', '--replicas=0');
  await system('wait', 'pod', '-l', 'app.kubernetes.io/component=webhook', '--for=delete', '--timeout=120s');
  const labelled = await world.agent({ name: 'waits', namespace: NS }).catch((error: Error) => error.message);
  expect(labelled).toMatch(/failed calling webhook/);
  await world.agent({
    name: 'bare',
    namespace: NS,
    labels: { 'sidekey.dev/inject': 'false' },
    script: 'process.exit(0)',
  });
  expect(await world.ended(NS, 'bare')).toBe('');
  const doctor = await world.sidekey(['doctor']);
  expect(doctor.code).toBe(4);
  expect(doctor.stdout).toMatch(/✗ webhook .*0 of 0 ready/);
  expect(doctor.stdout).toMatch(/✗ injection .*failed calling webhook/);
  await system('scale', 'deployment/sidekey-webhook', '--replicas=2');
  await system('rollout', 'status', 'deployment/sidekey-webhook', '--timeout=60s');
  await until(
    () =>
      world.agent({ name: 'waits', namespace: NS, script: FIRST }).then(
        () => true,
        () => false,
      ),
    30_000,
  );
  expect(await world.ended(NS, 'waits')).toContain('200');
}, 180_000);

test('pods that start while the store is away run, hear 503 with Retry-After, and are served once it is back', async () => {
  await system('scale', 'statefulset/sidekey-store', '--replicas=0');
  await system('wait', 'pod', '-l', 'app.kubernetes.io/component=store', '--for=delete', '--timeout=120s');
  await world.agent({ name: 'early', namespace: NS });
  await until(async () => (await world.exec(NS, 'early', 'true')).code === 0, 30_000);
  const refused = await world.exec(
    NS,
    'early',
    'curl',
    '-sS',
    '-i',
    '-m',
    '20',
    'http://127.0.0.1:15080/key/v1/models',
  );
  expect(refused.stdout).toMatch(/^HTTP\/1.1 503[\s\S]*sidekey-error: StoreUnavailable/i);
  expect(refused.stdout).toMatch(/retry-after: \d/i);
  // The node's runtime restarts meanwhile, as with an upgrade: who has a lease goes on.
  const fromMs = Date.now();
  await breakable(world.cluster)?.runtimeRestart();
  const backMs = Date.now();
  await until(async () => (await asked()).some(({ atMs }) => atMs > backMs), 60_000);
  expect((await asked()).filter(({ atMs, said }) => atMs >= fromMs && said !== '200')).toEqual([]);
  await system('scale', 'statefulset/sidekey-store', '--replicas=1');
  await system('rollout', 'status', 'statefulset/sidekey-store', '--timeout=60s');
  await until(async () => (await world.exec(NS, 'early', 'curl', '-sS', URL)).stdout.includes('"ok":true'), 60_000);
}, 180_000);

test('a node that comes up again with the store on it: sidecars and operator join again, and agents are served', async ({
  skip,
}) => {
  const cluster = ourCluster(skip, 'the node');
  const template = world.agentTemplate({ labels: { app: 'steady' }, script: ASKING });
  await world.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'steady', namespace: NS },
    spec: { selector: { matchLabels: { app: 'steady' } }, template },
  });
  await world.kubectl(['-n', NS, 'rollout', 'status', 'deployment/steady', '--timeout=60s']);
  const uids = ['-n', NS, 'get', 'pods', '-l', 'app=steady', '-o', 'jsonpath={.items[*].metadata.uid}'];
  const uid = await world.kubectl(uids);
  await cluster.reboot();
  const backMs = Date.now();
  const served = async () =>
    (await asked('deployment/steady')).some(({ atMs, said }) => atMs > backMs && said === '200');
  await until(served, 90_000);
  console.log(`an agent was served ${((Date.now() - backMs) / 1000).toFixed(0)} s after its node was back`);
  // The same pod, by one session, under a new value as well.
  expect(await world.kubectl(uids)).toBe(uid);
  const sessions = await world.sidekey(['session', 'list', '-o', 'json']);
  expect(sessions.stdout.split(uid)).toHaveLength(2);
  await world.setSecret(NS, 'key', `${KEY}-after`);
  await until(async () => (await world.seen(`${KEY}-after`)).length > 0, 60_000);
  await world.kubectl(['-n', NS, 'delete', 'deployment', 'steady']);
  // It does not come back of its own.
  await world.kubectl(['-n', NS, 'delete', 'pod', 'asking']);
  await world.agent({ name: 'asking', namespace: NS, script: ASKING });
  await world.running(NS, 'asking');
}, 240_000);

test('a sidecar that is killed comes back with the CA that its agent trusts', async ({ skip }) => {
  const cluster = ourCluster(skip, 'a process');
  const restarts = async () =>
    Number(
      await world.kubectl([
        ...['-n', NS, 'get', 'pod', 'asking', '-o'],
        'jsonpath={.status.initContainerStatuses[?(@.name=="sidekey")].restartCount}',
      ]),
    );
  const before = await restarts();
  // All that there are; this agent has read the CA once, when it started.
  await cluster.onNode(['pkill', '-KILL', '-f', 'sidecar.mjs --in-pod']);
  await until(async () => (await restarts()) > before, 60_000);
  const backMs = Date.now();
  await until(async () => (await asked()).some(({ atMs, said }) => atMs > backMs && said === '200'), 30_000);
}, 120_000);

test("the operator's leader is killed in the middle of changes to a Secret: the next one brings the last of them", async ({
  skip,
}) => {
  const cluster = ourCluster(skip, 'a process');
  const holder = async () =>
    (await system('get', 'lease', 'sidekey-operator', '-o', 'jsonpath={.spec.holderIdentity}')).replace(/_.*/, '');
  const uid = await system('get', 'pod', await holder(), '-o', 'jsonpath={.metadata.uid}');
  const fromMs = Date.now();
  for (let n = 1; n <= 12; n += 1) {
    await world.setSecret(NS, 'key', `${KEY}-killed-${n}`);
    // By the pod's cgroup, which systemd writes with underscores: all operators look the same otherwise.
    const kill = `for pid in $(pgrep -f operator.mjs); do tr _ - </proc/$pid/cgroup | grep -q "$0" && kill -KILL $pid && echo $pid; done; true`;
    if (n === 6) expect(await cluster.onNode(['sh', '-c', kill, uid])).toMatch(/^\d+\n$/);
  }
  await until(async () => (await world.seen(`${KEY}-killed-12`)).length > 0, 60_000);
  expect((await asked()).filter(({ atMs, said }) => atMs >= fromMs && said !== '200')).toEqual([]);
  await world.kubectl(['-n', NS, 'wait', 'credential/key', '--for=condition=Ready', '--timeout=20s']);
}, 120_000);

test('a Secret that is deleted is told in a condition, and one that is made anew is used', async () => {
  await world.kubectl(['-n', NS, 'delete', 'secret', 'key']);
  await world.kubectl([
    ...['-n', NS, 'wait', 'credential/key', '--timeout=20s'],
    '--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=SecretDoesNotExist',
  ]);
  await world.setSecret(NS, 'key', KEY);
  await world.kubectl(['-n', NS, 'wait', 'credential/key', '--for=condition=Ready', '--timeout=20s']);
  await until(async () => (await asked()).at(-1)?.said === '200', 10_000);
});

test('a namespace that is deleted while its pods run goes, with its sessions and Credentials', async () => {
  await world.namespace('short-lived');
  await world.grant('short-lived', 'key', 'sk-short-lived', { host: 'third' });
  await world.agent({ name: 'agent', namespace: 'short-lived' });
  await world.running('short-lived', 'agent');
  const held = async () =>
    (await world.sidekey(['credential', 'list', '-o', 'json'])).stdout +
    (await world.sidekey(['session', 'list', '-o', 'json'])).stdout;
  expect(await held()).toContain('short-lived');
  await world.kubectl(['delete', 'namespace', 'short-lived', '--timeout=60s']);
  await until(async () => !(await held()).includes('short-lived'), 20_000);
});

test('while the API server restarts nobody notices, and what changes after it arrives', async ({ skip }) => {
  const cluster = ourCluster(skip, 'the API server');
  const fromMs = Date.now();
  await cluster.apiServerRestart();
  await world.setSecret(NS, 'key', `${KEY}-2`);
  await until(async () => (await world.seen(`${KEY}-2`)).length > 0, 60_000);
  const answers = (await asked()).filter(({ atMs }) => atMs >= fromMs);
  expect(answers.length).toBeGreaterThan(10);
  expect(answers.filter(({ said }) => said !== '200')).toEqual([]);
}, 120_000);
