import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeFields } from '../../api/fields.ts';
import { verifyAudit } from '../../lib/auditVerify.ts';
import { type StateFiles, stateFiles } from '../../lib/stateDir.ts';
import { generateP256 } from '../../lib/x509.ts';
import { SESSION } from '../../test/store/storeClient.ts';
import type { Identity } from '../identity/identities.ts';
import { frameOf, silentLog, TestCore } from '../testing/core.ts';
import { credentialRecord, integrationRecord } from '../testing/records.ts';
import { backupRequest, makeBackup } from './backup.ts';
import { keyOfPassphrase, newScryptParameters } from './passphrase.ts';
import { inspectBackup, type RestoreOptions, restoreBackup } from './restore.ts';

const PASSPHRASE = 'correct horse battery staple';
/** Enough for tests. */
const SCRYPT = { ...newScryptParameters(), n: 1024 };
const SECRET = 'sk-live-not-in-the-file';

let core: TestCore;
let dir: string;
let file: string;
beforeEach(async () => {
  core = await TestCore.open();
  dir = mkdtempSync(join(tmpdir(), 'sidekey-backup-'));
  file = join(dir, 'backup');
});
afterEach(async () => {
  await core.remove();
  rmSync(dir, { recursive: true, force: true });
});

async function backUp(under: 'passphrase' | 'kek' = 'passphrase', path = file): Promise<void> {
  const request =
    under === 'kek'
      ? undefined
      : backupRequest(
          encodeFields([
            ['passphrase', Buffer.from(JSON.stringify(SCRYPT))],
            ['key', await keyOfPassphrase(Buffer.from(PASSPHRASE), SCRYPT)],
          ]),
        );
  const pieces: Buffer[] = [];
  for await (const piece of makeBackup(core.store, request, 'owner')) pieces.push(Buffer.from(piece));
  writeFileSync(path, Buffer.concat(pieces));
}

function options(changes: Partial<RestoreOptions> = {}): RestoreOptions {
  return {
    path: file,
    files: core.files,
    passphrase: async () => Buffer.from(PASSPHRASE),
    force: true,
    clock: core.clock,
    log: silentLog,
    ...changes,
  };
}

const restore = (changes: Partial<RestoreOptions> = {}) => core.stopped(() => restoreBackup(options(changes)));
/** Somewhere else, where nothing of the old store is at hand. */
const elsewhere = (): StateFiles => stateFiles(join(dir, 'elsewhere'));
const refused = (code: string) => expect.objectContaining({ code });

async function give(credential: string, value = SECRET, changes = {}): Promise<number> {
  const { materials, objects } = core.store;
  await objects.applyCredential(credential, credentialRecord({ source: 'store', ...changes }), 'test');
  return (await materials.set(credential, frameOf(value), 'test')).version;
}

async function joined(): Promise<Identity & { kind: 'session' }> {
  const token = await core.store.repository.transaction((tx) =>
    core.store.joinTokens.issue(tx, { kind: 'session', session: SESSION }),
  );
  const { certificatePem } = await core.store.sessions.join(token, generateP256().publicKey, 'test');
  const { fingerprint256 } = new X509Certificate(certificatePem);
  return core.store.identities.find(fingerprint256) as Identity & { kind: 'session' };
}

async function lease(credential = 'default/key'): Promise<string> {
  const issued = await core.store.leases.issue(await joined(), { credential }, 'test');
  return issued.frame.toString('latin1');
}

async function grant(credential = 'default/key'): Promise<void> {
  await core.store.objects.applyIntegration('default/example', integrationRecord({ credential }), 'test');
}

const audit = (after = 0) => core.store.repository.transaction((tx) => tx.audit.entries('store', after, 10_000));
const kinds = async (after = 0) => (await audit(after)).map(({ event }) => event.kind);

