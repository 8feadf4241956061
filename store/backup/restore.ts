import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { AuditHead } from '../../api/admin.ts';
import type { KekSpec } from '../../api/bootstrap.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { type StateFiles, stateFiles } from '../../lib/stateDir.ts';
import { Audit } from '../audit/audit.ts';
import { AuditHeadFile } from '../audit/headFile.ts';
import { AuditSigner } from '../audit/signer.ts';
import { storeError, storeErrorCode } from '../errors.ts';
import { openRepository } from '../persist/open.ts';
import type { Repository } from '../persist/repository.ts';
import { KekError } from '../vault/kek.ts';
import { ensureKekFile, syncDirectory } from '../vault/kekFile.ts';
import { readKekPlaces } from '../vault/kekPlaces.ts';
import { openKek, sameKek } from '../vault/kekSpec.ts';
import { openVault } from '../vault/openVault.ts';
import type { Vault } from '../vault/vault.ts';
import { backupKeyName } from './backup.ts';
import { BackupFile } from './backupFile.ts';
import { type CarriedOver, carryOver } from './carryOver.ts';
import { epochOf, setEpoch, setVersionFloor, VERSION_JUMP, versionFloor } from './epoch.ts';
import type { BackupHeader } from './header.ts';
import { importRows, markRestored } from './importRows.ts';
import { keyOfPassphrase } from './passphrase.ts';
import { openReplaced } from './replaced.ts';

export interface RestoreOptions {
  path: string;
  files: StateFiles;
  /** postgres://…; without one it is restored into the state directory. */
  databaseUrl?: string | undefined;
  /** postgres://… of the database that is replaced, which is read and left as it is; without one that in the state directory. */
  replacedUrl?: string | undefined;
  kek?: KekSpec | undefined;
  /** Asked for if the backup is sealed by one. */
  passphrase: () => Promise<Buffer>;
  /** Replaces the store that is there. */
  force: boolean;
  clock: Clock;
  log: Logger;
}

/** What it takes to read a backup. */
type ReadOptions = Omit<RestoreOptions, 'force' | 'databaseUrl' | 'replacedUrl'>;

export interface RestoreReport {
  createdAt: string;
  epoch: number;
  /** Versions from now on are above it. */
  versionFloor: number;
  counts: BackupFile['counts'];
  /** From the store that was replaced; undefined where there was none that could be read. */
  carried?: CarriedOver;
  /** Entries that the audit.head file knows of and nothing else does: what they revoked is not known. */
  lostEntries: number;
  /** Where the database that was replaced is now. */
  replaced?: string;
}

/** Reads a backup to its end without changing anything. @throws BackupForeign, BackupWrongKey, BackupDamaged, KekMissing */
export function inspectBackup(options: ReadOptions): Promise<BackupFile> {
  return BackupFile.verify(options.path, (header) => keyOf(header, options));
}

/**
 * Puts the store into the state of the backup, in a new epoch: sessions, identities, join tokens and leases of before are void,
 * revocations stay, versions go on above every one that was ever given.
 *
 * @throws RestoreRefused (also where the database at `replacedUrl` cannot be read), StoreRunning, and as `inspectBackup`: nothing was changed then
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const { databaseUrl, files, force, log } = options;
  const backup = await inspectBackup(options);
  const there = databaseUrl === undefined && existsSync(files.database);
  if (there && !force) throw storeError('RestoreRefused');
  mkdirSync(files.dir, { recursive: true, mode: 0o700 });
  const old = await openOld(options, backup, there);
  const place = databaseUrl === undefined ? `${files.database}.restoring` : undefined;
  if (place !== undefined) removeDatabase(place);
  const newKekFile = missingKekFile(options);
  if (newKekFile !== undefined) ensureKekFile({ ...files, kek: newKekFile, database: place ?? files.database });
  const repository = await openRepository({
    files: { ...files, ...(place !== undefined && { database: place }) },
    databaseUrl,
    log,
    fatal: (error) => log.error({ error: error.message }, 'the database failed'),
  });
  let head: AuditHead | undefined;
  let report: RestoreReport;
  try {
    if (databaseUrl !== undefined) await requireEmpty(repository);
    const vault = await vaultOf(repository, options);
    try {
      const highest = await importRows(backup, repository, vault);
      report = await begin({ backup, highest, repository, vault, old, options });
      head = await repository.transaction((tx) => tx.audit.head(repository.chain));
    } finally {
      vault.close();
    }
  } finally {
    await repository.close();
    await old?.close();
  }
  if (existsSync(files.auditHead)) renameSync(files.auditHead, `${files.auditHead}.before-restore`);
  if (place === undefined) return report;
  const replaced = there ? `${files.database}.before-restore` : undefined;
  if (replaced !== undefined) {
    removeDatabase(replaced);
    for (const suffix of ['-wal', '']) moveIfThere(files.database + suffix, replaced + suffix);
  }
  renameSync(place, files.database);
  syncDirectory(dirname(files.database));
  writeHead(options, repository.chain, head);
  return { ...report, ...(replaced !== undefined && { replaced }) };
}

/** The first entry of the new epoch. */
async function begin(restore: {
  backup: BackupFile;
  /** Version in the backup. */
  highest: number;
  repository: Repository;
  vault: Vault;
  old: Repository | undefined;
  options: RestoreOptions;
}): Promise<RestoreReport> {
  const { backup, old, options, repository, vault } = restore;
  const { clock, files } = options;
  const { counts, manifest } = backup;
  const {
    epoch: oldEpoch = 0,
    highest: oldHighest = 0,
    ...carried
  } = old === undefined ? {} : await carryOver(old, repository);
  const last = Math.max(restore.highest, oldHighest);
  const signer = await AuditSigner.load(repository, vault);
  const audit = new Audit({ clock, repository, vault, signer });
  return repository.transaction(async (tx) => {
    const epoch = Math.max(await epochOf(tx), oldEpoch) + 1;
    const floor = Math.max(last, await versionFloor(tx)) + VERSION_JUMP;
    const kept = keptHead(files);
    const end = await tx.audit.end(kept?.chain ?? repository.chain);
    const lostEntries = Math.max(0, (kept?.seq ?? 0) - (end?.seq ?? 0));
    await setEpoch(tx, epoch);
    await setVersionFloor(tx, floor);
    await audit.append(tx, {
      kind: 'store.restored',
      epoch,
      versionFloor: floor,
      backup: {
        createdAt: manifest.createdAt,
        heads: manifest.heads.map(({ chain = 'store', seq, hash }) => ({ chain, seq, hash })),
      },
      ...(old !== undefined && { carried }),
      lostEntries,
    });
    await markRestored(tx);
    return {
      createdAt: manifest.createdAt,
      epoch,
      versionFloor: floor,
      counts,
      lostEntries,
      ...(old !== undefined && { carried: carried as CarriedOver }),
    };
  });
}

