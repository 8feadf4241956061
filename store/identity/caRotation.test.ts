import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { generateP256 } from '../../lib/x509.ts';
import { SESSION } from '../../test/store/storeClient.ts';
import type { IdentityRow, Repository } from '../persist/repository.ts';
import { Sessions } from '../sessions.ts';
import { silentLog, TestCore } from '../testing/core.ts';
import { rootCertificatePem } from './caMaking.ts';
import { CaRotation } from './caRotation.ts';
import { CertificateAuthority } from './certificateAuthority.ts';
import { Identities } from './identities.ts';

const DAY = 86_400;

let core: TestCore;
beforeEach(async () => {
  core = await TestCore.open();
});
afterEach(() => core.remove());

const ca = () => core.store.ca;
const status = () => core.store.caRotation.status();
const tick = () => core.store.caRotation.tick();
const publicKey = () => generateP256().publicKey;
const kinds = async () => {
  const entries = await core.store.repository.transaction((tx) => tx.audit.entries('store', 0, 1000));
  return entries.map(({ event }) => event.kind).filter((kind) => kind.startsWith('ca.'));
};
const keyNames = () => core.store.repository.transaction((tx) => tx.meta.names('ca '));

async function join() {
  const token = await core.store.repository.transaction((tx) =>
    core.store.joinTokens.issue(tx, { kind: 'session', session: SESSION }),
  );
  const answer = await core.store.sessions.join(token, publicKey(), 'test');
  const identity = core.store.identities.find(new X509Certificate(answer.certificatePem).fingerprint256)!;
  return { answer, identity };
}
const renew = async (who: Awaited<ReturnType<typeof join>>) => {
  const { certificatePem } = await core.store.sessions.renew(who.identity, publicKey());
  who.identity = core.store.identities.find(new X509Certificate(certificatePem).fingerprint256)!;
};