test.each(['passphrase', 'kek'] as const)('a store comes back from a backup under a %s as it was', async (under) => {
  await give('default/key');
  await grant();
  await core.store.caRotation.rotate('intermediate', 'test');
  const ca = core.store.ca.trustBundlePem;
  await backUp(under);
  await restore();
  expect(await lease()).toContain(SECRET);
  expect(core.store.ca.trustBundlePem).toBe(ca);
});

test('a backup under a passphrase comes back without the KEK, under a new one', async () => {
  await give('default/key');
  await grant();
  await backUp();
  const files = elsewhere();
  const report = await restoreBackup(options({ files, force: false }));
  expect(report).toMatchObject({ epoch: 1, lostEntries: 0 });
  expect(report.counts).toMatchObject({ credential: 1, integration: 1, material: 1, dataKey: 1 });
  expect(readFileSync(files.kek, 'utf8')).not.toBe(readFileSync(core.files.kek, 'utf8'));
  await core.stopped(async () => {
    for (const name of ['kek', 'database', 'auditHead'] as const)
      writeFileSync(core.files[name], readFileSync(files[name]), { mode: 0o600 });
  });
  expect(await lease()).toContain(SECRET);
});

test('a backup under the KEK is refused where the KEK is not, or is another one', async () => {
  await give('default/key');
  await backUp('kek');
  const files = elsewhere();
  await expect(restoreBackup(options({ files }))).rejects.toEqual(refused('KekMissing'));
  const other = await TestCore.open();
  await other.stopped(() =>
    expect(restoreBackup(options({ files: other.files }))).rejects.toEqual(refused('BackupWrongKey')),
  );
  await other.remove();
});

test('nothing in a backup can be read without its key', async () => {
  await give('default/key');
  await backUp();
  const bytes = readFileSync(file);
  for (const text of [SECRET, 'default/key', 'api.example.com', PASSPHRASE]) expect(bytes.includes(text)).toBe(false);
});

test('a backup is on record in the store and in itself', async () => {
  await backUp();
  expect(await kinds()).toContain('store.backed-up');
  const { manifest } = await inspectBackup(options());
  expect(manifest.heads).toMatchObject([{ seq: (await audit()).length }]);
});

test('a wrong passphrase is told from a damaged file', async () => {
  await backUp();
  const wrong = options({ passphrase: async () => Buffer.from('something else') });
  await expect(inspectBackup(wrong)).rejects.toEqual(refused('BackupWrongKey'));
});

test('a backup that is changed anywhere or cut off anywhere is refused, and nothing is changed', async () => {
  for (let n = 0; n < 300; n += 1) await give(`default/key-${n}`, 'x'.repeat(500));
  await backUp();
  const whole = readFileSync(file);
  expect(whole.length).toBeGreaterThan(3 * 65_552);
  const headerEnd = 17 + 4 + whole.readUInt32BE(17);
  const codes = new Set<string>();
  const attempt = async (bytes: Buffer) => {
    writeFileSync(file, bytes);
    const failure = await inspectBackup(options()).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    );
    codes.add(failure);
    expect(failure).toMatch(/^Backup/);
  };
  for (let round = 0; round < 40; round += 1) {
    const at = headerEnd + Math.floor(Math.random() * (whole.length - headerEnd));
    const flipped = Buffer.from(whole);
    flipped[at]! ^= 1 << (round % 8);
    await attempt(flipped);
    await attempt(whole.subarray(0, at));
  }
  // At the ends of chunks, where only the mark of the last one tells.
  for (const chunks of [0, 1, 2]) await attempt(whole.subarray(0, headerEnd + chunks * 65_552));
  await attempt(Buffer.concat([whole, Buffer.alloc(1)]));
  // Two chunks that changed places.
  const at = (chunk: number) => whole.subarray(headerEnd + chunk * 65_552, headerEnd + (chunk + 1) * 65_552);
  await attempt(Buffer.concat([whole.subarray(0, headerEnd), at(1), at(0), whole.subarray(headerEnd + 2 * 65_552)]));
  const otherDate = Buffer.from(whole);
  otherDate.write('2027', whole.indexOf('"createdAt":"') + 13);
  await attempt(otherDate);
  expect([...codes]).toEqual(['BackupDamaged']);
  const before = readFileSync(core.files.kek);
  await core.stopped(async () => {
    const database = readFileSync(core.files.database);
    await expect(restoreBackup(options())).rejects.toEqual(refused('BackupDamaged'));
    expect(readFileSync(core.files.database).equals(database)).toBe(true);
  });
  expect(readFileSync(core.files.kek)).toEqual(before);
});

