import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { credentialRecord, session } from '../../testing/records.ts';
import type { Change, Transaction } from '../repository.ts';
import { openDatabase } from './database.ts';
import { SqliteRepository } from './repository.ts';

let dir: string;
let path: string;
let db: DatabaseSync;
let repository: SqliteRepository;
let fatal: Error | undefined;

function open(): void {
  db = openDatabase(path);
  repository = new SqliteRepository({
    db,
    path,
    fatal: (error) => {
      fatal = error;
    },
  });
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-sqlite-'));
  path = join(dir, 'store.db');
  fatal = undefined;
  open();
});
afterEach(async () => {
  if (db.isOpen) await repository.close();
  rmSync(dir, { recursive: true, force: true });
});

const put = (name: string, bytes = 1) => repository.transaction((tx) => tx.meta.set(name, Buffer.alloc(bytes, name)));
const has = (name: string) => repository.transaction(async (tx) => (await tx.meta.get(name)) !== undefined);
const settled = (promises: Promise<unknown>[]) =>
  Promise.allSettled(promises).then((all) =>
    all.map((one) => (one.status === 'rejected' ? String(one.reason) : 'done')),
  );

test('transactions that wait together are all or nothing each, in order', async () => {
  const order: string[] = [];
  const work = (name: string, fails = false) =>
    repository.transaction(async (tx: Transaction) => {
      order.push(name);
      await tx.meta.set(name, Buffer.from(name));
      if (fails) throw new Error(`${name} changed its mind`);
    });
  expect(await settled([work('a'), work('b', true), work('c')])).toEqual(['done', 'Error: b changed its mind', 'done']);
  expect(order).toEqual(['a', 'b', 'c']);
  expect([await has('a'), await has('b'), await has('c')]).toEqual([true, false, true]);
});

test('a statement that breaks a constraint fails its transaction alone', async () => {
  const lease = { id: 'l', sessionId: 'nobody', credential: 'a/b', version: 1, issuedAtMs: 0, expiresAtMs: 1 };
  const orphan = repository.transaction(async (tx) => {
    await tx.meta.set('orphan', Buffer.from('x'));
    await tx.leases.put(lease);
  });
  const results = await settled([put('a'), orphan, put('c')]);
  expect(results).toEqual(['done', expect.stringContaining('database could not be written'), 'done']);
  expect([await has('a'), await has('orphan'), await has('c')]).toEqual([true, false, true]);
});

test('a snapshot that is asked for in the middle of a transaction waits for it, and holds it as a whole', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const slow = repository.transaction(async (tx) => {
    await tx.meta.set('first', Buffer.from('x'));
    await promise;
    await tx.meta.set('second', Buffer.from('x'));
  });
  await new Promise((resolve) => setTimeout(resolve, 10));
  const names = repository.snapshot((tx) => tx.meta.names(''));
  setTimeout(resolve, 10);
  expect(await names).toEqual(['first', 'second']);
  await slow;
});

test('changes are told once they are durable, and only those', async () => {
  const told: Change[] = [];
  repository.onCommit((changes) => told.push(...changes));
  await settled([
    repository.transaction(async (tx) => {
      await tx.credentials.put('default/lost', credentialRecord());
      throw new Error('no');
    }),
    repository.transaction((tx) => tx.credentials.put('default/kept', credentialRecord())),
  ]);
  expect(told).toEqual([{ kind: 'credential', key: 'default/kept', record: credentialRecord() }]);
});

test('a full disk fails what cannot be written, keeps what was, and is over when there is space', async () => {
  await put('before');
  const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number };
  db.exec(`PRAGMA max_page_count = ${pages + 2}`);
  await expect(put('large', 200_000)).rejects.toMatchObject({ code: 'StorageFailed' });
  const together = await settled([put('small'), put('large', 200_000)]);
  expect(together).toEqual([expect.stringContaining('disk is full'), expect.stringContaining('disk is full')]);
  expect([await has('before'), await has('small'), await has('large')]).toEqual([true, false, false]);
  db.exec(`PRAGMA max_page_count = ${pages + 1000}`);
  await put('large', 200_000);
  expect(await has('large')).toBe(true);
  expect(fatal).toBeUndefined();
});

test('what was written is there after the process died', async () => {
  await put('kept');
  // A second connection would recover the same way after kill -9; here the first one just never closes cleanly.
  const copy = join(dir, 'copy.db');
  for (const suffix of ['', '-wal']) writeFileSync(copy + suffix, readFileSync(path + suffix));
  const other = openDatabase(copy);
  expect(other.prepare("SELECT count(*) AS n FROM meta WHERE name = 'kept'").get()).toEqual({ n: 1 });
  other.close();
});

test('the files are for their owner alone, and the pid file goes with the process', async () => {
  for (const suffix of ['', '-wal', '.pid']) expect(statSync(path + suffix).mode & 0o077).toBe(0);
  await repository.close();
  expect(existsSync(`${path}.pid`)).toBe(false);
});

test('a second store is refused by name of the first', () => {
  expect(() => openDatabase(path)).toThrow(
    expect.objectContaining({ code: 'StoreRunning', message: expect.stringContaining(`pid ${process.pid}`) }),
  );
});

test('a database that a newer version wrote is not touched', async () => {
  db.exec('PRAGMA user_version = 999');
  await repository.close();
  expect(() => openDatabase(path)).toThrow(expect.objectContaining({ code: 'DatabaseTooNew' }));
});

test.each([
  ['its header', (file: Buffer) => file.fill(0x5a, 0, 64)],
  ['a page in the middle', (file: Buffer) => file.fill(0x5a, 2 * 4096, 3 * 4096)],
  ['its end', (file: Buffer) => file.subarray(0, 3 * 4096 + 100)],
])('a database damaged in %s is refused with what to do', async (_what, damage) => {
  await put('content', 50_000);
  await repository.close();
  writeFileSync(path, damage(readFileSync(path)));
  expect(() => openDatabase(path)).toThrow(
    expect.objectContaining({ code: 'DatabaseDamaged', message: expect.stringContaining('Restore a backup') }),
  );
});

test('records of what is over are forgotten, in an order that the references allow', async () => {
  const count = () =>
    ['sessions', 'identities', 'leases'].map((table) => db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n);
  await repository.transaction(async (tx) => {
    for (const id of ['over', 'alive']) {
      await tx.sessions.put(session({ id }));
      const expiresAtMs = id === 'over' ? 50 : 500;
      await tx.identities.put({ serial: id, fingerprint: id, kind: 'session', sessionId: id, expiresAtMs });
      await tx.leases.put({ id, sessionId: id, credential: 'a/b', version: 1, issuedAtMs: 0, expiresAtMs });
    }
    await tx.sessions.end(session({ id: 'over' }), 60, 'test');
  });
  expect(count()).toEqual([2, 2, 2]);
  await repository.transaction((tx) => tx.prune(100));
  expect(count()).toEqual([1, 1, 1]);
});
