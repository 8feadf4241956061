import type { AuditEntry } from '../../api/admin.ts';
import { cefOf } from './cef.ts';
import { ocsfOf } from './ocsf.ts';
import { rowsOf } from './row.ts';

export const AUDIT_FORMATS = ['jsonl', 'cef', 'ocsf'] as const;
export type AuditFormat = (typeof AUDIT_FORMATS)[number];

/** The entry as lines without their ends: `jsonl` is the entry itself, which can be verified elsewhere; the others a line for each thing that happened. */
export function auditLines(entry: AuditEntry, format: AuditFormat, version: string): string[] {
  if (format === 'jsonl') return [JSON.stringify(entry)];
  const rows = rowsOf(entry);
  return format === 'cef'
    ? rows.map((row) => cefOf(row, version))
    : rows.map((row) => JSON.stringify(ocsfOf(row, version)));
}
