import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AuditEntry } from '../../api/admin.ts';
import { verifyAudit } from '../../lib/auditVerify.ts';
import type { Repository } from '../persist/repository.ts';
import { TestCore } from '../testing/core.ts';
import { session } from '../testing/records.ts';
import { Audit } from './audit.ts';
import { AuditSigner } from './signer.ts';

let core: TestCore;
beforeEach(async () => {
  core = await TestCore.open({ headFileMs: 10, refusalBurst: 3, refusalsPerSecond: 1 });
});
afterEach(() => core.remove());

const record = (n: number) => core.store.audit.record({ kind: 'test.happened', n });
const all = () => core.store.repository.transaction((tx) => tx.audit.entries('store', 0, 10_000));
const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
};

async function collect(follow: boolean, count: number, after = 0): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  const signal = new AbortController().signal;
  for await (const entry of core.store.audit.read({ after, limit: count, follow, signal })) entries.push(entry);
  return entries;
}

test('what is recorded at once is one chain, with a signed head', async () => {
  await Promise.all(Array.from({ length: 100 }, (_, n) => record(n)));
  const head = await core.store.audit.head();
  expect(await verifyAudit(await all(), [head!])).toEqual({ entries: 100, problems: [] });
  expect(head?.seq).toBe(100);
});

test('the chain goes on after a restart, with the same key', async () => {
  await record(1);
  const before = await core.store.audit.head();
  await core.reopen();
  await record(2);
  const after = await core.store.audit.head();
  expect(await verifyAudit(await all(), [before!, after!])).toEqual({ entries: 2, problems: [] });
});

test('a reader gets pages in order, from where it asks, as many as it asks for', async () => {
  await Promise.all(Array.from({ length: 600 }, (_, n) => record(n)));
  expect((await collect(false, 10_000)).map((entry) => entry.seq)).toEqual(
    Array.from({ length: 600 }, (_, n) => n + 1),
  );
  expect((await collect(false, 3, 597)).map((entry) => entry.seq)).toEqual([598, 599, 600]);
  expect((await collect(false, 2, 10)).map((entry) => entry.seq)).toEqual([11, 12]);
});

test('a follower gets what is still to come, and nothing twice', async () => {
  await record(1);
  const following = collect(true, 5);
  for (const n of [2, 3, 4, 5]) await record(n);
  expect((await following).map((entry) => entry.seq)).toEqual([1, 2, 3, 4, 5]);
});

test('a follower that goes away ends the reading', async () => {
  const gone = new AbortController();
  const reading = (async () => {
    for await (const _ of core.store.audit.read({ after: 0, limit: 10, follow: true, signal: gone.signal }));
  })();
  gone.abort();
  await reading;
});

test('the head is kept in a file beside the database', async () => {
  await record(1);
  await until(() => existsSync(core.files.auditHead));
  expect(JSON.parse(readFileSync(core.files.auditHead, 'utf8'))).toEqual(await core.store.audit.head());
  await record(2);
  await core.reopen();
  expect(JSON.parse(readFileSync(core.files.auditHead, 'utf8')).seq).toBe(2);
});

test('pruning leaves a chain that verifies from a signed checkpoint on, and is itself on record', async () => {
  for (let n = 0; n < 10; n += 1) {
    await record(n);
    core.clock.advance(60);
  }
  const kept = await core.store.audit.head();
  const before = new Date(core.clock.nowMs() - 4.5 * 60_000).toISOString();
  const [result] = await core.store.audit.prune(before, 'owner');
  expect(result).toMatchObject({ chain: 'store', pruned: 6, checkpoint: { seq: 6, pruned: 6 } });
  const [chain] = await core.store.audit.chains();
  expect(chain).toMatchObject({ chain: 'store', own: true, checkpoint: result!.checkpoint, head: { seq: 11 } });
  const entries = await all();
  expect(entries.at(-1)!.event).toMatchObject({ kind: 'audit.pruned', by: 'owner', before });
  expect(await verifyAudit(entries, [chain!.head!, kept!], [chain!.checkpoint!])).toEqual({
    entries: 5,
    problems: [],
    checkpoints: [result!.checkpoint],
  });
  expect((await collect(false, 100)).map((entry) => entry.seq)).toEqual([7, 8, 9, 10, 11]);
  expect(await core.store.audit.prune(before, 'owner')).toEqual([{ chain: 'store', pruned: 0 }]);
});

