import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { LEASE_HEADERS } from '../../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../../store/testing/records.ts';
import { PostgresServer } from '../../postgres/server.ts';
import { TcpProxy } from '../../postgres/tcpProxy.ts';
import { admin, auditOfAll, json, SESSION, StoreClient, verifiedAll } from '../../store/storeClient.ts';
import type { StoreProcess } from '../../store/storeProcess.ts';
import { eventually } from './eventually.ts';
import { Replicas } from './replicas.ts';

const KEY = 'default/rotated';
/** The others take over after 10 s; longer than that, so that what is rotated then is what fell due once. */
const ROTATE_SECONDS = 12;
let server: PostgresServer;
let databaseUrl: string;
const proxies: TcpProxy[] = [];
let replicas: Replicas;
let chains: string[];

beforeAll(async () => {
  server = await PostgresServer.start();
  databaseUrl = await server.newDatabase();
  for (let n = 0; n < 3; n += 1) proxies.push(await TcpProxy.start(server.port));
  replicas = await Replicas.start(proxies.map((proxy) => proxy.url(databaseUrl)));
  const head = async (store: StoreProcess) =>
    (await admin(store, 'GET', '/v1/admin/audit/head')).json<{ chain: string }>();
  chains = (await Promise.all(replicas.all.map(head))).map(({ chain }) => chain);
}, 60_000);
afterAll(async () => {
  await replicas?.stop();
  for (const proxy of proxies) proxy.close();
  await server?.remove();
});

/** Index of the replica that does the work that falls due for all. */
async function leader(): Promise<number> {
  const rows = await server.query("SELECT holder FROM work WHERE name = 'upkeep'", databaseUrl);
  return chains.indexOf(String(rows[0]?.holder));
}

interface Rotated {
  version: number;
  chain: string | undefined;
  atMs: number;
}

/** All versions that were ever written, as the audit has them. */
async function rotations(at: StoreProcess): Promise<Rotated[]> {
  const entries = await auditOfAll(at);
  return entries
    .filter(({ event }) => event.kind === 'material.written' && event.credential === KEY)
    .map(({ at: time, chain, event }) => ({ version: Number(event.version), chain, atMs: Date.parse(time) }))
    .sort((a, b) => a.version - b.version);
}

/** A generated credential that was just made, who leads, and who does not. */
interface Scene {
  index: number;
  leading: StoreProcess;
  other: StoreProcess;
  before: Rotated[];
  bornMs: number;
  version: number;
  /** What a sidecar of each replica is given. */
  versionsAt: () => Promise<number[]>;
}

async function scene(): Promise<Scene> {
  const [first] = replicas.all as [StoreProcess];
  const operator = await StoreClient.join(first, { kind: 'operator' });
  await operator.call('DELETE', `/v1/credentials/${KEY}`);
  const policy = { bytes: 16, encoding: 'Hex', rotateSeconds: ROTATE_SECONDS } as const;
  await operator.call(
    'PUT',
    `/v1/credentials/${KEY}`,
    json(credentialRecord({ source: 'generated', generated: policy })),
  );
  await operator.call('PUT', '/v1/integrations/default/rotated', json(integrationRecord({ credential: KEY })));
  const client = await StoreClient.join(first, { kind: 'session', session: SESSION });
  const clients = replicas.all.map((store) => new StoreClient(store, client.answer, client.tls));
  onTestFinished(() => {
    for (const one of [operator, client, ...clients]) one.close();
  });
  const versionsAt = () =>
    Promise.all(
      clients.map(async (one) =>
        Number((await one.call('POST', '/v1/leases', json({ credential: KEY }))).headers[LEASE_HEADERS.version]),
      ),
    );
  const index = await leader();
  const other = replicas.all[(index + 1) % 3]!;
  const before = await rotations(other);
  const { atMs: bornMs, version } = before.at(-1)!;
  return { index, leading: replicas.all[index]!, other, before, bornMs, version, versionsAt };
}

/** It was rotated once, by another than the one that led, which gave up. */
async function expectTakenOver({ before, index, other, version, versionsAt }: Scene): Promise<void> {
  const after = await rotations(other);
  expect(after).toHaveLength(before.length + 1);
  expect(after.at(-1)).toMatchObject({ version: version + 1 });
  expect(after.at(-1)!.chain).not.toBe(chains[index]);
  expect(await leader()).not.toBe(index);
  expect(await versionsAt()).toEqual([version + 1, version + 1, version + 1]);
}

/** What must be so however the work changed hands: one rotation each time that one fell due, in the order of the versions. */
async function expectOncePerDueTime(at: StoreProcess, before: Rotated[]): Promise<void> {
  const all = await rotations(at);
  const since = all.slice(before.length - 1);
  for (const [n, one] of since.entries()) {
    if (n === 0) continue;
    expect(one.version).toBe(since[n - 1]!.version + 1);
    // Half a second for clocks that are asked at different moments.
    expect(one.atMs - since[n - 1]!.atMs).toBeGreaterThan(ROTATE_SECONDS * 1000 - 500);
  }
  expect((await verifiedAll(at)).problems).toEqual([]);
}

test('a replica that stops right before a credential falls due and goes on when another has rotated it: rotated once, and it gives up', {
  timeout: 90_000,
}, async () => {
  const now = await scene();
  const { before, bornMs, leading, other } = now;
  await eventually(() => Date.now() > bornMs + (ROTATE_SECONDS - 0.3) * 1000, ROTATE_SECONDS * 1000);
  leading.child.kill('SIGSTOP');
  try {
    await eventually(async () => (await rotations(other)).length > before.length, 30_000);
  } finally {
    leading.child.kill('SIGCONT');
  }
  // Long enough for it to do what it would.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  await expectTakenOver(now);
  // And when the next falls due.
  await eventually(async () => (await rotations(other)).length === before.length + 2, ROTATE_SECONDS * 1000 + 10_000);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  await expectOncePerDueTime(leading, before);
});

test('of two that believe that they lead one rotates what falls due, and the other gives up', {
  timeout: 90_000,
}, async () => {
  const now = await scene();
  const { before, bornMs, index, leading, other } = now;
  await eventually(() => Date.now() > bornMs + (ROTATE_SECONDS - 1.5) * 1000, ROTATE_SECONDS * 1000);
  // The database has said that it leads, and before it hears that it is stopped, and its time is over.
  await proxies[index]!.holdAt('upkeep');
  await eventually(async () => (await leader()) === index, 2_000);
  leading.child.kill('SIGSTOP');
  try {
    await server.query("DELETE FROM work WHERE name = 'upkeep'", databaseUrl);
    await eventually(async () => (await rotations(other)).length > before.length, 20_000);
    expect(await leader()).not.toBe(index);
    proxies[index]!.release();
  } finally {
    leading.child.kill('SIGCONT');
  }
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  await expectTakenOver(now);
  await expectOncePerDueTime(leading, before);
});
