import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Logger } from '../../../lib/log.ts';
import { createTestCa } from '../../../sidecar/upstream/testkit.ts';
import { Link } from '../../../store/persist/postgres/link.ts';
import { migrate } from '../../../store/persist/postgres/migrate.ts';
import { MIGRATIONS } from '../../../store/persist/postgres/migrations.ts';
import { PostgresRepository } from '../../../store/persist/postgres/repository.ts';
import type { Change, Transaction } from '../../../store/persist/repository.ts';
import { silentLog } from '../../../store/testing/core.ts';
import { credentialRecord, session } from '../../../store/testing/records.ts';
import { PostgresServer } from '../../postgres/server.ts';
import { TcpProxy } from '../../postgres/tcpProxy.ts';
import { eventually, succeeds } from './eventually.ts';

let server: PostgresServer;
const ca = createTestCa('postgres');

beforeAll(async () => {
  server = await PostgresServer.start({ tls: ca.issue({ dnsNames: ['localhost'] }) });
}, 60_000);
afterAll(() => server?.remove());

async function open(url: string, replica = 'one', log: Logger = silentLog): Promise<PostgresRepository> {
  const repository = await PostgresRepository.open({ url, replica, log });
  onTestFinished(() => repository.close());
  return repository;
}

async function follow(repository: PostgresRepository): Promise<Change[]> {
  const told: Change[] = [];
  await repository.load();
  repository.onCommit((changes) => told.push(...changes));
  return told;
}

const ENTRY = {
  seq: 1,
  at: '2026-01-01T00:00:00.000Z',
  event: { kind: 'test.happened' },
  previousHash: '00',
  hash: '01',
};

const put = (key: string) => (tx: Transaction) => tx.credentials.put(key, credentialRecord());
const keysOf = (changes: Change[]) => changes.flatMap((change) => (change.kind === 'credential' ? [change.key] : []));

test('writers that read and write the same record through three replicas never lose one another, and all succeed', async () => {
  const url = await server.newDatabase();
  const replicas = [await open(url, 'one'), await open(url, 'two'), await open(url, 'three')];
  const increment = (index: number) =>
    replicas[index % 3]!.transaction(async (tx) => {
      const count = Number((await tx.meta.get('count'))?.toString() ?? 0) + 1;
      await tx.meta.set('count', Buffer.from(String(count)));
      return count;
    });
  const counts = await Promise.all(Array.from({ length: 150 }, (_, n) => increment(n)));
  expect(counts.sort((a, b) => a - b)).toEqual(Array.from({ length: 150 }, (_, n) => n + 1));
});

test('two transactions that each read what the other writes: one of them sees the other', async () => {
  const url = await server.newDatabase();
  const [one, two] = [await open(url, 'one'), await open(url, 'two')];
  // Write skew, which snapshot isolation alone would let through: at most one of both may be on call.
  const take = (repository: PostgresRepository, mine: string, other: string) =>
    repository.transaction(async (tx) => {
      if ((await tx.meta.get(other)) !== undefined) return false;
      await tx.meta.set(mine, Buffer.from('on'));
      return true;
    });
  for (let n = 0; n < 20; n += 1) {
    const took = await Promise.all([take(one, `a${n}`, `b${n}`), take(two, `b${n}`, `a${n}`)]);
    expect(took.sort()).toEqual([false, true]);
  }
});

test('every replica is told every change once, in one order, which is that of the commits', async () => {
  const url = await server.newDatabase();
  const replicas = [await open(url, 'one'), await open(url, 'two'), await open(url, 'three')];
  const told = await Promise.all(replicas.map(follow));
  await Promise.all(Array.from({ length: 300 }, (_, n) => replicas[n % 3]!.transaction(put(`default/key-${n}`))));
  await Promise.all(replicas.map((replica) => replica.caughtUp()));
  const [first, ...others] = told.map(keysOf);
  expect(new Set(first).size).toBe(300);
  expect(first).toHaveLength(300);
  for (const other of others) expect(other).toEqual(first);
});

