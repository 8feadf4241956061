import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JoinAnswer } from '../../../api/protocol.ts';
import { anonymous, clientKey, json, StoreClient } from '../../store/storeClient.ts';
import { hostOf } from './upstreamPod.ts';
import { until, World } from './world.ts';

const NS = 'agents';
const KEY = 'sk-live-first-7Qz84mNXw';
const ROTATED = 'sk-live-second-9Kp21vBRt';
const URL = `https://${hostOf('api')}/v1/models`;
/** Asks again and again, and prints what came, with the time. */
const ASKING = `
  for (;;) {
    const atMs = Date.now();
    try {
      const answer = await fetch(process.env.TARGET);
      const { key } = await answer.json().catch(() => ({}));
      console.log(JSON.stringify({ atMs, status: answer.status, key, code: answer.headers.get('sidekey-error') }));
    } catch (error) {
      console.log(JSON.stringify({ atMs, status: 0, code: String(error.cause ?? error) }));
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }`;

interface Asked {
  atMs: number;
  status: number;
  key?: string;
  code?: string;
}

let world: World;
let pod: string;
beforeAll(async () => {
  world = await World.open();
  await world.namespace(NS);
  await world.grant(NS, 'openai', KEY);
  const template = world.agentTemplate({
    labels: { app: 'asking' },
    script: ASKING,
    env: [
      { name: 'TARGET', value: URL },
      { name: 'OPENAI_API_KEY', value: '${credentials.openai}' },
      { name: 'BASE_URL', value: '${integrations.openai.url}' },
    ],
  });
  await world.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'asking', namespace: NS },
    spec: { selector: { matchLabels: { app: 'asking' } }, template },
  });
  await world.kubectl(['-n', NS, 'rollout', 'status', 'deployment/asking', '--timeout=90s']);
  pod = (
    await world.kubectl(['-n', NS, 'get', 'pods', '-l', 'app=asking', '-o', 'jsonpath={.items[0].metadata.name}'])
  ).trim();
});
afterAll(() => world?.close());

/** What the agent says of its requests. */
const asked = () => world.said<Asked>(NS, pod);

const digestOf = (key: string) => createHash('sha256').update(`Bearer ${key}`).digest('hex').slice(0, 16);

test("the agent's first request, made at once, carries the credential", async () => {
  const first = await until(async () => (await asked())[0]);
  expect(first).toMatchObject({ status: 200, key: digestOf(KEY) });
  expect((await world.seen(KEY)).length).toBeGreaterThan(0);
});

test("the agent's environment, files, processes and logs hold no credential", async () => {
  const environment = await world.exec(NS, pod, 'env');
  expect(environment.stdout).toContain('OPENAI_API_KEY=sidekeyPlaceholder');
  expect(environment.stdout).toContain('BASE_URL=http://127.0.0.1:15080/openai');
  const look = `
    import { readdirSync, readFileSync } from 'node:fs';
    const key = Buffer.from(process.argv[1].split('').reverse().join(''));
    const files = [];
    const walk = (dir) => {
      for (const entry of readdirSync(dir, { withFileTypes: true })) {
        const path = dir + '/' + entry.name;
        if (entry.isDirectory() && !/^\\/\\/?(proc|sys|dev|node_modules)$/.test(path)) walk(path);
        else if (entry.isFile()) files.push(path);
      }
    };
    for (const root of ['/tmp', '/var', '/etc', '/run']) try { walk(root); } catch {}
    for (const pid of readdirSync('/proc')) if (/^[0-9]+$/.test(pid) && pid != process.pid) files.push('/proc/' + pid + '/environ', '/proc/' + pid + '/cmdline');
    let read = 0;
    const found = files.filter((file) => { try { const bytes = readFileSync(file); read += 1; return bytes.includes(key); } catch { return false; } });
    console.log(JSON.stringify({ read, found }));`;
  const reversed = KEY.split('').reverse().join('');
  const { stdout } = await world.exec(NS, pod, '/usr/local/bin/node', '--input-type=module', '--eval', look, reversed);
  const { found, read } = JSON.parse(stdout) as { found: string[]; read: number };
  expect(found).toEqual([]);
  expect(read).toBeGreaterThan(5);
  expect(await world.logs(NS, pod)).not.toContain(KEY);
  expect(await world.logs(NS, pod, 'sidekey')).not.toContain(KEY);
  // The token by which the sidecar is known is out of reach, too.
  expect((await world.exec(NS, pod, 'ls', '/var/run/secrets/sidekey')).code).not.toBe(0);
});