test.each([
  ['something else', Buffer.from('PK\x03\x04 something else altogether, and long enough to have a header')],
  ['nothing', Buffer.alloc(0)],
  [
    'a header that is none',
    Buffer.concat([Buffer.from('sidekey backup 1\n'), Buffer.from([0, 0, 0, 2]), Buffer.from('{]')]),
  ],
  ['a header without end', Buffer.concat([Buffer.from('sidekey backup 1\n'), Buffer.from([0x7f, 0, 0, 0])])],
  ['a newer version', Buffer.from('sidekey backup 2\n\0\0\0\x02{}')],
  [
    'a passphrase that costs too much',
    (() => {
      const json = JSON.stringify({ key: { passphrase: { n: 2 ** 30, r: 8, p: 1, salt: '' } }, check: '', nonce: '' });
      const length = Buffer.alloc(4);
      length.writeUInt32BE(json.length);
      return Buffer.concat([Buffer.from('sidekey backup 1\n'), length, Buffer.from(json)]);
    })(),
  ],
])('a file with %s is refused as foreign', async (_what, bytes) => {
  writeFileSync(file, bytes);
  await expect(inspectBackup(options())).rejects.toEqual(refused('BackupForeign'));
});

test('a store that is there is not replaced unless that is said, and is kept aside then', async () => {
  await backUp();
  await core.stopped(async () => {
    await expect(restoreBackup(options({ force: false }))).rejects.toEqual(refused('RestoreRefused'));
    const { replaced } = await restoreBackup(options());
    expect(replaced).toBe(`${core.files.database}.before-restore`);
    expect(statSync(replaced!).mode & 0o077).toBe(0);
    expect(existsSync(`${core.files.database}.restoring`)).toBe(false);
  });
});

test('a store that runs is not replaced', async () => {
  await backUp();
  await expect(restoreBackup(options())).rejects.toEqual(refused('StoreRunning'));
});

test('sessions, identities, leases and join tokens of before are void', async () => {
  await give('default/key');
  await grant();
  const token = await core.store.repository.transaction((tx) =>
    core.store.joinTokens.issue(tx, { kind: 'session', session: SESSION }),
  );
  const identity = await joined();
  await lease();
  await backUp();
  await restore();
  expect([...core.store.identities.sessions()]).toEqual([]);
  expect(core.store.identities.alive(identity)).toBe(false);
  await expect(core.store.sessions.join(token, generateP256().publicKey, 'test')).rejects.toEqual(
    refused('JoinTokenInvalid'),
  );
});

test('what was revoked before the backup stays revoked', async () => {
  const revocation = { id: 'r1', selector: { everything: true } as const, atMs: 1, by: 'test', reason: 'leak' };
  await core.store.repository.transaction((tx) => tx.revocations.put(revocation));
  await backUp();
  const files = elsewhere();
  await restoreBackup(options({ files }));
  await core.stopped(async () => {
    for (const name of ['kek', 'database', 'auditHead'] as const)
      writeFileSync(core.files[name], readFileSync(files[name]), { mode: 0o600 });
  });
  expect((await core.store.repository.load()).revocations).toEqual([revocation]);
});

