import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import type { AuditEntry, AuditHead } from '../../../api/admin.ts';
import { decodeFields } from '../../../api/fields.ts';
import { LEASE_HEADERS, type StoredCredential, type StoreError } from '../../../api/protocol.ts';
import { PostgresRepository } from '../../../store/persist/postgres/repository.ts';
import type { Transaction } from '../../../store/persist/repository.ts';
import { silentLog } from '../../../store/testing/core.ts';
import { credentialRecord, integrationRecord } from '../../../store/testing/records.ts';
import { PostgresServer } from '../../postgres/server.ts';
import { TcpProxy } from '../../postgres/tcpProxy.ts';
import { admin, json, material, SESSION, StoreClient, verifiedAll } from '../../store/storeClient.ts';
import { StoreProcess } from '../../store/storeProcess.ts';
import { eventually } from './eventually.ts';

const WRITERS = 4;
/** How long a store may take to notice that a server is gone without a word, and to be at home at the next. */
const RECOVERY_LIMIT_MS = 20_000;

interface Pair {
  primary: PostgresServer;
  standby: PostgresServer;
  /** The address that moves: where stores find the server that is written. */
  address: TcpProxy;
  /** By which the standby replicates. */
  replication: TcpProxy;
  url: string;
}

async function pair(): Promise<Pair> {
  const primary = await PostgresServer.start();
  onTestFinished(() => primary.remove());
  const url = await primary.newDatabase();
  const [address, replication] = [await TcpProxy.start(primary.port), await TcpProxy.start(primary.port)];
  const standby = await primary.standby(replication.port);
  onTestFinished(async () => {
    for (const line of [address, replication]) line.close();
    await standby.remove();
  });
  return { primary, standby, address, replication, url: address.url(url) };
}

interface Progress {
  acknowledged: { version: number; value: string } | undefined;
  /** What came after it and may have happened. */
  unsure: string[];
  codes: Set<string>;
}

/** Writes one value after the other until `stopped`. */
async function write(store: StoreProcess, credential: string, stopped: () => boolean): Promise<Progress> {
  const progress: Progress = { acknowledged: undefined, unsure: [], codes: new Set() };
  for (let n = 0; !stopped(); n += 1) {
    const value = `value ${n}`;
    const answer = await admin(store, 'PUT', `/v1/admin/credentials/${credential}/material`, material({ value }));
    if (answer.status === 200) {
      progress.acknowledged = { version: answer.json<StoredCredential>().version, value };
      progress.unsure = [];
    } else {
      progress.unsure.push(value);
      progress.codes.add(`${answer.status} ${answer.json<StoreError>().code}`);
    }
  }
  return progress;
}

