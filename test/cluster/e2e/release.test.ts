import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { clientBinary } from '../binaries.ts';
import { run } from '../kubectl.ts';
import { helm, installSidekey, SYSTEM_NAMESPACE, valuesOf } from './release.ts';
import { hostOf } from './upstreamPod.ts';
import { until, World } from './world.ts';

const NS = 'released';
const URL = `https://${hostOf('api')}/v1/models`;
const ASKING = `
  for (;;) {
    const atMs = Date.now();
    const said = await fetch('${URL}').then((answer) => String(answer.status), (error) => String(error.cause ?? error));
    console.log(JSON.stringify({ atMs, said }));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }`;

let world: World;
const options = () => ({ image: inject('sidekeyImage'), extraCaPem: inject('extraCaPem') });
beforeAll(async () => {
  world = await World.open();
  await world.namespace(NS);
  await world.grant(NS, 'key', 'sk-released-4Gt6');
  await world.agent({ name: 'asking', namespace: NS, script: ASKING });
  await world.running(NS, 'asking');
});
afterAll(() => world?.close());

async function failedSince(fromMs: number): Promise<{ asked: number; failed: string[] }> {
  const all = await world.said<{ atMs: number; said: string }>(NS, 'asking');
  const said = all.filter(({ atMs }) => atMs >= fromMs);
  return { asked: said.length, failed: said.filter((one) => one.said !== '200').map((one) => one.said) };
}

const released = (...args: string[]) => helm(world.cluster, [...args, '--namespace', SYSTEM_NAMESPACE]);

test("the block at the end of the release's notes shows a credential arrive that the agent does not have", async () => {
  const notes = await released('get', 'notes', 'sidekey');
  const script = notes.slice(notes.indexOf("kubectl apply -f - <<'END'"));
  const path = `${dirname(await clientBinary('kubectl'))}:${process.env.PATH}`;
  const { code, stderr, stdout } = await run('bash', ['-ec', `export PATH='${path}'\n${script}`], {
    kubeconfigFile: world.cluster.kubeconfigFile,
  });
  await world.kubectl(['delete', 'namespace', 'sidekey-demo', '--ignore-not-found', '--timeout=90s']);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(
    /the agent sent no Authorization; the upstream got Authorization: Bearer demo-… \(36 characters\)/,
  );
});

test('helm test passes', async () => {
  expect(await released('test', 'sidekey', '--timeout', '120s')).toMatch(/Phase: +Succeeded/);
}, 150_000);

test('an upgrade and a rollback fail no request of an agent that runs', async () => {
  const fromMs = Date.now();
  const chart = new globalThis.URL('../../../charts/sidekey', import.meta.url).pathname;
  const wait = ['--wait', '--timeout', '150s'];
  await released(
    'upgrade',
    'sidekey',
    chart,
    ...valuesOf(options()),
    '--set',
    'operator.heapMiB=208,store.podAnnotations.upgraded=yes',
    ...wait,
  );
  await released('rollback', 'sidekey', '1', ...wait);
  await world.sidekeyDone(['session', 'list'], 30_000);
  const { asked, failed } = await failedSince(fromMs);
  console.log(`${asked} requests during an upgrade and a rollback`);
  expect(failed).toEqual([]);
  expect(asked).toBeGreaterThan(20);
}, 330_000);

test('what is uninstalled leaves running agents their leases, and nothing but what is kept on purpose; installed again it goes on', async () => {
  const fromMs = Date.now();
  await released('uninstall', 'sidekey', '--wait', '--timeout', '150s');
  const kinds = await world.kubectl(['api-resources', '--verbs=list', '-o', 'name']);
  const left = await world.kubectl([
    ...[
      'get',
      kinds
        .split('\n')
        .filter((kind) => kind !== '' && !kind.startsWith('events'))
        .join(),
      '-A',
      '-o',
      'name',
    ],
    ...['-l', 'app.kubernetes.io/name=sidekey', '--ignore-not-found'],
  ]);
  const gone = (name: string) => !/^(pod|endpointslice|controllerrevision)/.test(name);
  await until(
    async () => (await world.attempt(['-n', SYSTEM_NAMESPACE, 'get', 'pods', '-o', 'name'])).stdout === '',
    60_000,
  );
  expect(
    left
      .split('\n')
      .filter((name) => name !== '' && gone(name))
      .sort(),
  ).toEqual(expect.arrayContaining(['secret/sidekey-kek']));
  const unkept = left
    .split('\n')
    .filter(
      (name) =>
        name !== '' &&
        gone(name) &&
        !/^(secret\/sidekey-kek|persistentvolumeclaim\/|customresourcedefinition)/.test(name),
    );
  expect(unkept).toEqual([]);
  // Nobody holds Credentials back any more.
  const finalizers = ['-n', NS, 'get', 'credential', 'key', '-o', 'jsonpath={.metadata.finalizers}'];
  expect(await world.kubectl(finalizers)).toBe('');
  // Pods that ask for a sidecar are as any other now: there is nobody to ask.
  const { asked, failed } = await failedSince(fromMs);
  expect(failed).toEqual([]);
  expect(asked).toBeGreaterThan(10);
  await installSidekey(world.cluster, options());
  await until(
    async () => (await world.sidekey(['credential', 'list', '-o', 'json'])).stdout.includes(`${NS}/key`),
    60_000,
  );
  await world.agent({
    name: 'after',
    namespace: NS,
    script: `const a = await fetch('${URL}'); console.log(a.status);`,
  });
  expect(await world.ended(NS, 'after')).toContain('200');
}, 400_000);
