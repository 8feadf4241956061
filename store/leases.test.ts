import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CredentialRecord } from '../api/protocol.ts';
import type { Identity } from './identity/identities.ts';
import { frameOf, TestCore } from './testing/core.ts';
import { credentialRecord, integrationRecord, session } from './testing/records.ts';

const KEY = 'default/key';
let core: TestCore;
afterEach(() => core.remove());
beforeEach(async () => {
  core = await TestCore.open({ namespaceLeaseBurst: 100, namespaceLeasesPerSecond: 10 });
  await core.store.objects.applyIntegration('default/example', integrationRecord(), 'test');
});

let serial = 0;
async function begin(namespace = 'default'): Promise<Identity & { kind: 'session' }> {
  serial += 1;
  const one = session({ id: `session-${serial}`, namespace });
  const row = { serial: `${serial}`, fingerprint: `f${serial}`, kind: 'session', sessionId: one.id } as const;
  await core.store.repository.transaction(async (tx) => {
    await tx.sessions.put(one);
    await tx.identities.put({ ...row, expiresAtMs: core.clock.nowMs() + 86_400_000 });
  });
  return core.store.identities.find(row.fingerprint) as Identity & { kind: 'session' };
}
const apply = (changes: Partial<CredentialRecord> = {}) =>
  core.store.objects.applyCredential(KEY, credentialRecord(changes), 'test');
const put = (value: string) => core.store.materials.put(KEY, frameOf(value), 'test');
const lease = (identity: Identity & { kind: 'session' }, single = true) =>
  core.store.leases.issue(identity, { credential: KEY, ...(single && { single: true }) }, 'test');
const code = (expected: string) => expect.objectContaining({ code: expected });

test('a version is leased as often as maxUses says, over all sessions and at once, and a new version again', async () => {
  await apply({ maxUses: 3 });
  await put('a');
  const sessions = await Promise.all(Array.from({ length: 8 }, () => begin()));
  const results = await Promise.allSettled(sessions.map((one) => lease(one)));
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(3);
  for (const result of results) if (result.status === 'rejected') expect(result.reason).toEqual(code('UsesExhausted'));
  await expect(lease(sessions[0]!)).rejects.toThrow('give it a new value');
  await put('b');
  expect(await lease(sessions[0]!)).toMatchObject({ version: 2, single: true });
});

test('what was used up stays so over a restart and after its leases are forgotten', async () => {
  await apply({ maxUses: 1 });
  await put('a');
  const identity = await begin();
  await lease(identity);
  core.clock.advance(7_200);
  await core.store.repository.transaction((tx) => tx.prune(core.clock.nowMs() - 3_600_000));
  await core.reopen();
  await expect(lease(identity)).rejects.toEqual(code('UsesExhausted'));
});

test('what the operator is told of a Credential says when its version is used up, until there is a new one or more uses', async () => {
  await apply({ maxUses: 2 });
  await put('a');
  const identity = await begin();
  const usedUp = () => core.store.state.stored(KEY)?.usedUp;
  await lease(identity);
  expect(usedUp()).toBeUndefined();
  await lease(identity);
  expect(usedUp()).toBe(true);
  expect((await put('a')).version, 'the same value is the same version').toBe(1);
  expect(usedUp()).toBe(true);
  expect((await apply({ maxUses: 3 })).usedUp).toBeUndefined();
  expect((await apply({ maxUses: 1 })).usedUp).toBe(true);
  await core.reopen();
  expect((await core.store.objects.list()).credentials[0]?.usedUp).toBe(true);
  await put('b');
  expect(usedUp()).toBeUndefined();
});

test('a sidecar that does not know leases for one request gets none of a Credential with maxUses', async () => {
  await apply({ maxUses: 5 });
  await put('a');
  await expect(lease(await begin(), false)).rejects.toEqual(code('SidecarTooOld'));
  await apply();
  expect((await lease(await begin(), false)).single).toBe(false);
});

test('a version older than maxLifetime is not leased any more, and no lease outlives it', async () => {
  await apply({ maxLifetimeSeconds: 1_000 });
  await put('a');
  const identity = await begin();
  expect((await lease(identity)).expiresInSeconds).toBe(900);
  core.clock.advance(400);
  expect((await lease(identity)).expiresInSeconds).toBe(600);
  core.clock.advance(599.5);
  await expect(lease(identity)).rejects.toEqual(code('MaterialExpired'));
  await put('a');
  await expect(lease(identity), 'the same value is the same version').rejects.toEqual(code('MaterialExpired'));
  await put('b');
  expect(await lease(identity)).toMatchObject({ version: 2, expiresInSeconds: 900 });
});

test('a clock that jumps back does not make a version younger, nor does one that jumps forward make it older', async () => {
  await apply({ maxLifetimeSeconds: 1_000 });
  await put('a');
  const identity = await begin();
  core.clock.wallMs += 3_600_000;
  expect((await lease(identity)).expiresInSeconds).toBe(900);
  core.clock.wallMs -= 86_400_000;
  core.clock.advance(1_000);
  await expect(lease(identity)).rejects.toEqual(code('MaterialExpired'));
});

test('the age of a version is known after a restart', async () => {
  await apply({ maxLifetimeSeconds: 1_000 });
  await put('a');
  const identity = await begin();
  core.clock.advance(999.5);
  await core.reopen();
  await expect(lease(identity)).rejects.toEqual(code('MaterialExpired'));
});

test('a generated version is made anew before its life is over, so that no lease is cut short', async () => {
  const generated = { bytes: 32, encoding: 'Hex' } as const;
  await apply({ source: 'generated', generated, maxLifetimeSeconds: 3_600 });
  const identity = await begin();
  core.clock.advance(2_699);
  await core.store.tick();
  expect(await lease(identity)).toMatchObject({ version: 1, expiresInSeconds: 900 });
  core.clock.advance(1);
  await core.store.tick();
  expect(await lease(identity)).toMatchObject({ version: 2, expiresInSeconds: 900 });
});

test('what the operator is told of a Credential says when its version is too old', async () => {
  await apply({ maxLifetimeSeconds: 1_000 });
  expect((await put('a')).expiresAt).toBeUndefined();
  expect(core.store.state.stored(KEY)?.expiresAt).toBe('2026-01-01T00:16:40.000Z');
});

test('a session that asks too much leaves its namespace, and the namespace the others, what they need', async () => {
  await apply({ consumerNamespaces: ['*'] });
  await put('a');
  await core.store.objects.applyIntegration('other/example', integrationRecord(), 'test');
  const [runaway, neighbour, far] = [await begin(), await begin(), await begin('other')];
  const flood = async (who: Identity & { kind: 'session' }, count: number) =>
    (await Promise.allSettled(Array.from({ length: count }, () => lease(who)))).filter(
      (result) => result.status === 'fulfilled',
    ).length;
  expect(await flood(runaway, 1_000)).toBe(64);
  expect(await flood(neighbour, 20)).toBe(20);
  // 100 of the namespace at once: another 64 are not there for a third session.
  expect(await flood(await begin(), 64)).toBe(16);
  expect(await flood(far, 20)).toBe(20);
  await expect(lease(neighbour)).rejects.toThrow('namespace default');
  core.clock.advance(1);
  expect(await flood(neighbour, 5)).toBe(5);
});