test('pruning everything keeps the last entry, and pruning again adds up', async () => {
  for (let n = 0; n < 5; n += 1) await record(n);
  core.clock.advance(60);
  const far = '2030-01-01T00:00:00.000Z';
  expect(await core.store.audit.prune(far, 'owner')).toMatchObject([{ pruned: 4 }]);
  expect(await core.store.audit.prune(far, 'owner')).toMatchObject([{ pruned: 1, checkpoint: { seq: 5, pruned: 5 } }]);
  const [chain] = await core.store.audit.chains();
  expect((await verifyAudit(await all(), [chain!.head!], [chain!.checkpoint!])).problems).toEqual([]);
});

test('what a crash in the middle of pruning left is not read, and goes the next time', async () => {
  for (let n = 0; n < 10; n += 1) await record(n);
  core.clock.advance(60);
  await record(10);
  const rows = await all();
  await core.store.audit.prune(new Date(core.clock.nowMs()).toISOString(), 'owner');
  await core.offline((db) => {
    const insert = db.prepare('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)');
    for (const { seq, at, event, previousHash, hash } of rows.slice(6, 10))
      insert.run('store', seq, at, JSON.stringify(event), previousHash, hash);
  });
  expect((await collect(false, 100)).map((entry) => entry.seq)).toEqual([11, 12]);
  core.clock.advance(60);
  await record(11);
  await core.store.audit.prune(new Date(core.clock.nowMs()).toISOString(), 'owner');
  expect((await all()).map((entry) => entry.seq)).toEqual([13, 14]);
});

test('a store starts on an audit that was pruned since its head file was written, but not on one that was cut', async () => {
  for (let n = 0; n < 5; n += 1) await record(n);
  core.clock.advance(60);
  await until(
    () => existsSync(core.files.auditHead) && JSON.parse(readFileSync(core.files.auditHead, 'utf8')).seq === 5,
  );
  const old = readFileSync(core.files.auditHead);
  await record(5);
  await core.store.audit.prune('2030-01-01T00:00:00.000Z', 'owner');
  await core.offline(() => writeFileSync(core.files.auditHead, old));
  const drop = (db: DatabaseSync) => db.exec("DELETE FROM meta WHERE name = 'audit checkpoint store'");
  await expect(core.offline(drop)).rejects.toEqual(expect.objectContaining({ code: 'AuditTruncated' }));
  renameSync(core.files.auditHead, `${core.files.auditHead}.kept`);
  await core.offline(() => {});
  const [chain] = await core.store.audit.chains();
  expect((await verifyAudit(await all(), [chain!.head!])).problems.length).toBe(1);
});

test('a new key signs from then on, across restarts, and heads of the old one still verify', async () => {
  await record(1);
  const before = await core.store.audit.head();
  const publicKeyPem = await core.store.audit.rotateKey('owner');
  await Promise.all(Array.from({ length: 20 }, (_, n) => record(n)));
  const between = await core.store.audit.head();
  expect(between!.publicKeyPem).toBe(publicKeyPem);
  expect(publicKeyPem).not.toBe(before!.publicKeyPem);
  await core.store.audit.rotateKey('owner');
  await core.reopen();
  await record(2);
  const after = await core.store.audit.head();
  expect(await verifyAudit(await all(), [after!, between!, before!])).toMatchObject({ problems: [] });
  expect((await all()).filter((entry) => entry.event.kind === 'audit.key-rotated').length).toBe(2);
});

test('what is appended at the same time as the key changes is signed by the key in force there', async () => {
  await Promise.all([
    ...Array.from({ length: 10 }, (_, n) => record(n)),
    core.store.audit.rotateKey('owner'),
    ...Array.from({ length: 10 }, (_, n) => record(n)),
  ]);
  expect(await verifyAudit(await all(), [(await core.store.audit.head())!])).toMatchObject({ problems: [] });
});

test('a head file signed by the old key is good for a store that has a new one', async () => {
  await record(1);
  await core.reopen();
  const old = readFileSync(core.files.auditHead);
  await core.store.audit.rotateKey('owner');
  await core.offline(() => writeFileSync(core.files.auditHead, old));
  expect((await core.store.audit.head())!.seq).toBe(2);
});

test('a key that another process made is taken up, and the chain says so', async () => {
  await record(1);
  const { audit, repository } = core.store;
  const old = (await audit.head())!;
  const signer = await AuditSigner.load(repository, core.store.vault);
  await repository.transaction((tx) => signer.successor(tx, core.store.vault));
  await audit.followKey();
  await record(2);
  const now = (await audit.head())!;
  expect(now.publicKeyPem).not.toBe(old.publicKeyPem);
  expect(await verifyAudit(await all(), [now, old])).toMatchObject({ problems: [] });
});

