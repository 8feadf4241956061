import { setTimeout as sleep } from 'node:timers/promises';
import type { KekStatus } from '../../api/kek.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { findFolder } from '../folder.ts';
import { kekPlaceOf } from '../kekPlace.ts';
import { unsealing } from '../render/sealed.ts';
import { age, table } from '../render/table.ts';
import { withStore } from '../store.ts';
import { printable } from '../terminal.ts';

const POLL_MS = 200;
const BAR_CELLS = 30;

/** Shows the keys and what is under each. @throws StoreSealed */
export async function kekStatus(context: Context): Promise<void> {
  const folder = findFolder(context);
  const status = await new AdminClient(folder).kek().catch((error: unknown) => {
    if (!(error instanceof CliError) || error.code !== 'NotRunning') throw error;
    return withStore(context, folder, (admin) => admin.kek());
  });
  context.result(status, () => statusText(context, status));
  if (status.sealed !== undefined)
    throw new CliError('StoreSealed', `the store is sealed (${status.sealed.code})`, {
      exit: EXIT.refused,
      next: printable(unsealing(status.sealed)),
    });
}

function statusText(context: Context, { keys, rotation }: KekStatus): string {
  if (keys.length === 0) return '';
  const rows = keys.map((key) => [
    key.id,
    key.current ? context.paint('green', 'wraps') : 'unwraps',
    key.createdAt === undefined ? '-' : age(Date.now() - Date.parse(key.createdAt)),
    String(key.dataKeys),
    String(key.ownKeys),
    key.where === undefined ? context.paint('red', 'not at hand') : printable(key.where),
  ]);
  const lines = [table(['KEY', 'USE', 'AGE', 'DATA KEYS', 'OWN KEYS', 'PLACE'], rows)];
  if (rotation !== undefined)
    lines.push('', `a rotation to ${rotation.to} goes on: ${rotation.done} of ${rotation.total} keys`);
  else if (keys.some((key) => !key.current && key.dataKeys + key.ownKeys > 0))
    lines.push('', 'not all is under the newest key: sidekey kek rotate brings it there');
  return lines.join('\n');
}

interface RotateOptions {
  to?: string;
  tokenFile?: string;
  caFile?: string;
  namespace?: string;
}

/** Rotates, and waits until it is done. @throws Usage, KekNotRotatable */
export async function rotateKek(context: Context, options: RotateOptions): Promise<void> {
  const to = kekPlaceOf(context.cwd, { ...options, place: options.to }, '--to');
  const folder = findFolder(context);
  const status = await withStore(context, folder, async (admin) => {
    const before = await admin.kek();
    await admin.rotateKek(to === undefined ? {} : { to });
    await followed(context, admin);
    return { before, after: await admin.kek() };
  });
  const current = status.after.keys.find((key) => key.current);
  const result = {
    from: status.before.keys.find((key) => key.current)?.id,
    to: current?.id,
    dataKeys: current?.dataKeys ?? 0,
    ownKeys: current?.ownKeys ?? 0,
  };
  context.result(result, () => rotatedText(context, result, current?.where ?? ''));
}

function rotatedText(
  context: Context,
  { to, dataKeys, ownKeys }: { to: string | undefined; dataKeys: number; ownKeys: number },
  where: string,
): string {
  return [
    `${context.paint('green', '✓')} ${dataKeys + ownKeys} keys are under ${to} (${printable(where)}), none under another`,
    'Keep a copy of it, and take a new backup: older copies of the database need the old key.',
  ].join('\n');
}

/** Shows how far it is on standard error: a bar on a terminal, else a line now and then, with `-o json` as JSON. */
async function followed(context: Context, admin: AdminClient): Promise<void> {
  const { err, errIsTerminal } = context.terminal;
  let told = '';
  for (;;) {
    const rotation = await admin.kekRotation();
    if (rotation === undefined) break;
    const { done, total, problem } = rotation;
    const percent = total === 0 ? 0 : Math.floor((done / total) * 100);
    if (context.json) err.write(`${JSON.stringify({ event: 'progress', done, total, ...(problem && { problem }) })}\n`);
    else if (errIsTerminal) {
      const full = Math.floor((percent / 100) * BAR_CELLS);
      const bar = '█'.repeat(full) + '░'.repeat(BAR_CELLS - full);
      err.write(`\r\x1b[K${bar} ${done} of ${total} keys${problem === undefined ? '' : ` – ${printable(problem)}`}`);
    } else {
      const tens = `${problem ?? ''}${Math.floor(percent / 10)}`;
      if (tens !== told) context.note(problem === undefined ? `${done} of ${total} keys` : printable(problem));
      told = tens;
    }
    await sleep(POLL_MS);
  }
  if (errIsTerminal && !context.json) err.write('\r\x1b[K');
}