async function keyOf(header: BackupHeader, options: ReadOptions): Promise<Buffer> {
  if ('passphrase' in header.key) return keyOfPassphrase(await options.passphrase(), header.key.passphrase);
  const { id, sealed } = header.key.kek;
  const missing = missingKekFile(options);
  if (missing !== undefined)
    throw storeError('KekMissing', `The backup is under the KEK: put it back as ${missing} first.`);
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-restore-'));
  try {
    const scratch = await openRepository({ files: stateFiles(dir), log: options.log, fatal: () => {} });
    try {
      const vault = await vaultOf(scratch, options);
      try {
        return await vault.openOwn(backupKeyName(id), Buffer.from(sealed, 'base64'));
      } finally {
        vault.close();
      }
    } finally {
      await scratch.close();
    }
  } catch (error) {
    if (error instanceof KekError) throw storeError('BackupWrongKey', undefined, { cause: error });
    throw error;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function vaultOf(
  repository: Repository,
  { clock, files, kek, log }: Pick<RestoreOptions, 'clock' | 'files' | 'kek' | 'log'>,
): Promise<Vault> {
  const spec = kekOf({ files, kek });
  return openVault({ repository, spec, stateDir: files.dir, clock, log, dataKeySeconds: 60, dataKeyLimit: 64 });
}

/** The key file, where there is none yet and nothing says that the keys are elsewhere. */
function missingKekFile(options: Pick<RestoreOptions, 'files' | 'kek'>): string | undefined {
  const kek = kekOf(options);
  if (!('file' in kek)) return undefined;
  const path = resolve(options.files.dir, kek.file);
  return existsSync(path) ? undefined : path;
}

/** Where the keys are: as the bootstrap says, else the key file; if that holds none any more, where a rotation has put them. */
function kekOf({ files, kek }: Pick<RestoreOptions, 'files' | 'kek'>): KekSpec {
  if (kek !== undefined) return kek;
  const file = { file: files.kek };
  const place = readKekPlaces(files.dir).find((one) => !sameKek(one, file, files.dir));
  if (place === undefined) return file;
  if (!existsSync(files.kek)) return place;
  const provider = openKek(file, files.dir);
  try {
    return provider.keys.length > 0 ? file : place;
  } finally {
    provider.close();
  }
}

/** The store that is replaced, if there is one whose database can still be read. @throws StoreRunning, RestoreRefused */
async function openOld(
  { files, log, replacedUrl }: RestoreOptions,
  backup: BackupFile,
  there: boolean,
): Promise<Repository | undefined> {
  if (replacedUrl !== undefined) return openReplaced({ url: replacedUrl, files, log, backup });
  if (!there) return undefined;
  try {
    return await openRepository({ files, log, fatal: () => {} });
  } catch (error) {
    if (storeErrorCode(error) === 'StoreRunning') throw error;
    log.warn(
      { error: String(error) },
      'what was revoked since the backup is not known: the database there cannot be read',
    );
    return undefined;
  }
}

async function requireEmpty(repository: Repository): Promise<void> {
  const empty = await repository.transaction(
    async (tx) => (await tx.meta.names('')).length === 0 && (await tx.audit.chains()).length === 0,
  );
  if (!empty) throw storeError('RestoreRefused', 'The PostgreSQL database is not empty; restore into a new one.');
}

function keptHead(files: StateFiles): AuditHead | undefined {
  try {
    return JSON.parse(readFileSync(files.auditHead, 'utf8'));
  } catch {
    return undefined;
  }
}

function writeHead({ files, log }: RestoreOptions, chain: string, head: AuditHead | undefined): void {
  if (head === undefined) return;
  const file = new AuditHeadFile({ path: files.auditHead, intervalMs: 0, log, chain });
  file.changed([{ kind: 'audit', head }]);
  file.close();
}

function removeDatabase(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '.pid']) rmSync(path + suffix, { force: true });
}

function moveIfThere(from: string, to: string): void {
  if (existsSync(from)) renameSync(from, to);
}
