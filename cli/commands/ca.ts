import type { CaStatus } from '../../api/admin.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { findFolder } from '../folder.ts';
import { age, table } from '../render/table.ts';

/** Prints the chain of the store's own CA: how old it is, when it rotates, what stands under it. */
export async function caStatus(context: Context): Promise<void> {
  const status = await new AdminClient(findFolder(context)).ca();
  context.result(status, () => statusText(status));
}

/** Lets the store issue by a new intermediate, or begins to change its root. */
export async function rotateCa(context: Context, flags: { root?: boolean }): Promise<void> {
  const status = await new AdminClient(findFolder(context)).rotateCa(flags.root ?? false);
  context.result(status, () => statusText(status));
}

function statusText(status: CaStatus): string {
  const nowMs = Date.now();
  const until = (at: string | undefined) => (at === undefined ? '-' : `in ${age(Date.parse(at) - nowMs)}`);
  const rows = [
    ...status.roots.map((root) => ({ ...root, kind: 'root' })),
    ...status.intermediates.map((intermediate) => ({ ...intermediate, kind: 'intermediate' })),
  ].map(({ kind, id, state, createdAt, validTo, rotatesAt, certificates }) => [
    kind,
    id,
    state,
    age(nowMs - Date.parse(createdAt)),
    until(rotatesAt),
    until(validTo),
    String(certificates),
  ]);
  const text = table(['CA', 'ID', 'STATE', 'AGE', 'ROTATES', 'EXPIRES', 'CERTIFICATES'], rows);
  const { rotation } = status;
  if (rotation === undefined) return text;
  const next = rotation.phase === 'published' ? 'the new root issues' : 'the old root is dropped';
  return `${text}\nroot ${rotation.root} is ${rotation.phase} since ${rotation.since}; ${next} when ${rotation.waitsFor} certificates of before have ended`;
}
