import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Selector } from '../../api/revocation.ts';
import type { Session } from '../../api/session.ts';
import type { Identity } from '../identity/identities.ts';
import { frameOf, TestCore } from '../testing/core.ts';
import { credentialRecord, integrationRecord, session } from '../testing/records.ts';

const KEY = 'default/key';
let core: TestCore;
beforeEach(async () => {
  core = await TestCore.open();
  await core.store.objects.applyCredential(KEY, credentialRecord(), 'test');
  await core.store.objects.applyIntegration('default/example', integrationRecord(), 'test');
  await core.store.materials.put(KEY, frameOf('sk'), 'test');
});
afterEach(() => core.remove());

let serial = 0;
async function begin(changes: Partial<Session> = {}): Promise<Identity & { kind: 'session' }> {
  serial += 1;
  const one = session({ id: `session-${serial}`, ...changes });
  const row = { serial: `${serial}`, fingerprint: `f${serial}`, kind: 'session', sessionId: one.id } as const;
  await core.store.repository.transaction(async (tx) => {
    await tx.sessions.put(one);
    await tx.identities.put({ ...row, expiresAtMs: core.clock.nowMs() + 3_600_000 });
  });
  return core.store.identities.find(row.fingerprint) as Identity & { kind: 'session' };
}
const lease = (identity: Identity & { kind: 'session' }) =>
  core.store.leases.issue(identity, { credential: KEY }, 'test');
const revoke = (selector: Selector, dryRun = false) =>
  core.store.revocations.revoke({ selector, reason: 'a test', dryRun }, 'owner');
const code = (expected: string) => expect.objectContaining({ code: expected });
const audited = async (kind: string) => {
  const { audit } = core.store;
  const events: object[] = [];
  const all = { after: 0, limit: 1_000, follow: false, signal: new AbortController().signal };
  for await (const { event } of audit.read(all)) if (event.kind === kind) events.push(event);
  return events;
};

const POD = { name: 'agent-0', uid: '0f8fad5b' };
const HITS: [string, Selector][] = [
  ['role', { role: 'coder' }],
  ['role in a namespace', { role: 'coder', namespace: 'default' }],
  ['tag', { tag: 'llm' }],
  ['tag in a namespace', { tag: 'llm', namespace: 'default' }],
  ['service account', { serviceAccount: 'default', namespace: 'default' }],
  ['namespace', { namespace: 'default' }],
  ['credential', { credential: KEY }],
  ['everything', { everything: true }],
];
const MISSES: [string, Selector][] = [
  ['another role', { role: 'reviewer' }],
  ['the role in another namespace', { role: 'coder', namespace: 'other' }],
  ['another tag', { tag: 'code' }],
  ['the tag in another namespace', { tag: 'llm', namespace: 'other' }],
  ['another service account', { serviceAccount: 'robot', namespace: 'default' }],
  ['another namespace', { namespace: 'other' }],
  ['another credential', { credential: 'default/other' }],
  ['another pod', { pod: 'other' }],
];

test.each(HITS)(
  'revoked by its %s a session gets no lease, its leases end, and lifted it gets one again',
  async (_, selector) => {
    const identity = await begin({ pod: POD });
    const { id } = await lease(identity);
    const answer = await revoke(selector);
    expect(answer).toMatchObject({ already: false, sessionCount: 1, leaseCount: 1, leases: [{ id, credential: KEY }] });
    expect(core.store.state.grantsOf(identity.session)).toEqual([]);
    expect(core.store.leases.count(identity.session)).toBe(0);
    await expect(lease(identity)).rejects.toEqual(code('Revoked'));
    await expect(lease(identity)).rejects.toThrow(`sidekey revoke lift ${answer.revocation!.id}`);
    const row = await core.store.repository.transaction((tx) => tx.leases.get(id));
    expect(row!.endedAtMs).toBeDefined();
    await core.store.revocations.lift(answer.revocation!.id, 'owner');
    expect((await lease(identity)).version).toBe(1);
  },
);

test.each(MISSES)('a revocation of %s leaves it what it has', async (_, selector) => {
  const identity = await begin({ pod: POD });
  expect(await revoke(selector)).toMatchObject({ sessionCount: 0, leaseCount: 0 });
  expect((await lease(identity)).version).toBe(1);
});

test('a dry run tells what it would hit, and changes nothing', async () => {
  const identity = await begin();
  const { id } = await lease(identity);
  const before = await core.store.audit.head();
  for (const selector of [{ tag: 'llm' }, { lease: id }, { session: identity.session.id }])
    expect(await revoke(selector, true)).toMatchObject({
      dryRun: true,
      already: false,
      sessions: [{ id: identity.session.id, requester: 'tester' }],
      leases: [{ id, session: identity.session.id }],
    });
  expect(core.store.revocations.list()).toEqual([]);
  expect(await core.store.audit.head()).toEqual(before);
  expect((await lease(identity)).version).toBe(1);
});

