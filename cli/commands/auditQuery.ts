import { type AuditFinding, queryAudit } from '../../lib/audit/query.ts';
import { type FilterFlags, filterOf } from '../auditFilter.ts';
import type { Context } from '../context.ts';
import { findFolder } from '../folder.ts';
import { callOf, credentialOf, resultOf } from '../render/auditRow.ts';
import { table } from '../render/table.ts';
import { withStore } from '../store.ts';
import { printable, withProgress } from '../terminal.ts';
import { auditSource } from './auditSource.ts';

/** Who used what, from where, for whom, and what was called. */
export async function queryCommand(context: Context, flags: FilterFlags, limit: number): Promise<void> {
  const filter = filterOf(flags);
  const { findings, more } = await withProgress(context.terminal, 'reading the audit', () =>
    withStore(context, findFolder(context), (admin) => queryAudit(auditSource(admin), filter, limit)),
  );
  context.result(findings, () => {
    if (findings.length === 0) return 'nothing of that is on record';
    return table(
      ['TIME', 'WHAT', 'CREDENTIAL', 'REQUESTER', 'POD', 'NAMESPACE', 'CALL', 'RESULT', 'COUNT', 'ISSUED'],
      findings.map((row) => cellsOf(row).map(printable)),
    );
  });
  if (more) context.note(`there is more than these ${limit}; narrow it down, or give a --limit`);
}

function cellsOf(row: AuditFinding): string[] {
  const { at, count, issued, kind, namespace, pod, requester } = row;
  return [
    at,
    kind,
    credentialOf(row),
    requester ?? row.by ?? '-',
    pod?.name ?? row.session ?? '-',
    namespace ?? '-',
    callOf(row),
    resultOf(row),
    String(count ?? 1),
    issued?.at ?? '-',
  ];
}
