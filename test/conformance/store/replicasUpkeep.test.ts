import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { AuditChain, AuditEntry, CaStatus, JoinTokenAnswer } from '../../../api/admin.ts';
import { LEASE_HEADERS } from '../../../api/protocol.ts';
import { queryAudit } from '../../../lib/audit/query.ts';
import { verifyAudit } from '../../../lib/auditVerify.ts';
import { systemClock } from '../../../lib/clock.ts';
import { stateFiles } from '../../../lib/stateDir.ts';
import { type RunningStore, startStore } from '../../../store/app.ts';
import { silentLog } from '../../../store/testing/core.ts';
import { credentialRecord, integrationRecord } from '../../../store/testing/records.ts';
import { ensureKekFile } from '../../../store/vault/kekFile.ts';
import { PostgresServer } from '../../postgres/server.ts';
import { TcpProxy } from '../../postgres/tcpProxy.ts';
import { RotatingClient } from '../../store/rotatingClient.ts';
import { admin, json, material, SESSION, StoreClient } from '../../store/storeClient.ts';
import { eventually } from './eventually.ts';

const CLIENTS = 9;
let server: PostgresServer;
/** Between the third replica and the database. */
let proxy: TcpProxy;
let dir: string;
let turn = 0;

/** One of several stores of this process on one database; its clients see it as they would a process. */
interface Replica {
  running: RunningStore;
  storeUrl: string;
  trustBundlePem: string;
  adminSocket: string;
}
let replicas: Replica[];

beforeAll(async () => {
  server = await PostgresServer.start();
}, 60_000);
afterAll(() => server?.remove());

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-upkeep-'));
  const databaseUrl = await server.newDatabase();
  proxy = await TcpProxy.start(server.port);
  replicas = [];
  for (let index = 0; index < 3; index += 1)
    replicas.push(await start(index, index < 2 ? databaseUrl : proxy.url(databaseUrl)));
  return async () => {
    await Promise.all(replicas.map(({ running }) => running.close()));
    proxy.close();
    rmSync(dir, { recursive: true, force: true });
  };
});

async function start(index: number, databaseUrl: string): Promise<Replica> {
  const files = stateFiles(join(dir, `replica-${index}`));
  const { kek } = stateFiles(join(dir, 'replica-0'));
  if (index === 0) ensureKekFile(files);
  else {
    mkdirSync(dirname(files.kek), { recursive: true, mode: 0o700 });
    copyFileSync(kek, files.kek);
  }
  const running = await startStore({
    bootstrap: { part: 'store', stateDir: files.dir, listenHost: '127.0.0.1', listenPort: 0, databaseUrl },
    clock: systemClock,
    log: silentLog,
    fatal: (error) => {
      throw error;
    },
    // A day in seconds: certificates live 15 s, the steps of a change of the root are at least 0.5 s apart.
    settings: {
      certificateSeconds: 15,
      caSettleSeconds: 0.5,
      renewSpreadSeconds: 0.5,
      tickMs: 100,
      usageBurst: 1000,
      usagePerSecond: 1000,
    },
  });
  const { storeUrl, trustBundlePem } = running;
  return { running, storeUrl, trustBundlePem, adminSocket: files.adminSocket };
}

/** Replicas in turn, so that what is asked for is seldom where it was done. */
const next = () => replicas[turn++ % replicas.length]!;
const ask = (method: string, path: string, body?: object, at = next()) =>
  admin(at as never, method, path, body && json(body));
const joined = (at: Replica, kind: 'session' | 'operator') =>
  StoreClient.join(at as never, kind === 'session' ? { kind, session: SESSION } : { kind });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function bootstrap() {
  const answer = await ask('POST', '/v1/admin/join-tokens', { kind: 'session', session: SESSION });
  const { joinToken, trustBundlePem } = answer.json<JoinTokenAnswer>();
  return { storeUrl: replicas.map(({ storeUrl }) => storeUrl).join(','), trustBundlePem: trustBundlePem!, joinToken };
}

