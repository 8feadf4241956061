import type { AuditSource } from '../../lib/audit/query.ts';
import type { AdminClient } from '../adminClient.ts';

/** The audit of a store, chain by chain. */
export function auditSource(admin: AdminClient): AuditSource {
  return {
    chains: async () => (await admin.auditChains()).map(({ chain }) => chain),
    entries: (range) => admin.audit(range),
  };
}