test('chains of several processes: each its own key changes, one prunes all, and all of it verifies', async () => {
  const { repository, vault } = core.store;
  const of = async (chain: string) => {
    const own = { chain, transaction: repository.transaction.bind(repository) } as Repository;
    const signer = await AuditSigner.load(own, vault);
    return new Audit({ clock: core.clock, repository: own, vault, signer });
  };
  const a = await of('a');
  const b = await of('b');
  const dead = await of('dead');
  const verdict = async () => {
    const chains = await a.chains();
    const entries: AuditEntry[] = [];
    for (const { chain } of chains)
      entries.push(...(await repository.transaction((tx) => tx.audit.entries(chain, 0, 10_000))));
    const heads = chains.flatMap(({ head }) => head ?? []);
    return verifyAudit(
      entries,
      heads,
      chains.flatMap(({ checkpoint }) => checkpoint ?? []),
    );
  };
  for (let n = 0; n < 5; n += 1) for (const audit of [a, b, dead]) await audit.record({ kind: 'test.happened', n });
  expect(await verdict()).toEqual({ entries: 15, problems: [] });
  await a.rotateKey('owner');
  await b.record({ kind: 'test.happened' });
  await b.rotateKey('owner');
  await a.record({ kind: 'test.happened' });
  await a.followKey();
  expect((await verdict()).problems).toEqual([]);
  core.clock.advance(3_600);
  for (const audit of [a, b]) await audit.record({ kind: 'test.happened' });
  // The third has not taken up the key, so it is left alone for as long as it may live.
  const before = new Date(core.clock.nowMs()).toISOString();
  await a.rotateKey('owner');
  await b.followKey();
  expect(await a.prune(before, 'owner')).toMatchObject([{ pruned: 8 }, { pruned: 8 }, { chain: 'dead', pruned: 0 }]);
  expect((await verdict()).problems).toEqual([]);
  core.clock.advance(3_600);
  expect(await a.prune(before, 'owner')).toContainEqual(expect.objectContaining({ chain: 'dead', pruned: 4 }));
  await b.record({ kind: 'test.happened' });
  expect((await verdict()).problems).toEqual([]);
});

test('a use is on record with who the session is, and a skewed clock of the sidecar hides nothing', async () => {
  const report = {
    records: [1, 2, 3].map((n) => ({
      atMs: core.clock.nowMs() + [0, 10 * 60_000, -10 * 60_000][n - 1]!,
      count: 1,
      authority: 'api.example.com:443',
      method: 'GET',
      path: '/v1',
      status: 200,
      bytesUp: 0,
      bytesDown: 0,
      durationMs: 1,
    })),
    dropped: 0,
  };
  const who = session({ pod: { name: 'agent-1', uid: 'u-1' } });
  await core.store.usage.record(who, report);
  await core.store.usage.record(who, { ...report, strict: true });
  const [reported, intended] = (await all()).map((entry) => entry.event);
  expect(reported).toMatchObject({
    kind: 'usage.reported',
    session: 'session-1',
    namespace: 'default',
    serviceAccount: 'default',
    role: 'coder',
    tags: ['llm'],
    requester: 'tester',
    pod: { name: 'agent-1', uid: 'u-1' },
  });
  expect(intended!.kind).toBe('usage.intended');
  const nowMs = core.clock.nowMs();
  expect((reported!.records as { atMs: number }[]).map(({ atMs }) => atMs)).toEqual([nowMs, nowMs, nowMs - 60_000]);
});

test.each([
  ['cut off at its end', 'DELETE FROM audit WHERE seq > 1'],
  ['replaced at its end', "UPDATE audit SET hash = 'ff' WHERE seq = 3"],
])('a store whose audit was %s does not start', async (_what, sql) => {
  for (const n of [1, 2, 3]) await record(n);
  await expect(core.offline((db) => db.exec(sql))).rejects.toEqual(expect.objectContaining({ code: 'AuditTruncated' }));
  renameSync(core.files.auditHead, `${core.files.auditHead}.kept`);
  await core.offline(() => {});
});

test('a flood of refusals gets a bounded number of entries that tell how many there were', async () => {
  const refuse = () => core.store.refusals.record('join.refused', new Error('no'), { from: 'x' });
  for (let i = 0; i < 50; i += 1) refuse();
  core.clock.advance(2);
  refuse();
  await record(1);
  const entries = (await all()).map((entry) => entry.event).filter((event) => event.kind === 'join.refused');
  expect(entries.length).toBe(4);
  expect(entries.at(-1)).toMatchObject({ leftOut: 47, code: 'InternalError' });
});