test('a change is known elsewhere by notification at once, and by polling where notifications are lost', async () => {
  const url = await server.newDatabase();
  const [one, two] = [await open(url, 'one'), await open(url, 'two')];
  const told = await follow(two);
  const arrives = async (key: string) => {
    const fromMs = performance.now();
    await one.transaction(put(key));
    await eventually(() => keysOf(told).includes(key), 5_000);
    return performance.now() - fromMs;
  };
  await arrives('default/warm');
  expect(await arrives('default/notified')).toBeLessThan(200);
  // Nobody hears of this one.
  await server.query(`INSERT INTO changes (change) VALUES ('{"kind":"credential","key":"default/silent"}')`, url);
  const fromMs = performance.now();
  await eventually(() => keysOf(told).includes('default/silent'), 5_000);
  expect(performance.now() - fromMs).toBeLessThan(1_500);
});

test('other replicas are told of a session that changed', async () => {
  const url = await server.newDatabase();
  const [one, two] = [await open(url, 'one'), await open(url, 'two')];
  await one.transaction((tx) => tx.sessions.put(session()));
  const told = await follow(two);
  const changed = session({ tags: ['code'] });
  await one.transaction((tx) => tx.sessions.change(changed));
  await two.caughtUp();
  expect(told).toContainEqual({ kind: 'session', session: changed });
});

test('a replica that fell behind what the log still has is told the difference', async () => {
  const url = await server.newDatabase();
  const proxy = await TcpProxy.start(server.port);
  onTestFinished(() => proxy.close());
  const [one, two] = [await open(url, 'one'), await open(proxy.url(url), 'two')];
  await one.transaction(async (tx) => {
    await tx.credentials.put('default/gone', credentialRecord());
    await tx.credentials.put('default/kept', credentialRecord());
    await tx.sessions.put(session());
    await tx.sessions.put(session({ id: 'session-2' }));
  });
  const told = await follow(two);
  let detached = 0;
  two.onDetached(() => {
    detached += 1;
  });
  proxy.cut();
  await one.transaction(async (tx) => {
    await tx.credentials.delete('default/gone');
    await tx.credentials.put('default/new', credentialRecord({ leaseSeconds: 1 }));
    await tx.sessions.end(session(), 1, 'over');
    await tx.sessions.change(session({ id: 'session-2', tags: ['code'] }));
  });
  await server.query("UPDATE changes SET at = at - interval '1 hour'", url);
  await one.transaction((tx) => tx.prune(0));
  expect((await server.query('SELECT count(*) AS n FROM changes', url))[0]!.n).toBe('0');
  await expect(two.caughtUp()).rejects.toMatchObject({ code: 'StorageFailed' });
  await eventually(() => detached === 1, 6_000);
  proxy.mend();
  await eventually(() => keysOf(told).includes('default/new'), 6_000);
  expect(told).toEqual(
    expect.arrayContaining([
      { kind: 'session', session: session(), endReason: expect.any(String) },
      { kind: 'session', session: session({ id: 'session-2', tags: ['code'] }) },
      { kind: 'credential', key: 'default/gone', record: undefined },
      { kind: 'credential', key: 'default/new', record: credentialRecord({ leaseSeconds: 1 }) },
    ]),
  );
  await one.transaction(put('default/after'));
  await eventually(() => keysOf(told).at(-1) === 'default/after', 5_000);
  expect(detached).toBe(1);
});

test('while the database cannot be reached every transaction fails with StorageFailed in seconds, and works again by itself', async () => {
  const url = await server.newDatabase();
  const proxy = await TcpProxy.start(server.port);
  onTestFinished(() => proxy.close());
  const repository = await open(proxy.url(url));
  await repository.transaction(put('default/before'));
  proxy.cut();
  const fromMs = performance.now();
  const failed = await Promise.allSettled([1, 2, 3].map((n) => repository.transaction(put(`default/lost-${n}`))));
  expect(failed.map((one) => one.status === 'rejected' && one.reason.code)).toEqual(Array(3).fill('StorageFailed'));
  expect(performance.now() - fromMs).toBeLessThan(6_000);
  proxy.mend();
  await eventually(() => succeeds(repository.transaction(put('default/after'))), 6_000);
});