const lines = (text: string): AuditEntry[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** All chains as one replica tells them. */
async function chainsAt(at: Replica): Promise<{ chains: AuditChain[]; entries: AuditEntry[][] }> {
  const chains = (await ask('GET', '/v1/admin/audit/chains', undefined, at)).json<AuditChain[]>();
  const entries: AuditEntry[][] = [];
  for (const { chain } of chains)
    entries.push(lines((await ask('GET', `/v1/admin/audit?chain=${chain}`, undefined, at)).body.toString()));
  return { chains, entries };
}

async function expectWholeEverywhere(): Promise<void> {
  for (const at of replicas) {
    const { chains, entries } = await chainsAt(at);
    expect(chains).toHaveLength(3);
    const heads = chains.flatMap(({ head }) => head ?? []);
    const checkpoints = chains.flatMap(({ checkpoint }) => checkpoint ?? []);
    expect((await verifyAudit(entries.flat(), heads, checkpoints)).problems).toEqual([]);
  }
}

test('clients of three replicas see rotations of the intermediate and one of the root without a failed handshake', {
  timeout: 120_000,
}, async () => {
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async () => RotatingClient.join(await bootstrap())),
  );
  const status = async () => (await ask('GET', '/v1/admin/ca')).json<CaStatus>();
  const [before] = (await status()).roots;
  for (let n = 0; n < 5; n += 1) {
    await ask('POST', '/v1/admin/ca/rotate', {});
    // Who joins in that moment has a certificate that the others have just not heard of.
    clients.push(await RotatingClient.join(await bootstrap()));
    await sleep(200);
  }
  await ask('POST', '/v1/admin/ca/rotate', { root: true });
  await eventually(async () => {
    const all = await Promise.all(
      replicas.map(async (at) => (await ask('GET', '/v1/admin/ca', undefined, at)).json<CaStatus>()),
    );
    return all.every(({ roots, rotation }) => rotation === undefined && !roots.some(({ id }) => id === before!.id));
  }, 90_000);
  clients.push(await RotatingClient.join(await bootstrap()));
  await sleep(1_500);
  await Promise.all(clients.map((client) => client.stop()));
  const sum = (what: 'handshakes' | 'resumed' | 'requests') => clients.reduce((all, client) => all + client[what], 0);
  console.log(`handshakes ${sum('handshakes')}, of them resumed ${sum('resumed')}; requests ${sum('requests')}`);
  expect(clients.flatMap(({ failures }) => failures)).toEqual([]);
  expect(sum('handshakes')).toBeGreaterThan(300);
});

test('a certificate of an intermediate that a replica has not heard of yet is good there from its first request on', async () => {
  const [a, , slow] = replicas as [Replica, Replica, Replica];
  const refused: string[] = [];
  proxy.delayMs = 40;
  for (let n = 0; n < 5; n += 1) {
    await ask('POST', '/v1/admin/ca/rotate', {}, a);
    const client = await joined(a, 'session');
    const elsewhere = new StoreClient(slow, client.answer, client.tls);
    const { status, body } = await elsewhere.call('POST', '/v1/usage', json({ records: [], dropped: 0 }));
    if (status !== 204) refused.push(`${status} ${body}`);
    for (const one of [client, elsewhere]) one.close();
  }
  proxy.delayMs = 0;
  expect(refused).toEqual([]);
});