test('a changed Secret is in use within a second, and no request fails', async () => {
  const before = (await asked()).length;
  const client = await world.cluster.client();
  const stringData = { value: ROTATED };
  const changedMs = Date.now();
  await client.patch(`/api/v1/namespaces/${NS}/secrets/openai`, { stringData }, 'merge');
  const rotated = await until(async () => (await asked()).slice(before).find(({ key }) => key === digestOf(ROTATED)));
  await delay(300);
  const since = (await asked()).slice(before);
  expect(since.filter(({ status }) => status !== 200)).toEqual([]);
  const tookMs = rotated.atMs - changedMs;
  console.log(`a changed Secret was in use ${tookMs} ms after the request that changed it`);
  // The new one stays.
  expect(
    since.slice(since.findIndex(({ key }) => key === digestOf(ROTATED))).every(({ key }) => key === digestOf(ROTATED)),
  ).toBe(true);
  expect(tookMs).toBeLessThan(1_000);
});

test('a tag added to a running pod takes effect', async () => {
  await world.grant(NS, 'extra', 'extra-key-value', { host: 'other', integration: { subjects: { tags: ['extra'] } } });
  const ask = () => world.exec(NS, pod, 'curl', '-sS', `https://${hostOf('other')}/tagged`);
  expect(JSON.parse((await ask()).stdout)).toMatchObject({ ok: false });
  await world.kubectl(['-n', NS, 'label', 'pod', pod, 'tag.sidekey.dev/extra=true']);
  const labelledMs = Date.now();
  await until(async () => JSON.parse((await ask()).stdout).key === digestOf('extra-key-value'), 10_000);
  console.log(`a tag took effect after ${Date.now() - labelledMs} ms, exec included`);
  await world.kubectl(['-n', NS, 'label', 'pod', pod, 'tag.sidekey.dev/extra-']);
  await until(async () => JSON.parse((await ask()).stdout || '{}').ok === false, 10_000);
});

test('an Integration that is deleted is refused with 403 where egress is closed', async () => {
  await world.agent({ name: 'closed', namespace: NS, annotations: { 'sidekey.dev/egress': 'Closed' } });
  await world.running(NS, 'closed');
  const ask = () => world.exec(NS, 'closed', 'curl', '-sS', '-i', URL);
  await until(async () => (await ask()).stdout.includes(digestOf(ROTATED)));
  await world.kubectl(['-n', NS, 'delete', 'integration', 'openai']);
  const refused = await until(async () => {
    const { stderr, stdout } = await ask();
    return `${stdout}${stderr}`.includes('403') && `${stdout}${stderr}`;
  }, 5_000);
  expect(refused).toMatch(/403/);
  // With egress open it goes on without a credential, never with one.
  const last = await until(async () => (await asked()).at(-1)?.status === 401);
  expect(last).toBe(true);
  await world.grant(NS, 'openai', ROTATED);
});

test('the session of a pod ends with it', async () => {
  await world.agent({ name: 'leaving', namespace: NS });
  await world.running(NS, 'leaving');
  const uid = await world.kubectl(['-n', NS, 'get', 'pod', 'leaving', '-o', 'jsonpath={.metadata.uid}']);
  const sessions = () => world.sidekey(['session', 'list', '-o', 'json']);
  expect(await until(async () => (await sessions()).stdout.includes(uid))).toBe(true);
  await world.kubectl(['-n', NS, 'delete', 'pod', 'leaving', '--grace-period=0', '--force']);
  await until(async () => !(await sessions()).stdout.includes(uid), 10_000);
});

