import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AuditEntry, AuditHead, JoinTokenAnswer } from '../../api/admin.ts';
import type { AuditFinding } from '../../lib/audit/query.ts';
import { verifyAudit } from '../../lib/auditVerify.ts';
import { until } from '../../sidecar/link/testkit.ts';
import { LOOPBACK, SidecarProcess } from '../sidecar/sidecarProcess.ts';
import { TestStore } from '../sidecar/testStore.ts';
import { TestUpstream } from '../sidecar/upstream.ts';
import { admin, auditOf, json, SESSION } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { type Ended, sidekey } from './sidekey.ts';

const SECRET = 'sk-the-real-key-of-the-test';
let store: TestStore;
let upstream: TestUpstream;
let alice: SidecarProcess;
let bob: SidecarProcess;

beforeAll(async () => {
  store = await TestStore.start();
  // A folder as the command knows it.
  symlinkSync('state', join(store.dir, '.sidekey'));
  upstream = await TestUpstream.start((_, response) => response.end('hello'));
  alice = await agent('alice@example.com', 'agent-1');
  bob = await agent('bob@example.com', 'agent-2');
});
afterAll(async () => {
  await alice?.close();
  await bob?.close();
  upstream?.stop();
  await store?.stop();
});

/** A pod of somebody's, with its sidecar. */
async function agent(requester: string, pod: string): Promise<SidecarProcess> {
  const session = { ...SESSION, requester, pod: { name: pod, uid: `uid-of-${pod}` } };
  const body = json({ kind: 'session', session });
  const { joinToken } = (await admin(store.process, 'POST', '/v1/admin/join-tokens', body)).json<JoinTokenAnswer>();
  return SidecarProcess.start({
    store,
    extraCaPem: upstream.caPem,
    bootstrap: { joinToken },
    credentials: {
      'default/key': { hosts: [upstream.host], material: SECRET },
      'default/strict-key': { hosts: [upstream.host], material: SECRET, auditStrict: true },
    },
    integrations: {
      'default/example': {
        hosts: [upstream.host],
        alias: 'example',
        allowedNetworks: LOOPBACK,
        rules: [
          { action: 'Deny', methods: ['DELETE'] },
          { action: 'Allow', paths: [{ type: 'PathPrefix', value: '/v1' }] },
        ],
      },
      'default/strict': {
        credential: 'default/strict-key',
        hosts: [upstream.host],
        alias: 'strict',
        allowedNetworks: LOOPBACK,
        createdAt: '2026-01-02T00:00:00Z',
      },
    },
  });
}

const call = async (sidecar: SidecarProcess, path: string, method = 'GET', alias = 'example') => {
  const answer = await fetch(`http://127.0.0.1:${sidecar.proxyPort}/${alias}${path}`, { method });
  await answer.text();
  return answer.status;
};
const run = (...args: string[]): Promise<Ended> => sidekey(['audit', ...args, '--dir', store.dir], { cwd: store.dir });
const query = async (...args: string[]): Promise<AuditFinding[]> => {
  const result = await run('query', ...args, '-o', 'json');
  if (result.code !== 0) throw new Error(result.stderr);
  return JSON.parse(result.stdout);
};
const reported = async (count: number) =>
  until(async () => {
    const entries = await auditOf(store.process);
    const uses = entries.flatMap(({ event }) => (event.kind === 'usage.reported' ? (event.records as object[]) : []));
    return uses.length >= count;
  });