test.each([
  ['of a change', async () => {}],
  [
    'that is on record',
    (tx: Transaction) => tx.audit.append('one', ENTRY, { ...ENTRY, signature: '', publicKeyPem: '' }),
  ],
])('a commit %s whose answer is lost is known to have happened, and is not done twice', async (_what, record) => {
  const url = await server.newDatabase();
  const proxy = await TcpProxy.start(server.port);
  onTestFinished(() => proxy.close());
  const repository = await open(proxy.url(url));
  const told = await follow(repository);
  let runs = 0;
  await repository.transaction(put('default/warm'));
  // From here on the server's answers stay with the proxy; it takes the commit, and then the line goes dead.
  const done = repository.transaction(async (tx) => {
    runs += 1;
    await tx.meta.set('once', Buffer.from(String(runs)));
    await tx.credentials.put('default/once', credentialRecord());
    await record(tx);
    await tx.meta.get('once');
    proxy.deafAt('COMMIT');
  });
  await done;
  expect(runs).toBe(1);
  expect(proxy.wasDeaf).toBe(true);
  expect(keysOf(told)).toEqual(['default/warm', 'default/once']);
});

test('a stopped replica does not hold up the others for long', async () => {
  const url = await server.newDatabase();
  const repository = await open(url);
  const frozen = new Client(url);
  frozen.on('error', () => {});
  await frozen.connect();
  onTestFinished(() => frozen.end().catch(() => {}));
  // As a replica that was suspended in the middle of its commit, with the lock that all need and the settings that all have.
  await frozen.query("SET idle_in_transaction_session_timeout = '5s'; BEGIN; SELECT pg_advisory_xact_lock(1373503490)");
  const fromMs = performance.now();
  const results = await Promise.allSettled([
    repository.transaction(put('default/held')),
    repository.transaction(put('default/too')),
  ]);
  await eventually(() => succeeds(repository.transaction(put('default/later'))), 8_000);
  expect(performance.now() - fromMs).toBeLessThan(8_000);
  for (const result of results) if (result.status === 'rejected') expect(result.reason.code).toBe('StorageFailed');
});

test('what others commit between the look at everything and the first listener is told to it', async () => {
  const url = await server.newDatabase();
  const [one, two] = [await open(url, 'one'), await open(url, 'two')];
  const told: Change[] = [];
  await two.load();
  await one.transaction(put('default/between'));
  await two.transaction((tx) => tx.meta.set('own', Buffer.from('x')));
  await two.caughtUp();
  two.onCommit((changes) => told.push(...changes));
  await eventually(() => told.length === 2, 5_000);
  expect(told).toEqual([
    { kind: 'credential', key: 'default/between', record: credentialRecord() },
    { kind: 'meta', name: 'own' },
  ]);
});

test('work is held by one replica, and taken over when it falls silent', async () => {
  const url = await server.newDatabase();
  const [one, two] = [await open(url, 'one'), await open(url, 'two')];
  const held = await Promise.all([one.holdWork('rotation', 1), two.holdWork('rotation', 1)]);
  expect(held.filter(Boolean)).toHaveLength(1);
  const [holder, other] = held[0] ? [one, two] : [two, one];
  expect([await holder.holdWork('rotation', 1), await other.holdWork('rotation', 1)]).toEqual([true, false]);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  expect([await other.holdWork('rotation', 1), await holder.holdWork('rotation', 1)]).toEqual([true, false]);
});

test('processes that start at the same moment on an empty database make its tables once', async () => {
  const url = await server.newDatabase();
  await Promise.all(['one', 'two', 'three', 'four'].map((replica) => open(url, replica)));
  const rows = await server.query('SELECT version FROM schema_versions', url);
  expect(rows.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, index) => index + 1));
});