test.each([
  ['ends by kill -9', false],
  ['falls silent and stays so', true],
])(
  'the primary of PostgreSQL %s in the middle of writes and its standby takes over: nothing acknowledged is lost, the store goes on by itself, and what was revoked stays so',
  {
    timeout: 120_000,
  },
  async (_what, silent) => {
    const { address, primary, standby, url } = await pair();
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-standby-'));
    const store = await StoreProcess.start(join(dir, 'state'), { databaseUrl: url });
    onTestFinished(async () => {
      await store.kill();
      rmSync(dir, { recursive: true, force: true });
    });
    const operator = await StoreClient.join(store, { kind: 'operator' });
    const keys = Array.from({ length: WRITERS + 1 }, (_, n) => `default/key-${n}`);
    for (const key of keys) {
      await operator.call('PUT', `/v1/credentials/${key}`, json(credentialRecord({ source: 'store' })));
      await operator.call('PUT', `/v1/integrations/${key}`, json(integrationRecord({ credential: key })));
    }
    operator.close();
    const revoked = keys.at(-1)!;
    await admin(store, 'PUT', `/v1/admin/credentials/${revoked}/material`, material({ value: 'leaked' }));
    const sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
    onTestFinished(() => sidecar.close());
    const lease = (credential: string) => sidecar.call('POST', '/v1/leases', json({ credential }));
    expect((await lease(revoked)).status).toBe(200);

    let stopped = false;
    const writers = keys.slice(0, WRITERS).map((key) => write(store, key, () => stopped));
    await delay(500);
    await admin(store, 'POST', '/v1/admin/revocations', json({ selector: { credential: revoked } }));
    const head = (await admin(store, 'GET', '/v1/admin/audit/head')).json<AuditHead>();
    if (silent) address.freeze();
    await primary.stop('kill');
    const fromMs = performance.now();
    let seenAgainMs: number | undefined;
    const granted: string[] = [];
    const asking = (async () => {
      while (!stopped) {
        const answers = await Promise.all([lease(revoked), lease(keys[0]!)]);
        if (answers[0]!.status === 200) granted.push(revoked);
        if (answers[1]!.status === 200 && address.isRepointed) seenAgainMs ??= performance.now();
        await delay(20);
      }
    })();
    await standby.promote();
    address.repoint(standby.port);
    const promotedMs = performance.now();
    await eventually(() => seenAgainMs !== undefined, RECOVERY_LIMIT_MS);
    await delay(300);
    stopped = true;
    const progress = await Promise.all(writers);
    await asking;
    console.log(
      `promoted after ${(promotedMs - fromMs).toFixed(0)} ms, leases again ${(seenAgainMs! - promotedMs).toFixed(0)} ms later`,
    );

    expect(granted).toEqual([]);
    for (const [n, { acknowledged, codes, unsure }] of progress.entries()) {
      for (const code of codes) expect(code).toBe('503 StorageFailed');
      expect(acknowledged?.version).toBeGreaterThan(3);
      const found = await lease(keys[n]!);
      const value = decodeFields(found.body).get('value')!.toString();
      const version = Number(found.headers[LEASE_HEADERS.version]);
      if (value === acknowledged!.value) expect(version).toBe(acknowledged!.version);
      else expect(unsure).toContain(value);
      expect(version).toBeGreaterThanOrEqual(acknowledged!.version);
    }
    expect(store.child.exitCode).toBeNull();
    expect((await verifiedAll(store)).problems).toEqual([]);
    const entries = (await admin(store, 'GET', `/v1/admin/audit?after=${head.seq - 1}&limit=1`)).body.toString();
    expect(JSON.parse(entries) as AuditEntry).toMatchObject({ seq: head.seq, hash: head.hash });
  },
);

test('a commit that a failover has lost is not taken for one whose number the new primary gives to another', {
  timeout: 90_000,
}, async () => {
  const { address, primary, replication, standby, url } = await pair();
  const repository = await PostgresRepository.open({ url, replica: 'one', log: silentLog });
  onTestFinished(() => repository.close());
  const put = (key: string) => (tx: Transaction) => tx.credentials.put(key, credentialRecord());
  await repository.transaction(put('default/before'));

  // From here on nothing reaches the standby, so the commit waits for it, in vain.
  replication.freeze();
  const outcome = repository.transaction(put('default/lost')).then(
    () => 'acknowledged',
    (error: { code: string }) => error.code,
  );
  const waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
  await eventually(async () => (await primary.query(waits)).length > 0, 5_000);
  address.freeze();
  await primary.stop('kill');
  await standby.promote();
  // Others go on with the numbers of transactions that the standby has never heard of.
  const other = new Client(standby.url(new URL(url).pathname.slice(1)));
  other.on('error', () => {});
  await other.connect();
  onTestFinished(() => other.end());
  for (let n = 0; n < 20; n += 1) await other.query("INSERT INTO meta VALUES ($1, 'of another')", [`other ${n}`]);
  address.repoint(standby.port);
  address.cut();
  address.mend();

  const told = await outcome;
  expect(['acknowledged', 'StorageFailed']).toContain(told);
  const there = (await other.query("SELECT 1 FROM credentials WHERE key = 'default/lost'")).rowCount === 1;
  if (told === 'acknowledged') expect(there).toBe(true);
  await eventually(
    async () => (await repository.transaction((tx) => tx.credentials.get('default/before'))) !== undefined,
    10_000,
  );
});
