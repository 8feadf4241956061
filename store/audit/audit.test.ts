import { existsSync, readFileSync, renameSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AuditEntry } from '../../api/admin.ts';
import { verifyAudit } from '../../lib/auditVerify.ts';
import { TestCore } from '../testing/core.ts';

let core: TestCore;
beforeEach(async () => {
  core = await TestCore.open({ headFileMs: 10, refusalBurst: 3, refusalsPerSecond: 1 });
});
afterEach(() => core.remove());

const record = (n: number) => core.store.audit.record({ kind: 'test.happened', n });
const all = () => core.store.repository.transaction((tx) => tx.auditEntries('store', 0, 10_000));
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