test('a schema one version newer is taken, a still newer one is refused', async () => {
  const url = await server.newDatabase();
  const client = new Client(url);
  await client.connect();
  onTestFinished(() => client.end());
  const before = await open(url, 'old');
  // What an expanding step of the next version would do, while the old process goes on.
  const next = `ALTER TABLE leases ADD COLUMN reason text; ALTER TABLE meta ADD COLUMN note text NOT NULL DEFAULT '';
    CREATE TABLE another (id int); CREATE INDEX another_one ON leases (reason);`;
  await migrate(client, [...MIGRATIONS, next]);
  const work = async (repository: PostgresRepository, id: string) => {
    await repository.transaction(async (tx) => {
      await tx.sessions.put(session({ id }));
      await tx.leases.put({ id, sessionId: id, credential: 'a/b', version: 1, issuedAtMs: 0, expiresAtMs: 9 });
      await tx.meta.set(id, Buffer.from('x'));
    });
    return repository.transaction((tx) => tx.leases.get(id));
  };
  expect(await work(before, 'running')).toMatchObject({ id: 'running' });
  expect(await work(await open(url, 'started'), 'started')).toMatchObject({ id: 'started' });
  await migrate(client, [...MIGRATIONS, next, 'SELECT 1;']);
  await expect(open(url, 'too old')).rejects.toMatchObject({
    code: 'DatabaseTooNew',
    message: expect.stringContaining(`schema ${MIGRATIONS.length + 2}`),
  });
  expect(await server.query('SELECT count(*) AS n FROM schema_versions', url)).toEqual([
    { n: String(MIGRATIONS.length + 2) },
  ]);
});

test('a step that fails leaves nothing of itself', async () => {
  const url = await server.newDatabase();
  const client = new Client(url);
  await client.connect();
  onTestFinished(() => client.end());
  await expect(migrate(client, [...MIGRATIONS, 'CREATE TABLE half (id int); SELECT 1 / 0;'])).rejects.toThrow(
    'division',
  );
  await client.query('ROLLBACK');
  await migrate(client);
  expect(
    await server.query("SELECT to_regclass('half') AS half, max(version) AS version FROM schema_versions", url),
  ).toEqual([{ half: null, version: MIGRATIONS.length }]);
});

test('a connection that is still being made when its store closes does not outlive it', async () => {
  const link = new Link({ url: await server.newDatabase(), name: 'closing', log: silentLog });
  const made = link.get(10_000);
  await link.close();
  await expect(made).rejects.toMatchObject({ code: 'StorageFailed' });
  await eventually(
    async () => (await server.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'closing'")).length === 0,
    10_000,
  );
});

test('TLS is verified: the right CA and name open the database, others do not', async () => {
  const url = await server.newDatabase();
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-tls-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const file = (name: string, pem: string) => {
    const path = join(dir, `${name}.pem`);
    writeFileSync(path, pem);
    return path;
  };
  const right = file('right', ca.pem);
  const wrong = file('wrong', createTestCa('other').pem);
  const named = url.replace('127.0.0.1', 'localhost');
  const repository = await open(`${named}?sslmode=verify-full&sslrootcert=${right}`);
  await repository.transaction(put('default/key'));
  const using = await server.query(
    "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'sidekey one' AND datname = current_database()",
    url,
  );
  expect(using).toEqual([{ ssl: true }]);
  await expect(open(`${named}?sslmode=verify-full&sslrootcert=${wrong}`)).rejects.toMatchObject({
    code: 'DatabaseUnreachable',
  });
  await expect(open(`${url}?sslmode=verify-full&sslrootcert=${right}`)).rejects.toMatchObject({
    code: 'DatabaseUnreachable',
  });
});

test('the password comes from the URL or from PGPASSWORD, and is told to nobody', async () => {
  const url = await server.newDatabase();
  const bare = url.replace(`:${server.password}`, '');
  const lines: string[] = [];
  const write = (object: object, message: string) => void lines.push(JSON.stringify(object), message);
  const log: Logger = { debug: write, info: write, warn: write, error: write };
  const wrong = await open(url.replace(server.password, 'wrong-password-7'), 'one', log).catch((error: Error) => error);
  expect(wrong).toMatchObject({ code: 'DatabaseUnreachable' });
  expect(String(wrong)).not.toContain('wrong-password-7');
  process.env.PGPASSWORD = server.password;
  try {
    const repository = await open(bare, 'two', log);
    await repository.transaction(put('default/key'));
    await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sidekey two'");
    await eventually(() => succeeds(repository.transaction(put('default/again'))), 5_000);
  } finally {
    delete process.env.PGPASSWORD;
  }
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.join('\n')).not.toContain(server.password);
});

test('a server that does not wait for its disk by default does so for the store', async () => {
  const url = await server.newDatabase();
  const name = url.slice(url.lastIndexOf('/') + 1);
  await server.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
  const repository = await open(url);
  await repository.transaction(put('default/key'));
  const [row] = await server.query('SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() AS flushed', url);
  expect(row).toEqual({ flushed: true });
});