test('to revoke twice is to revoke once, also on record; and so it is after lifting', async () => {
  await begin();
  const first = await revoke({ tag: 'llm' });
  core.clock.advance(60);
  expect(await revoke({ tag: 'llm' })).toMatchObject({ already: true, revocation: first.revocation });
  expect(core.store.revocations.list()).toEqual([first.revocation]);
  expect(await audited('revocation.made')).toMatchObject([{ revocation: 'tag:llm', by: 'owner', reason: 'a test' }]);
  await core.store.revocations.lift('tag:llm', 'owner');
  await expect(core.store.revocations.lift('tag:llm', 'owner')).rejects.toEqual(code('NotFound'));
  expect(await audited('revocation.lifted')).toMatchObject([{ revocation: 'tag:llm', by: 'owner' }]);
});

test('what is revoked stays so over a restart, lease and session too', async () => {
  const one = await begin();
  const other = await begin();
  const { id } = await lease(one);
  await revoke({ lease: id });
  await revoke({ session: other.session.id });
  await revoke({ role: 'coder' });
  await core.reopen();
  expect(core.store.revocations.list().map((revocation) => revocation.id)).toEqual(['role:coder']);
  expect([...core.store.state.revocations.leasesOf(one.session.id)]).toEqual([id]);
  expect(core.store.identities.find('nobody')).toBeUndefined();
  expect(core.store.identities.session(other.session.id)).toBeUndefined();
  expect(core.store.state.grantsOf(one.session)).toEqual([]);
});

test('a lease is revoked alone and for good; the session may ask for another', async () => {
  const identity = await begin();
  const [first, second] = [await lease(identity), await lease(identity)];
  expect(await revoke({ lease: first.id })).toMatchObject({ already: false, leases: [{ id: first.id }] });
  expect(await revoke({ lease: first.id })).toMatchObject({ already: true, leases: [] });
  expect(core.store.leases.count(identity.session)).toBe(1);
  await expect(core.store.revocations.lift(`lease:${first.id}`, 'owner')).rejects.toEqual(code('NotFound'));
  await expect(revoke({ lease: 'f'.repeat(32) })).rejects.toEqual(code('NotFound'));
  expect(await audited('lease.revoked')).toMatchObject([{ lease: first.id, credential: KEY, by: 'owner' }]);
  const rows = await core.store.repository.transaction((tx) =>
    tx.leases.running(identity.session.id, core.clock.nowMs()),
  );
  expect(rows.map((row) => row.id)).toEqual([second.id]);
});

test('a revoked lease is forgotten when it would have ended', async () => {
  const identity = await begin();
  await revoke({ lease: (await lease(identity)).id });
  core.clock.advance(901);
  await core.store.revocations.prune();
  expect(core.store.state.revocations.leasesOf(identity.session.id).size).toBe(0);
});

test('with its pod revoked a session ends, and no other begins in that pod until it is lifted', async () => {
  const identity = await begin({ pod: POD });
  const neighbour = await begin({ pod: { name: 'agent-1', uid: 'another' } });
  expect(await revoke({ pod: POD.uid })).toMatchObject({ sessionCount: 1, revocation: { id: `pod:${POD.uid}` } });
  expect(core.store.identities.session(identity.session.id)).toBeUndefined();
  expect((await lease(neighbour)).version).toBe(1);
  // Whoever slipped in meanwhile has nothing either.
  await expect(lease(await begin({ pod: POD }))).rejects.toEqual(code('Revoked'));
});

test('revoked by its id a session of a pod stands against the pod, and a dry run leaves both as they are', async () => {
  const { session: mine } = await begin({ pod: POD });
  expect(await revoke({ session: mine.id }, true)).toMatchObject({ dryRun: true, sessionCount: 1 });
  expect(core.store.identities.session(mine.id)).toBeDefined();
  expect(core.store.state.revocations.ofPod(POD.uid)).toBeUndefined();
  expect(await revoke({ session: mine.id })).toMatchObject({ revocation: { id: `pod:${POD.uid}` } });
  expect(core.store.identities.session(mine.id)).toBeUndefined();
  await expect(lease(await begin({ pod: POD }))).rejects.toEqual(code('Revoked'));
});

test('what is revoked while the record of a lease is being written is not given out', async () => {
  const identity = await begin();
  const [leased, revoked] = await Promise.allSettled([lease(identity), revoke({ tag: 'llm' })]);
  expect(revoked.status).toBe('fulfilled');
  expect(leased).toMatchObject({ status: 'rejected', reason: { code: 'Revoked' } });
  const rows = await core.store.repository.transaction((tx) =>
    tx.leases.running(identity.session.id, core.clock.nowMs()),
  );
  expect(rows).toEqual([]);
});