test('one query answers who used this key in a time, from which pod, who asked for it, and what they called', {
  timeout: 60_000,
}, async () => {
  await call(bob, '/v1/before');
  await reported(1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const since = new Date().toISOString();
  expect(await call(alice, '/v1/users/4711471147114711?secret=hunter2')).toBe(200);
  expect(await call(alice, '/v1/users/4712')).toBe(200);
  expect(await call(bob, '/v1/users/1', 'DELETE')).toBe(403);
  await reported(3);
  const later = new Date().toISOString();
  await new Promise((resolve) => setTimeout(resolve, 20));
  await call(alice, '/v1/after');
  await reported(4);

  const found = await query('--credential', 'key', '--kind', 'use', '--since', since, '--until', later);
  expect(found).toMatchObject([
    {
      kind: 'use',
      requester: 'alice@example.com',
      pod: { name: 'agent-1', uid: 'uid-of-agent-1' },
      namespace: 'default',
      serviceAccount: 'default',
      role: 'coder',
      tags: ['llm'],
      credential: 'default/key',
      version: 1,
      integration: 'default/example',
      rule: 2,
      method: 'GET',
      authority: upstream.host,
      path: '/v1/users/{id}',
      status: 200,
      count: 2,
      requestId: expect.stringMatching(/^[0-9a-f]{12}-[0-9a-z]+$/),
      issued: { id: expect.stringMatching(/^store\//), from: expect.stringMatching(/^127\.0\.0\.1:/) },
    },
    {
      requester: 'bob@example.com',
      pod: { name: 'agent-2' },
      method: 'DELETE',
      status: 403,
      refusal: 'RuleDenied',
      rule: 1,
    },
  ]);
  // The issuance that it names is the one of the very lease.
  const [use] = found;
  const entry = (await auditOf(store.process)).find(({ seq }) => `store/${seq}` === use!.issued!.id)!;
  expect(entry.event).toMatchObject({ kind: 'lease.issued', lease: use!.lease, requester: 'alice@example.com' });

  const shown = await run('query', '--credential', 'key', '--kind', 'use', '--since', since, '--until', later);
  expect(shown.stdout).toMatch(
    /alice@example\.com +agent-1 +default +GET api\.localhost:[0-9]+\/v1\/users\/\{id\} +200 \(rule 2\) +2/,
  );
  for (const text of [shown.stdout, JSON.stringify(await auditOf(store.process))]) {
    expect(text).not.toContain('hunter2');
    // Long enough for no hash to have it by chance.
    expect(text).not.toContain('4711471147114711');
    expect(text).not.toContain(SECRET);
  }
});

test('audit tail has one line for each use, as a person reads it', async () => {
  const lines = (await run('tail', '-n', '100')).stdout.trim().split('\n');
  const uses = lines.filter((line) => /Z {2}use /.test(line));
  expect(uses.length).toBeGreaterThan(3);
  expect(lines).toContainEqual(
    expect.stringMatching(
      /Z {2}use +default\/key@1 {2}GET api\.localhost:\d+\/v1\/users\/\{id\} {2}200 \(rule 2\) {2}×2 {2}integration=default\/example {2}requester=alice@example\.com {2}pod=agent-1 /,
    ),
  );
  for (const line of lines) expect(line.length).toBeLessThan(500);
  for (const text of ['hunter2', '4711', SECRET]) expect(lines.join()).not.toContain(text);
});

test('each flag narrows a query down', { timeout: 60_000 }, async () => {
  const counts = async (...args: string[]) => (await query('--kind', 'use', ...args)).length;
  const all = await counts();
  expect(await counts('--pod', 'uid-of-agent-2')).toBe(2);
  expect(await counts('--requester', 'alice@example.com')).toBe(all - 2);
  expect(await counts('--refusal', 'any')).toBe(1);
  expect(await counts('--status', '4xx')).toBe(1);
  expect(await counts('--authority', 'api.localhost')).toBe(all);
  expect(await counts('--authority', 'api.example.com')).toBe(0);
  expect(await counts('--role', 'coder', '--tag', 'llm', '-n', 'default', '--integration', 'default/example')).toBe(
    all,
  );
  expect(await counts('--role', 'reviewer')).toBe(0);
  expect(await counts('--until', '1h')).toBe(0);
  expect((await query('--kind', 'lease.issued', '--pod', 'agent-1')).length).toBe(2);
  expect((await run('query', '--since', 'yesterday')).code).toBe(2);
  expect(await run('query', '--limit', '1', '-o', 'json')).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('more than these 1'),
  });
});

test('under audit: Strict a use is on record before it is sent, and without the store nothing is sent', {
  timeout: 60_000,
}, async () => {
  const before = upstream.seen.length;
  expect(await call(alice, '/v1/charges', 'POST', 'strict')).toBe(200);
  const intended = (await auditOf(store.process)).filter(({ event }) => event.kind === 'usage.intended');
  expect(intended.length).toBe(1);
  expect(upstream.seen.length).toBe(before + 1);
  await store.process.kill();
  expect(await call(alice, '/v1/charges', 'POST', 'strict')).toBe(503);
  expect(await call(alice, '/v1/models')).toBe(200);
  expect(upstream.seen.length).toBe(before + 2);
  await store.restart();
  await until(async () => (await call(alice, '/v1/charges', 'POST', 'strict')) === 200);
  await until(async () => (await query('--credential', 'strict-key', '--kind', 'use')).length >= 2);
  // What was intended and became something is one line.
  const uses = await query('--credential', 'strict-key', '--kind', 'use', '--status', '200');
  expect(new Set(uses.map(({ requestId }) => requestId)).size).toBe(uses.length);
  expect(uses.every(({ kind, count }) => kind === 'use' && count === 1)).toBe(true);
});

test('what audit: Strict costs: one round trip to the store and its fsync', { timeout: 60_000 }, async () => {
  const measure = async (alias: string) => {
    const times: number[] = [];
    for (let i = 0; i < 250; i += 1) {
      const startMs = performance.now();
      await call(alice, '/v1/models', 'GET', alias);
      if (i >= 50) times.push(performance.now() - startMs);
    }
    times.sort((a, b) => a - b);
    return { p50: times[100]!, p99: times[197]! };
  };
  const batched = await measure('example');
  const strict = await measure('strict');
  const text = (ms: number) => `${ms.toFixed(2)} ms`;
  process.stdout.write(
    `audit: Strict adds ${text(strict.p50 - batched.p50)} at the median (${text(batched.p50)} → ${text(strict.p50)}), ` +
      `${text(strict.p99 - batched.p99)} at p99 (${text(batched.p99)} → ${text(strict.p99)})\n`,
  );
  expect(strict.p50 - batched.p50).toBeLessThan(50);
});

test('an export as JSON lines verifies by itself, and other formats have a line for each thing that happened', {
  timeout: 60_000,
}, async () => {
  const file = join(store.dir, 'audit.jsonl');
  const head = JSON.parse((await run('verify', '-o', 'json')).stdout).head as AuditHead;
  expect(await run('export', '--output', file)).toMatchObject({ code: 0, stdout: '' });
  const entries: AuditEntry[] = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect((await verifyAudit(entries, [head])).problems).toEqual([]);
  expect(statSync(file).mode & 0o077).toBe(0);
  const cef = (await run('export', '--format', 'cef', '--kind', 'use', '--refusal', 'RuleDenied')).stdout
    .trim()
    .split('\n');
  expect(cef).toEqual([expect.stringMatching(/^CEF:0\|Sidekey\|Sidekey\|[0-9.]+\|use\|.*reason=RuleDenied/)]);
  const ocsf = (await run('export', '--format', 'ocsf', '--credential', 'default/key')).stdout.trim().split('\n');
  for (const line of ocsf) expect(JSON.parse(line)).toMatchObject({ metadata: { version: '1.3.0' } });
  expect(ocsf.length).toBeGreaterThan(4);
});

test('prune and rotate-key keep the audit verifiable, also against a head that was kept; tampering is found', {
  timeout: 60_000,
}, async () => {
  const kept = join(store.dir, 'kept.json');
  writeFileSync(kept, JSON.stringify(JSON.parse((await run('verify', '-o', 'json')).stdout).head));
  expect(await run('rotate-key')).toMatchObject({ code: 0, stdout: expect.stringContaining('BEGIN PUBLIC KEY') });
  await until(() => existsSync(join(store.dir, 'state', 'audit.head')));
  expect(await run('verify', '--head', kept)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^✓/) });
  const pruned = await run('prune', '--before', new Date().toISOString());
  expect(pruned).toMatchObject({ code: 0, stdout: expect.stringMatching(/forgotten, it begins after entry/) });
  expect(await run('verify', '--head', kept)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/begins after entry [0-9]+: [0-9]+ before it were pruned/),
  });
  expect(await run('prune', '--before', '24h')).toMatchObject({ stdout: expect.stringContaining('nothing is older') });
  for (let i = 0; i < 3; i += 1)
    await admin(store.process, 'POST', '/v1/admin/join-tokens', json({ kind: 'operator' }));
  await store.process.stop();
  const db = new DatabaseSync(join(store.dir, 'state', 'store.db'));
  db.exec('DELETE FROM audit WHERE seq = (SELECT max(seq) - 2 FROM audit)');
  db.close();
  store.process = await StoreProcess.start(join(store.dir, 'state'));
  expect(await run('verify')).toMatchObject({ code: 4, stdout: expect.stringContaining('removed or moved') });
});
