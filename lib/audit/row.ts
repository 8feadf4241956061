import type { AuditEntry, AuditEvent } from '../../api/admin.ts';
import type { UsageRecord } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import { SOLE_AUDIT_CHAIN } from '../auditChain.ts';

/**
 * One thing that happened, as people ask for it and other systems take it: an entry of the audit, or one of the uses that an entry
 * tells of. `kind` is `use`, `use.intended` (an `audit: Strict` use, before it happened), or the kind of the entry.
 */
export interface AuditRow {
  /** `chain/seq`, and for a use its place in the entry: what a receiver can tell duplicates by. */
  id: string;
  kind: string;
  /** RFC 3339 with milliseconds: when it happened, of uses by the sidecar's clock. */
  at: string;
  credential?: string;
  version?: number;
  integration?: string;
  rule?: number;
  lease?: string;
  session?: string;
  namespace?: string;
  serviceAccount?: string;
  pod?: { name: string; uid: string };
  role?: string;
  tags?: string[];
  requester?: string;
  /** Address that the store was called from. */
  from?: string;
  by?: string;
  requestId?: string;
  lastRequestId?: string;
  /** How many equal uses; 1 where it is left out. */
  count?: number;
  authority?: string;
  method?: string;
  path?: string;
  status?: number;
  /** Code of the refusal, of the sidecar or of the store. */
  refusal?: string;
  bytesUp?: number;
  bytesDown?: number;
  durationMs?: number;
  expiresAt?: string;
  /** What else the entry says. */
  details?: Record<string, unknown>;
}

const PLAIN = [
  'credential',
  'version',
  'integration',
  'rule',
  'lease',
  'namespace',
  'serviceAccount',
  'pod',
  'role',
  'tags',
  'requester',
  'from',
  'by',
  'expiresAt',
  'method',
] as const;

/** What an entry tells of, one row for each. */
export function rowsOf(entry: AuditEntry): AuditRow[] {
  const { event } = entry;
  const id = `${entry.chain ?? SOLE_AUDIT_CHAIN}/${entry.seq}`;
  if (event.kind === 'usage.reported' || event.kind === 'usage.intended') return uses(entry, id);
  return [{ id, kind: event.kind, at: entry.at, ...membersOf(event) }];
}

function uses({ at, event }: AuditEntry, id: string): AuditRow[] {
  const { kind, records, dropped, ...who } = event;
  const session = membersOf({ kind, ...who });
  const rows = (records as UsageRecord[]).map(({ atMs, leaseId, ...use }, index): AuditRow => {
    return {
      id: `${id}/${index}`,
      kind: kind === 'usage.intended' ? 'use.intended' : 'use',
      at: new Date(atMs).toISOString(),
      ...session,
      ...use,
      ...(leaseId !== undefined && { lease: leaseId }),
    };
  });
  if (typeof dropped === 'number' && dropped > 0)
    rows.push({ id: `${id}/dropped`, kind: 'use.dropped', at, ...session, count: dropped });
  return rows;
}

function membersOf(event: AuditEvent): Partial<AuditRow> {
  const { kind: _, session, code, ...rest } = event;
  const row: Record<string, unknown> = {};
  const details: Record<string, unknown> = {};
  if (typeof session === 'string') row.session = session;
  else if (typeof session === 'object' && session !== null) {
    const { id, startedAt: _startedAt, ...who } = session as Session;
    Object.assign(row, who, id !== undefined && { session: id });
  }
  if (typeof code === 'string') row.refusal = code;
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined) continue;
    if ((PLAIN as readonly string[]).includes(name)) row[name] = value;
    else details[name] = value;
  }
  if (Object.keys(details).length > 0) row.details = details;
  return row;
}
