import type { AuditEntry } from '../../api/admin.ts';
import { cefOf } from './cef.ts';
import { ocsfOf } from './ocsf.ts';
import { type AuditRow, rowsOf } from './row.ts';

export const AUDIT_FORMATS = ['jsonl', 'cef', 'ocsf'] as const;
export type AuditFormat = (typeof AUDIT_FORMATS)[number];

/**
 * The entry as lines without their ends: `jsonl` is the entry itself, which can be verified elsewhere, if it tells of anything that is
 * `wanted`; the others have a line for each thing that is.
 */
export function auditLines(
  entry: AuditEntry,
  format: AuditFormat,
  version: string,
  wanted: (row: AuditRow) => boolean = () => true,
): string[] {
  const all = rowsOf(entry);
  const rows = all.filter(wanted);
  // A report of nothing is a link of the chain all the same.
  if (format === 'jsonl') return rows.length > 0 || all.length === 0 ? [JSON.stringify(entry)] : [];
  return format === 'cef'
    ? rows.map((row) => cefOf(row, version))
    : rows.map((row) => JSON.stringify(ocsfOf(row, version)));
}
