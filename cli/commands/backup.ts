import { closeSync, createWriteStream, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { encodeFields } from '../../api/fields.ts';
import { systemClock } from '../../lib/clock.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import { keyOfPassphrase, newScryptParameters } from '../../store/backup/passphrase.ts';
import { inspectBackup, type RestoreOptions, type RestoreReport, restoreBackup } from '../../store/backup/restore.ts';
import type { Context } from '../context.ts';
import { databaseUrlIn, databaseUrlOf, rememberDatabase } from '../database.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { findFolder, folderAt } from '../folder.ts';
import { type KekPlaceFlags, kekPlaceOf, keptKekPlace, rememberKekPlace } from '../kekPlace.ts';
import { readSecret } from '../secretInput.ts';
import { withStore } from '../store.ts';

/** Shorter ones are guessed. */
const PASSPHRASE_LEAST_BYTES = 12;

/** Writes a sealed backup of the folder's store, which goes on working. */
export async function backUp(context: Context, file: string, flags: { under: 'passphrase' | 'kek' }): Promise<void> {
  const folder = findFolder(context);
  const path = resolve(context.cwd, file);
  if (existsSync(path)) throw usageError(`${path} is there already`, 'name another file, or move that one away');
  const frame = flags.under === 'kek' ? Buffer.alloc(0) : await passphraseFrame(context);
  const partial = `${path}.partial`;
  try {
    await withStore(context, folder, async (admin) => {
      const body = await admin.backup(frame);
      await pipeline(body, createWriteStream(partial, { flags: 'wx', mode: 0o600 }));
      if (!body.complete) throw new Error('the store ended the answer before its end');
    });
    synced(partial);
    renameSync(partial, path);
    synced(dirname(path));
  } catch (error) {
    rmSync(partial, { force: true });
    if (error instanceof CliError) throw error;
    throw new CliError('BackupFailed', `no backup was made: ${errorText(error)}`, { cause: error });
  } finally {
    frame.fill(0);
  }
  const { size } = statSync(path);
  context.result({ file: path, bytes: size, under: flags.under }, () =>
    flags.under === 'kek'
      ? `${path}: ${size} bytes, sealed under the KEK; keep a copy of that elsewhere`
      : `${path}: ${size} bytes, sealed by the passphrase; without it nobody can read them`,
  );
}

export interface RestoreFlags {
  force?: boolean;
  dryRun?: boolean;
  kek?: string;
  databaseUrlFile?: string;
  replacedDatabaseUrlFile?: string;
}

/** Puts the folder's store, which must not run, into the state of a backup. */
export async function restore(
  context: Context,
  file: string,
  flags: Omit<KekPlaceFlags, 'place'> & RestoreFlags,
): Promise<void> {
  const folder = context.dir === undefined ? findFolder(context) : folderAt(resolve(context.cwd, context.dir));
  const kek = kekPlaceOf(context.cwd, { ...flags, place: flags.kek }, '--kek');
  const options: RestoreOptions = {
    path: resolve(context.cwd, file),
    files: folder.files,
    passphrase: () => readSecret(context, 'passphrase of the backup'),
    force: flags.force ?? false,
    clock: systemClock,
    log: {
      debug: () => {},
      info: () => {},
      warn: (_details: object, message: string) => context.warn(message),
      error: (_details: object, message: string) => context.warn(message),
    },
    databaseUrl: databaseUrlOf(context, folder, flags.databaseUrlFile),
    replacedUrl: flags.replacedDatabaseUrlFile && databaseUrlIn(context, flags.replacedDatabaseUrlFile),
    kek: kek ?? keptKekPlace(folder),
  };
  try {
    if (flags.dryRun) await inspect(context, options);
    else {
      const report = await restoreBackup(options);
      rememberKekPlace(folder, kek);
      rememberDatabase(context, folder, flags.databaseUrlFile);
      show(context, report);
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(errorCode(error) ?? 'RestoreFailed', errorText(error), {
      exit: EXIT.refused,
      ...(!existsSync(options.path) && { next: 'name the file that `sidekey backup` wrote' }),
      cause: error,
    });
  }
}

async function inspect(context: Context, options: RestoreOptions): Promise<void> {
  const { counts, header, manifest } = await inspectBackup(options);
  const under = 'kek' in header.key ? 'kek' : 'passphrase';
  context.result({ ...manifest, under, counts }, () =>
    [`made ${manifest.createdAt}, epoch ${manifest.epoch}, sealed under a ${under}, whole`, countsText(counts)].join(
      '\n',
    ),
  );
}

function show(context: Context, report: RestoreReport): void {
  context.result(report, () =>
    [
      `restored what was backed up at ${report.createdAt}; epoch ${report.epoch}, every session of before is void`,
      countsText(report.counts),
      `new versions of credentials are above ${report.versionFloor}`,
      ...(report.carried === undefined
        ? ['what was revoked or removed since the backup is not known here: go through `sidekey revoke` once more']
        : [
            `from the store that was replaced: ${report.carried.revocations} revocations, ${report.carried.removed} removals, ${report.carried.auditEntries} entries of the audit`,
          ]),
      ...(report.lostEntries > 0 ? [`${report.lostEntries} entries of the audit are lost`] : []),
      ...(report.replaced === undefined
        ? []
        : [`the database that was replaced is ${report.replaced}; remove it when all is well`]),
    ].join('\n'),
  );
}

function countsText(counts: RestoreReport['counts']): string {
  const { audit = 0, credential = 0, integration = 0, material = 0, revocation = 0 } = counts;
  return `${credential} Credentials, ${material} values, ${integration} Integrations, ${revocation} revocations, ${audit} entries of the audit`;
}

async function passphraseFrame(context: Context): Promise<Buffer> {
  const passphrase = await readSecret(context, 'passphrase for the backup');
  if (passphrase.length < PASSPHRASE_LEAST_BYTES) {
    passphrase.fill(0);
    throw usageError(`the passphrase is shorter than ${PASSPHRASE_LEAST_BYTES} bytes`);
  }
  if (process.stdin.isTTY) {
    const again = await readSecret(context, 'once more');
    const same = again.equals(passphrase);
    again.fill(0);
    if (!same) throw usageError('the passphrases differ');
  }
  const parameters = newScryptParameters();
  const key = await keyOfPassphrase(passphrase, parameters);
  const frame = encodeFields([
    ['passphrase', Buffer.from(JSON.stringify(parameters))],
    ['key', key],
  ]);
  key.fill(0);
  return frame;
}

function synced(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
