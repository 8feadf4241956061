import { scryptSync } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { verifyAudit } from '../../../lib/auditVerify.ts';
import { stateFiles } from '../../../lib/stateDir.ts';
import { makeBackup } from '../../../store/backup/backup.ts';
import { restoreBackup } from '../../../store/backup/restore.ts';
import { defaultSettings } from '../../../store/config.ts';
import { openCore, type Store } from '../../../store/core.ts';
import { ManualClock } from '../../../store/testing/clock.ts';
import { frameOf, silentLog } from '../../../store/testing/core.ts';
import { credentialRecord } from '../../../store/testing/records.ts';
import { ensureKekFile } from '../../../store/vault/kekFile.ts';
import { PostgresServer } from '../../postgres/server.ts';

let server: PostgresServer;
let dir: string;
const clock = new ManualClock();

beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.remove());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-restore-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const urlOf = async (engine: string) => (engine === 'PostgreSQL' ? server.newDatabase() : undefined);

async function open(name: string, databaseUrl: string | undefined): Promise<Store> {
  const files = stateFiles(join(dir, name));
  ensureKekFile(files);
  const fatal = (error: Error) => {
    throw error;
  };
  return openCore({ files, databaseUrl, clock, log: silentLog, settings: defaultSettings, fatal });
}

/** Made while the store goes on writing. */
async function backUp(store: Store, request: Parameters<typeof makeBackup>[1]): Promise<string> {
  const path = join(dir, 'backup');
  const pieces: Buffer[] = [];
  for await (const piece of makeBackup(store, request, 'test')) {
    pieces.push(Buffer.from(piece));
    await store.audit.record({ kind: 'test.happened' });
  }
  writeFileSync(path, Buffer.concat(pieces));
  return path;
}