test('certificates come from an intermediate of path length 0, with their chain', async () => {
  const { answer } = await join();
  const [leaf, intermediate] = answer.certificatePem
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .map((pem) => new X509Certificate(pem));
  const root = new X509Certificate(answer.trustBundlePem);
  expect(leaf!.verify(intermediate!.publicKey)).toBe(true);
  expect(leaf!.checkIssued(intermediate!)).toBe(true);
  expect(intermediate!.checkIssued(root)).toBe(true);
  expect(intermediate!.verify(root.publicKey)).toBe(true);
  // BasicConstraints: CA, path length 0 (RFC 5280 section 4.2.1.9).
  expect(intermediate!.raw.includes(Buffer.from('0603551d130101ff040830060101ff020100', 'hex'))).toBe(true);
  expect(intermediate!.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
});

test('the CA of an older version goes on as the root of an intermediate', async () => {
  const { key, certificatePem } = await core.store.repository.transaction(async (tx) => ({
    key: (await tx.meta.get('ca key'))!,
    certificatePem: ca().state.roots[0]!.certificatePem,
  }));
  await core.offline((db) => {
    db.exec("DELETE FROM meta WHERE name LIKE 'ca %'");
    db.prepare('INSERT INTO meta VALUES (?, ?), (?, ?)').run(
      'ca key',
      key,
      'ca certificate',
      new X509Certificate(certificatePem).raw,
    );
  });
  expect(ca().trustBundlePem).toBe(certificatePem);
  expect(ca().state.intermediates).toHaveLength(1);
});

test('an intermediate is followed by the next one by age, and forgotten once nothing stands under it', async () => {
  const first = status().intermediates[0]!.id;
  core.clock.advance(30 * DAY - 1800);
  await join();
  core.clock.advance(1800);
  await tick();
  const next = status().intermediates.at(-1)!.id;
  expect(status().intermediates).toMatchObject([
    { id: first, state: 'retiring', certificates: 1 },
    { id: next, state: 'active', certificates: 0 },
  ]);
  await tick();
  expect(status().intermediates).toHaveLength(2);
  core.clock.advance(3600);
  await tick();
  expect(status().intermediates).toMatchObject([{ id: next, state: 'active' }]);
  expect(await keyNames()).toEqual([`ca issuer key ${next}`, 'ca key', 'ca state']);
  expect(await kinds()).toEqual(['ca.intermediate-rotated']);
});

/** Lets every certificate of before end, while somebody renews, and takes the step. */
async function step(who: Awaited<ReturnType<typeof join>>): Promise<void> {
  for (const seconds of [1800, 1801]) {
    core.clock.advance(seconds);
    await renew(who);
  }
  await tick();
  core.clock.advance(120);
  await tick();
}

test('a new root issues only after every certificate has ended whose holder may not know it', async () => {
  const who = await join();
  const [old] = status().roots;
  await core.store.caRotation.rotate('root', 'owner');
  expect(status()).toMatchObject({
    roots: [{ id: old!.id, state: 'active' }, { state: 'published' }],
    rotation: { phase: 'published', waitsFor: 1 },
  });
  expect(ca().trustBundlePem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  core.clock.advance(1800);
  await renew(who);
  await tick();
  expect(status().rotation).toMatchObject({ phase: 'published', waitsFor: 1 });
  core.clock.advance(1801);
  await tick();
  expect(status().rotation).toMatchObject({ phase: 'published', waitsFor: 0 });
  core.clock.advance(119);
  await tick();
  expect(status().rotation).toMatchObject({ phase: 'published' });
  core.clock.advance(1);
  await tick();
  expect(status().rotation).toMatchObject({ phase: 'switched', waitsFor: 1 });
  expect(status().roots).toMatchObject([{ state: 'retiring', certificates: 1 }, { state: 'active' }]);
});

test('a new root does not issue before join tokens that were handed out with the old one have ended', async () => {
  await core.store.caRotation.rotate('root', 'owner');
  await tick();
  core.clock.advance(119);
  await tick();
  expect(status().rotation?.phase).toBe('published');
  core.clock.advance(1);
  await tick();
  expect(status().rotation?.phase).toBe('switched');
});

test('an old root and its keys go once every certificate under it has ended, after a restart in between too', async () => {
  const who = await join();
  const [old] = status().roots;
  await core.store.caRotation.rotate('root', 'owner');
  await step(who);
  expect(status().rotation?.phase).toBe('switched');
  await core.reopen();
  await tick();
  expect(status().roots.map(({ id }) => id)).toContain(old!.id);
  await step(who);
  expect(status().roots.map(({ state }) => state)).toEqual(['active']);
  expect(status().roots[0]!.id).not.toBe(old!.id);
  expect(status().rotation).toBeUndefined();
  expect(await keyNames()).not.toContain('ca key');
  expect(await kinds()).toEqual(['ca.root-published', 'ca.root-switched', 'ca.root-dropped']);
});

test('a change of the root that is asked for twice is one', async () => {
  await core.store.caRotation.rotate('root', 'owner');
  await core.store.caRotation.rotate('root', 'owner');
  expect(status().roots).toHaveLength(2);
  expect(await kinds()).toEqual(['ca.root-published']);
});

test('a root is replaced by age', async () => {
  core.clock.advance(5 * 365 * DAY);
  await tick();
  expect(status().rotation?.phase).toBe('published');
});

test('whoever is connected is asked to renew when the roots change, and not when only the intermediate does', async () => {
  const told: boolean[] = [];
  ca().onChange((ofTrust) => told.push(ofTrust));
  await core.store.caRotation.rotate('intermediate', 'owner');
  await core.store.caRotation.rotate('root', 'owner');
  expect(told).toEqual([false, true]);
});

test('a replica that another one was ahead of changes nothing', async () => {
  const before = ca().state;
  const other = Buffer.from(JSON.stringify(before, null, 1));
  const [, won] = await Promise.all([
    core.store.repository.transaction((tx) => tx.meta.set('ca state', other)),
    ca().replace({ ...before, intermediates: [] }, () => Promise.reject(new Error('must not run'))),
  ]);
  expect(won).toBe(false);
  expect(ca().state).toEqual(before);
});

/** What another replica has in memory that has not heard of anything since. */
async function replica() {
  const { clock, repository, settings, vault } = core.store;
  const { intermediateSeconds } = settings;
  return CertificateAuthority.load({ repository, vault, clock, log: silentLog, intermediateSeconds });
}

test('a replica that has not heard of a change of the CA issues by the new one all the same, and spends no token on the old one', async () => {
  const sessions = new Sessions({ ...core.store, ca: await replica() });
  await core.store.caRotation.rotate('intermediate', 'test');
  const token = await core.store.repository.transaction((tx) =>
    core.store.joinTokens.issue(tx, { kind: 'session', session: SESSION }),
  );
  const { certificatePem } = await sessions.join(token, publicKey(), 'test');
  const [, intermediate] = certificatePem.split(/(?<=-----END CERTIFICATE-----\n)/);
  expect(intermediate).toBe(ca().state.intermediates.at(-1)!.certificatePem);
});

test('an intermediate is not forgotten by a replica that has not heard what was issued by it a moment ago', async () => {
  const { clock, repository, settings } = core.store;
  const { certificateSeconds: seconds, trustDomain } = settings;
  const identities = new Identities({ clock, trustDomain, seconds, snapshot: await repository.load() });
  const unheard: IdentityRow[] = [];
  repository.onCommit((changes) => {
    for (const change of changes)
      if (change.kind === 'identity') unheard.push({ ...change.identity, kind: 'operator' });
  });
  await join();
  await core.store.caRotation.rotate('intermediate', 'test');
  core.clock.advance(settings.caSettleSeconds);
  const hearing: Repository = Object.create(repository, {
    caughtUp: {
      value: async () => {
        for (const row of unheard) identities.add(row);
      },
    },
  });
  const other = new CaRotation({ ...core.store, repository: hearing, identities, times: settings });
  await other.tick();
  expect(ca().state.intermediates).toHaveLength(2);
});

test.each(['roots', 'intermediates'] as const)(
  'a database into which foreign %s were put does not open',
  async (which) => {
    const certificatePem = rootCertificatePem('Other', generateP256().privateKey, core.clock.nowMs());
    const state = structuredClone(ca().state);
    const list: { id: string; certificatePem: string }[] = state[which];
    list.push({ ...list[0]!, id: '41414141', certificatePem });
    const put = core.offline((db) =>
      db.prepare("UPDATE meta SET value = ? WHERE name = 'ca state'").run(Buffer.from(JSON.stringify(state))),
    );
    await expect(put).rejects.toMatchObject({ code: 'DatabaseDamaged' });
    await core.offline((db) => db.prepare("DELETE FROM meta WHERE name LIKE 'ca %'").run()).catch(() => {});
  },
);

test('a serial number names its intermediate', async () => {
  const { identity } = await join();
  expect(identity.serial.slice(0, 8)).toBe(status().intermediates[0]!.id);
});