test('what was revoked or removed since the backup stays so where the database that is replaced can be read', async () => {
  await give('default/key');
  await give('default/gone');
  await backUp();
  const revocation = { id: 'r2', selector: { role: 'coder' }, atMs: 2, by: 'test', reason: 'leak' };
  await core.store.repository.transaction((tx) => tx.revocations.put(revocation));
  await core.store.materials.remove('default/gone', 'test');
  const report = await restore();
  expect(report.carried).toMatchObject({ revocations: 1, removed: 1 });
  const snapshot = await core.store.repository.load();
  expect(snapshot.revocations).toEqual([revocation]);
  expect(snapshot.materials.map(({ credential }) => credential)).toEqual(['default/key']);
});

test('a restore says how many entries of the audit are lost where only the head of it is left', async () => {
  await give('default/key');
  await backUp();
  const files = elsewhere();
  const { seq } = (await core.store.audit.head())!;
  await give('default/later');
  await core.stopped(async () => {
    const { auditHead } = core.files;
    await restoreBackup(options({ files }));
    rmSync(files.database);
    writeFileSync(files.auditHead, readFileSync(auditHead));
    const report = await restoreBackup(options({ files }));
    expect(report.carried).toBeUndefined();
    expect(report.lostEntries).toBeGreaterThan(0);
    expect(report.lostEntries).toBe(JSON.parse(readFileSync(auditHead, 'utf8')).seq - seq);
  });
});

test('a credential with a bound on its uses is not good for more of them after a restore', async () => {
  await give('default/key', SECRET, { maxUses: 1 });
  await core.store.repository.transaction((tx) => tx.leases.addCount('default/key', 1, 1));
  await backUp();
  await restore();
  const count = () => core.store.repository.transaction((tx) => tx.leases.count('default/key', 1));
  expect(await count()).toBe(1);
  await restore();
  expect(await count()).toBe(1);
});

test('versions go on above any that was ever given, also of credentials that the backup does not know', async () => {
  expect(await give('default/key')).toBe(1);
  await backUp();
  expect(await give('default/key', 'second')).toBe(2);
  expect(await give('default/later', 'later')).toBe(1);
  const { versionFloor } = await restore();
  expect(await leasedVersion()).toBe(1);
  expect(await give('default/key', 'third')).toBe(versionFloor + 1);
  expect(await give('default/later', 'again')).toBeGreaterThan(1);
  const next = await restore();
  expect(next.versionFloor).toBeGreaterThan(versionFloor + 1);
  expect(await give('default/key', 'fourth')).toBe(next.versionFloor + 1);

  async function leasedVersion(): Promise<number> {
    await grant();
    return (await core.store.leases.issue(await joined(), { credential: 'default/key' }, 'test')).version;
  }
});

test('each restore begins a new epoch', async () => {
  await backUp();
  expect((await restore()).epoch).toBe(1);
  expect((await restore()).epoch).toBe(2);
  await backUp();
  expect((await restore()).epoch).toBe(3);
});

test('the audit goes on as one chain, with what happened since the backup and an entry that names the backup', async () => {
  await give('default/key');
  await backUp();
  const { seq, hash } = (await core.store.audit.head())!;
  await give('default/later');
  const report = await restore();
  expect(report.carried!.auditEntries).toBeGreaterThan(0);
  const entries = await audit();
  expect(await verifyAudit(entries, [(await core.store.audit.head())!])).toMatchObject({ problems: [] });
  const restored = entries.find(({ event }) => event.kind === 'store.restored')!;
  expect(restored.event).toMatchObject({ epoch: 1, backup: { heads: [{ chain: 'store', seq, hash }] } });
  expect(await kinds(seq)).toEqual(expect.arrayContaining(['material.written', 'store.restored']));
});

test('a store does not start on a database that a restore has left half done', async () => {
  await expect(core.offline((db) => db.prepare("INSERT INTO meta VALUES ('restoring', x'00')").run())).rejects.toEqual(
    refused('DatabaseDamaged'),
  );
});
