import { timeOf } from '../auditFilter.ts';
import type { Context } from '../context.ts';
import { findFolder } from '../folder.ts';
import { withStore } from '../store.ts';

/** Forgets entries older than `before`, in every chain. */
export async function pruneCommand(context: Context, before: string): Promise<void> {
  const at = timeOf(before);
  const pruned = await withStore(context, findFolder(context), (admin) => admin.pruneAudit({ before: at }));
  context.result(pruned, () =>
    pruned
      .map(({ chain, checkpoint, pruned: number }) => {
        const entries = number === 1 ? '1 entry' : `${number} entries`;
        return checkpoint === undefined
          ? `chain ${chain}: nothing is older than ${at}`
          : `chain ${chain}: ${entries} forgotten, it begins after entry ${checkpoint.seq} now`;
      })
      .join('\n'),
  );
}

/** Signs with a new key from now on. */
export async function rotateKeyCommand(context: Context): Promise<void> {
  const answer = await withStore(context, findFolder(context), (admin) => admin.rotateAuditKey());
  context.result(answer, () => `the audit is signed with a new key from now on\n${answer.publicKeyPem.trim()}`);
}