test("a pod's certificate is refused once the pod is gone, on open connections too", async () => {
  // Waits for a volume that never comes, so that its own sidecar does not join beside us.
  const spec = { volumes: [{ name: 'absent', secret: { secretName: 'absent' } }] };
  await world.agent({ name: 'known', namespace: NS, spec, volumeMounts: [{ name: 'absent', mountPath: '/absent' }] });
  const { metadata, spec: placed } = await until(async () => {
    const pod = JSON.parse(await world.kubectl(['-n', NS, 'get', 'pod', 'known', '-o', 'json']));
    return pod.spec.nodeName && pod;
  });
  // As its kubelet gets it.
  const serviceAccountToken = await world.kubectl(
    [
      ...['-n', NS, 'create', 'token', 'default', '--audience=sidekey', '--bound-object-kind=Pod'],
      ...['--bound-object-name=known', `--bound-object-uid=${metadata.uid}`],
    ],
    { user: { name: `system:node:${placed.nodeName}`, groups: ['system:nodes'] } },
  );
  await using store = await world.reachStore();
  const { key, publicKeyPem } = clientKey();
  const stranger = anonymous(store);
  const joining = json({ serviceAccountToken: serviceAccountToken.trim(), publicKeyPem });
  const admitted = await stranger.call('POST', '/v1/join', joining);
  expect(admitted.status, admitted.body.toString()).toBe(200);
  const joined = admitted.json<JoinAnswer>();
  const tls = { key, cert: joined.certificatePem };
  const open = new StoreClient(store, joined, tls);
  const asked = async (client: StoreClient) => (await client.call('GET', '/v1/session/snapshot')).status;
  expect(await asked(open)).toBe(200);
  await world.kubectl(['-n', NS, 'delete', 'pod', 'known', '--grace-period=0', '--force']);
  await until(async () => (await asked(open)) === 401, 10_000);
  const fresh = new StoreClient(store, joined, tls);
  expect(await asked(fresh)).toBe(401);
  expect((await stranger.call('POST', '/v1/join', joining)).status).toBeGreaterThanOrEqual(401);
  for (const client of [stranger, open, fresh]) client.close();
});

test('a Job completes, with its sidecar', async () => {
  const script = `const { key } = await (await fetch('${URL}')).json(); console.log('key ' + key);`;
  const template = world.agentTemplate({ script, spec: { restartPolicy: 'Never' } });
  await world.apply({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'once', namespace: NS },
    spec: { backoffLimit: 0, template },
  });
  await world.kubectl(['-n', NS, 'wait', 'job/once', '--for=condition=Complete', '--timeout=60s']);
  expect(await world.kubectl(['-n', NS, 'logs', 'job/once', '-c', 'agent'])).toContain(`key ${digestOf(ROTATED)}`);
});

test('curl, Python and the openai SDK, unmodified, reach the API with the credential', async () => {
  const base = `https://${hostOf('api')}`;
  const curl = await world.exec(NS, pod, 'curl', '-sS', URL);
  expect(curl.stdout).toContain(digestOf(ROTATED));
  const python = `import urllib.request; print(urllib.request.urlopen("${URL}").read().decode())`;
  expect((await world.exec(NS, pod, 'python3', '-c', python)).stdout).toContain(digestOf(ROTATED));
  const sdk = `
    import OpenAI from '/node_modules/openai/index.mjs';
    const client = new OpenAI({ baseURL: '${base}/v1' });
    const answer = await client.chat.completions.create({ model: 'x', messages: [{ role: 'user', content: 'hi' }] });
    console.log(answer.choices[0].message.content);`;
  const said = await world.exec(NS, pod, '/usr/local/bin/node', '--input-type=module', '--eval', sdk);
  expect(said.stdout).toContain(digestOf(ROTATED));
  const byBaseUrl = await world.exec(NS, pod, 'sh', '-c', 'curl -sS --noproxy "*" "$BASE_URL/v1/models"');
  expect(byBaseUrl.stdout).toContain(digestOf(ROTATED));
});

test('who asked for the workload is on record', async () => {
  const template = 'jsonpath={.spec.template.metadata.annotations.sidekey\\.dev/requested-by}';
  expect(await world.kubectl(['-n', NS, 'get', 'deployment', 'asking', '-o', template])).toBe('kubernetes-admin');
  const annotation = 'jsonpath={.metadata.annotations.sidekey\\.dev/requested-by}';
  expect(await world.kubectl(['-n', NS, 'get', 'pod', pod, '-o', annotation])).toBe('kubernetes-admin');
  const { stdout } = await world.sidekey([
    'audit',
    'query',
    '--credential',
    `${NS}/openai`,
    '--since',
    '10m',
    '-o',
    'json',
  ]);
  expect(stdout).toContain('kubernetes-admin');
  expect(stdout).toContain(pod);
});
