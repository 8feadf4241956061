import type { AuditEntry } from '../../../api/admin.ts';

/** Somewhere that the audit goes as it grows. */
export interface AuditSink {
  /** Resolves once the entries are there, as far as the receiver says. @throws Error: they are sent again, all of them. */
  send(entries: readonly AuditEntry[]): Promise<void>;
  close(): void;
}