describe.each(['SQLite', 'PostgreSQL'])('a backup of %s', (from) => {
  test('under a passphrase is whole where a rotation of the KEK would end while it is made', async () => {
    const store = await open('from', await urlOf(from));
    for (let n = 0; n < 600; n += 1) {
      await store.objects.applyCredential(`default/key-${n}`, credentialRecord({ source: 'store' }), 'test');
      await store.materials.set(`default/key-${n}`, frameOf(`secret ${n} ${'x'.repeat(400)}`), 'test');
    }
    const old = store.vault.kekId;
    const pieces: Buffer[] = [];
    let rotated = false;
    for await (const piece of makeBackup(
      store,
      { passphrase: { n: 2, r: 1, p: 1, salt: '' }, key: keyOfX() },
      'test',
    )) {
      pieces.push(Buffer.from(piece));
      // The second piece: the snapshot is taken.
      if (pieces.length !== 2) continue;
      await store.kek.start(undefined, 'test');
      await expect
        .poll(async () => (await store.kek.progress())?.problem, { timeout: 20_000 })
        .toContain('until the backup');
      expect(store.vault.kekId).not.toBe(old);
      store.kek.settled().then(() => {
        rotated = true;
      });
    }
    expect(pieces.length).toBeGreaterThan(3);
    expect(rotated).toBe(false);
    await store.kek.settled();
    expect((await store.kek.status()).keys.map(({ id }) => id)).toEqual([store.vault.kekId]);
    await store.close();

    const path = join(dir, 'backup');
    writeFileSync(path, Buffer.concat(pieces));
    const databaseUrl = await urlOf(from);
    const files = stateFiles(join(dir, 'to'));
    await restoreBackup({
      ...{ path, files, databaseUrl, passphrase: async () => Buffer.from('x'), clock, log: silentLog, force: false },
    });
    const restored = await open('to', databaseUrl);
    const { frame } = await restored.repository.transaction((tx) =>
      restored.materials.openInForce(tx, 'default/key-599', 'store'),
    );
    expect(frame.toString('latin1')).toContain('secret 599');
    await restored.close();
  }, 60_000);

  test.each(['SQLite', 'PostgreSQL'])(
    'is restored into %s',
    async (to) => {
      const store = await open('from', await urlOf(from));
      for (let n = 0; n < 600; n += 1) {
        await store.objects.applyCredential(`default/key-${n}`, credentialRecord({ source: 'store' }), 'test');
        if (n % 2 === 0) await store.materials.set(`default/key-${n}`, frameOf(`secret ${n}`), 'test');
      }
      await store.repository.transaction((tx) =>
        tx.revocations.put({ id: 'r', selector: { everything: true }, atMs: 1, by: 'x', reason: 'y' }),
      );
      const head = (await store.audit.head())!;
      const path = await backUp(store, { passphrase: { n: 2, r: 1, p: 1, salt: '' }, key: keyOfX() });
      const trust = store.ca.trustBundlePem;
      await store.close();

      const databaseUrl = await urlOf(to);
      const files = stateFiles(join(dir, 'to'));
      const options = { path, files, databaseUrl, passphrase: async () => Buffer.from('x'), clock, log: silentLog };
      const report = await restoreBackup({ ...options, force: false });
      expect(report.counts).toMatchObject({ credential: 600, material: 300, dataKey: 300, revocation: 1 });
      expect(readdirSync(files.dir)).not.toContain('store.db.restoring');
      await expect(restoreBackup({ ...options, force: false })).rejects.toMatchObject({ code: 'RestoreRefused' });

      const restored = await open('to', databaseUrl);
      expect(restored.ca.trustBundlePem).toBe(trust);
      expect((await restored.repository.load()).revocations).toHaveLength(1);
      const frame = await restored.repository.transaction(async (tx) => {
        const opened = await restored.materials.openInForce(tx, 'default/key-42', 'store');
        return opened.frame.toString('latin1');
      });
      expect(frame).toContain('secret 42');
      for (const chain of await restored.repository.transaction((tx) => tx.audit.chains())) {
        const { entries, last } = await restored.repository.transaction(async (tx) => ({
          entries: await tx.audit.entries(chain, 0, 10_000),
          last: (await tx.audit.head(chain))!,
        }));
        expect(await verifyAudit(entries, [last])).toMatchObject({ problems: [] });
        if (chain === (head.chain ?? 'store')) expect(entries[head.seq - 1]).toMatchObject({ hash: head.hash });
      }
      const { version } = await restored.materials.set('default/key-42', frameOf('new'), 'test');
      expect(version).toBe(report.versionFloor + 1);
      await restored.close();
    },
    60_000,
  );
});