test('the audit is pruned and gets new keys through any replica, and all chains verify at each', async () => {
  const work = (n: number) =>
    Promise.all(
      replicas.map((at, replica) =>
        admin(
          at as never,
          'PUT',
          `/v1/admin/credentials/default/key-${replica}-${n}/material`,
          material({ value: 'x' }),
        ),
      ),
    );
  for (let n = 0; n < 5; n += 1) await work(n);
  await expectWholeEverywhere();
  for (let n = 5; n < 8; n += 1) {
    const at = next();
    const { status } = await ask('POST', '/v1/admin/audit/key', undefined, at);
    expect(status).toBe(200);
    await work(n);
    await expectWholeEverywhere();
  }
  await sleep(5);
  const before = new Date().toISOString();
  await work(8);
  const pruned = (await ask('POST', '/v1/admin/audit/prune', { before })).json<{ pruned: number }[]>();
  expect(pruned).toHaveLength(3);
  await work(9);
  await expectWholeEverywhere();
  const again = (await ask('POST', '/v1/admin/audit/prune', { before: new Date().toISOString() })).json<
    { pruned: number }[]
  >();
  expect(again.some(({ pruned: count }) => count > 0)).toBe(true);
  await expectWholeEverywhere();
});

test('one query over all chains finds a use that one replica has on record with its lease of another', async () => {
  const operator = await joined(replicas[0]!, 'operator');
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord()));
  await operator.call('PUT', '/v1/credentials/default/key/material', material({ value: 'sk' }));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
  operator.close();
  const client = await joined(replicas[0]!, 'session');
  const elsewhere = new StoreClient(replicas[1]!, client.answer, client.tls);
  const answer = await client.call('POST', '/v1/leases', json({ credential: 'default/key' }));
  const lease = String(answer.headers[LEASE_HEADERS.id]);
  const record = {
    atMs: Date.now(),
    count: 1,
    authority: 'api.example.com:443',
    method: 'GET',
    path: '/v1',
    status: 200,
    bytesUp: 0,
    bytesDown: 0,
    durationMs: 1,
    credential: 'default/key',
    leaseId: lease,
  };
  const reported = await elsewhere.call('POST', '/v1/usage', json({ records: [record], dropped: 0 }));
  expect([reported.status, reported.body.toString()]).toEqual([204, '']);
  for (const at of replicas) {
    const { chains, entries } = await chainsAt(at);
    const source = {
      chains: async () => chains.map(({ chain }) => chain),
      entries: async function* (range: { chain: string; kind?: string }) {
        const index = chains.findIndex(({ chain }) => chain === range.chain);
        yield* entries[index]!.filter(({ event }) => range.kind === undefined || event.kind === range.kind);
      },
    };
    const { findings } = await queryAudit(source, { kind: 'use' }, 10);
    expect(findings).toMatchObject([{ kind: 'use', requester: 'tester', issued: { id: expect.any(String) } }]);
  }
  client.close();
  elsewhere.close();
});

test('a session that joined at one replica changes at another and ends at a third: each knows at once', async () => {
  const [a, b, c] = replicas as [Replica, Replica, Replica];
  const operator = await joined(b, 'operator');
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord()));
  await operator.call('PUT', '/v1/credentials/default/key/material', material({ value: 'sk' }));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
  for (let n = 0; n < 5; n += 1) {
    const uid = `uid-${n}`;
    const client = await StoreClient.join(a as never, {
      kind: 'session',
      session: { ...SESSION, pod: { name: 'agent', uid } },
    });
    const at = replicas.map((replica) => new StoreClient(replica, client.answer, client.tls));
    const leases = () =>
      Promise.all(
        at.map(async (one) => (await one.call('POST', '/v1/leases', json({ credential: 'default/key' }))).status),
      );
    await eventually(async () => (await leases()).every((status) => status === 200), 2_000);
    expect(
      (await operator.call('PUT', `/v1/sessions?pod=${uid}`, json({ role: 'reviewer', tags: ['other'] }))).status,
    ).toBe(204);
    expect(await leases()).toEqual([403, 403, 403]);
    const told = new StoreClient(c, operator.answer, operator.tls);
    expect((await told.call('DELETE', `/v1/sessions?pod=${uid}`)).status).toBe(204);
    // One that has not heard of it has only the other reason to say no.
    for (const status of await leases()) expect([401, 403]).toContain(status);
    await eventually(async () => (await leases()).every((status) => status === 401), 2_000);
    for (const one of [client, told, ...at]) one.close();
  }
  operator.close();
});
