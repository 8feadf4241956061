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

/** What scrypt makes of `x` by those parameters. */
function keyOfX(): Buffer {
  return scryptSync('x', '', 32, { N: 2, r: 1, p: 1 });
}
