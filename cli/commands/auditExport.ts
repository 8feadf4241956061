import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { matchesFilter } from '../../lib/audit/filter.ts';
import { type AuditFormat, auditLines } from '../../lib/audit/format.ts';
import { recordedWithin } from '../../lib/audit/query.ts';
import { errorText } from '../../lib/errors.ts';
import { VERSION } from '../../lib/version.ts';
import type { AdminClient } from '../adminClient.ts';
import { type FilterFlags, filterOf } from '../auditFilter.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { findFolder } from '../folder.ts';
import { count } from '../render/table.ts';
import { withStore } from '../store.ts';

/** Writes the audit in a format of other systems, as fast as it is taken and without holding it in memory. */
export async function exportCommand(
  context: Context,
  flags: FilterFlags,
  format: AuditFormat,
  file: string | undefined,
): Promise<void> {
  const lines = (admin: AdminClient) => exported(admin, flags, format);
  await withStore(context, findFolder(context), async (admin) => {
    if (file === undefined) {
      await write(context.terminal.out, lines(admin));
      return;
    }
    try {
      const stream = createWriteStream(file, { mode: 0o600, flush: true });
      const written = await write(stream, lines(admin));
      stream.end();
      await finished(stream);
      context.note(`${file}: ${count(written, 'line')}`);
    } catch (error) {
      if (error instanceof CliError) throw error;
      throw new CliError('ExportFailed', `${file} cannot be written: ${errorText(error)}`);
    }
  });
}

async function* exported(admin: AdminClient, flags: FilterFlags, format: AuditFormat): AsyncGenerator<string> {
  const filter = filterOf(flags);
  for (const { chain } of await admin.auditChains()) {
    for await (const entry of admin.audit({ chain, ...recordedWithin(filter) }))
      yield* auditLines(entry, format, VERSION, (row) => matchesFilter(row, filter));
  }
}

async function write(stream: Writable, lines: AsyncIterable<string>): Promise<number> {
  let written = 0;
  let failure: Error | undefined;
  const failed = (error: Error) => {
    failure = error;
  };
  stream.on('error', failed);
  for await (const line of lines) {
    if (failure !== undefined) throw failure;
    written += 1;
    if (!stream.write(`${line}\n`)) await once(stream, 'drain');
  }
  stream.off('error', failed);
  if (failure !== undefined) throw failure;
  return written;
}