describe('into PostgreSQL, over another PostgreSQL database', () => {
  const PASSPHRASE = { n: 2, r: 1, p: 1, salt: '' };
  const restoreInto = async (changes: Partial<Parameters<typeof restoreBackup>[0]>) =>
    restoreBackup({
      path: join(dir, 'backup'),
      files: stateFiles(join(dir, 'to')),
      databaseUrl: await server.newDatabase(),
      passphrase: async () => Buffer.from('x'),
      clock,
      log: silentLog,
      force: false,
      ...changes,
    });
  const isEmpty = async (url: string) =>
    (await server.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", url)).length === 0;
  const backedUp = async (): Promise<{ store: Store; old: string }> => {
    const old = await server.newDatabase();
    const store = await open('from', old);
    for (const key of ['default/kept', 'default/gone', 'default/bounded']) {
      const changes = key === 'default/bounded' ? { maxUses: 3 } : {};
      await store.objects.applyCredential(key, credentialRecord({ source: 'store', ...changes }), 'test');
      await store.materials.set(key, frameOf(`secret of ${key}`), 'test');
    }
    await backUp(store, { passphrase: PASSPHRASE, key: keyOfX() });
    return { store, old };
  };

  test('what was revoked, removed and used up since the backup stays so where the database that is replaced is named', async () => {
    const { old, store } = await backedUp();
    const selector = { credential: 'default/kept' };
    await store.repository.transaction((tx) =>
      tx.revocations.put({ id: 'since', selector, atMs: 1, by: 'x', reason: 'leaked' }),
    );
    await store.materials.remove('default/gone', 'test');
    await store.repository.transaction((tx) => tx.leases.addCount('default/bounded', 1, 2));
    for (let n = 0; n < 300; n += 1) await store.audit.record({ kind: 'test.happened' });
    for (let n = 0; n < 5; n += 1) await store.materials.set('default/kept', frameOf(`later ${n}`), 'test');
    const head = (await store.audit.head())!;
    await store.close();
    const before = await server.query('SELECT count(*) AS n FROM audit', old);

    const databaseUrl = await server.newDatabase();
    const report = await restoreInto({ databaseUrl, replacedUrl: old });
    expect(report).toMatchObject({ carried: { revocations: 1, removed: 1 }, versionFloor: 1_000_006 });
    expect(report.carried!.auditEntries).toBeGreaterThan(300);
    expect(await server.query('SELECT count(*) AS n FROM audit', old)).toEqual(before);

    const restored = await open('to', databaseUrl);
    const { materials, revocations } = await restored.repository.load();
    expect(revocations.map(({ id }) => id)).toEqual(['since']);
    expect(materials.map(({ credential }) => credential).sort()).toEqual(['default/bounded', 'default/kept']);
    expect(await restored.repository.transaction((tx) => tx.leases.count('default/bounded', 1))).toBe(2);
    for (const chain of await restored.repository.transaction((tx) => tx.audit.chains())) {
      const { entries, last } = await restored.repository.transaction(async (tx) => ({
        entries: await tx.audit.entries(chain, 0, 10_000),
        last: (await tx.audit.head(chain))!,
      }));
      expect(await verifyAudit(entries, [last])).toMatchObject({ problems: [] });
      if (chain === head.chain) expect(entries[head.seq - 1]).toMatchObject({ hash: head.hash });
    }
    await restored.close();
  });

  test.each([
    [
      'cannot be reached',
      async () => 'postgres://sidekey:hunter2@127.0.0.1:1/old',
      /cannot be read, so what it revoked/,
    ],
    ['does not exist', async () => server.url('nowhere'), /"nowhere" does not exist/],
    ['holds no store', () => server.newDatabase(), /holds no store/],
  ])(
    'where the database that is named as replaced %s nothing is restored, and nothing is made',
    async (_what, urlOf, says) => {
      const { store } = await backedUp();
      await store.close();
      const [databaseUrl, replacedUrl] = [await server.newDatabase(), await urlOf()];
      const failure = await restoreInto({ databaseUrl, replacedUrl }).catch((error) => error);
      expect(failure).toMatchObject({ code: 'RestoreRefused', message: expect.stringMatching(says) });
      expect(failure.message).not.toMatch(new RegExp(`hunter2|${server.password}`));
      expect(await isEmpty(databaseUrl)).toBe(true);
      if (replacedUrl.startsWith(server.url(''))) expect(await isEmpty(replacedUrl).catch(() => true)).toBe(true);
      // Not named, it is not looked for: then nobody counts on what it knows.
      expect((await restoreInto({ databaseUrl })).carried).toBeUndefined();
    },
  );

  test('while a replica is connected to the database that is replaced nothing is restored', async () => {
    const { old, store } = await backedUp();
    const databaseUrl = await server.newDatabase();
    await expect(restoreInto({ databaseUrl, replacedUrl: old })).rejects.toMatchObject({
      code: 'StoreRunning',
      message: expect.stringContaining(`stop sidekey ${store.repository.chain}`),
    });
    expect(await isEmpty(databaseUrl)).toBe(true);
    await store.close();
  });
});

/** What scrypt makes of `x` by those parameters. */
function keyOfX(): Buffer {
  return scryptSync('x', '', 32, { N: 2, r: 1, p: 1 });
}
