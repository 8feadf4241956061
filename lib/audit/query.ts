import type { AuditEntry } from '../../api/admin.ts';
import { type AuditFilter, matchesFilter } from './filter.ts';
import { type AuditRow, rowsOf } from './row.ts';

/** Longest that a use is on its way to the store, so that it is on record at most this much later than it happened. */
const DELAY_MS = 60_000;
/** Longest that a lease lasts (Credential's leaseDuration). */
const LEASE_LIMIT_MS = 86_400_000;

/** Where the audit is read from. */
export interface AuditSource {
  chains(): Promise<string[]>;
  entries(range: { chain: string; since?: string; until?: string; kind?: string }): AsyncIterable<AuditEntry>;
}

/** A row, and the issuance of the lease that it is of. */
export interface AuditFinding extends AuditRow {
  issued?: Pick<AuditRow, 'id' | 'at' | 'from' | 'expiresAt'>;
}

export interface AuditFindings {
  /** In order of time. */
  findings: AuditFinding[];
  /** There are more than the limit. */
  more: boolean;
}

/** The times of the entries that may tell of what happened within the times of the filter. */
export function recordedWithin({ since, until }: AuditFilter): { since?: string; until?: string } {
  return { ...(since !== undefined && { since }), ...laterBy(until, DELAY_MS, 'until') };
}

/** Everything of which the filter is true, at most `limit`; uses are joined with the issuance of their lease. */
export async function queryAudit(source: AuditSource, filter: AuditFilter, limit: number): Promise<AuditFindings> {
  const chains = await source.chains();
  const found: AuditRow[] = [];
  let more = false;
  for (const chain of chains) {
    reading: for await (const entry of source.entries({ chain, ...recordedWithin(filter) })) {
      for (const row of rowsOf(entry)) {
        if (!matchesFilter(row, filter)) continue;
        if (found.length === limit) {
          more = true;
          break reading;
        }
        found.push(row);
      }
    }
  }
  const rows = withoutIntended(found).sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return { findings: await withIssuance(source, chains, rows), more };
}

/** What was intended is left out once it is known what became of it. */
function withoutIntended(rows: readonly AuditRow[]): AuditRow[] {
  const done = new Set(rows.flatMap(({ kind, requestId }) => (kind === 'use' && requestId ? [requestId] : [])));
  const seen = new Set<string>();
  return rows.filter(({ kind, requestId, version }) => {
    if (kind !== 'use.intended' || requestId === undefined) return true;
    const key = `${requestId} ${version}`;
    if (done.has(requestId) || seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

async function withIssuance(
  source: AuditSource,
  chains: readonly string[],
  rows: readonly AuditRow[],
): Promise<AuditFinding[]> {
  const leases = new Map<string, AuditRow | undefined>();
  for (const { kind, lease } of rows) if (lease !== undefined && kind.startsWith('use')) leases.set(lease, undefined);
  if (leases.size === 0) return [...rows];
  const first = rows.find(({ lease }) => lease !== undefined)!.at;
  for (const chain of chains) {
    const range = { chain, kind: 'lease.issued', ...laterBy(first, -LEASE_LIMIT_MS - DELAY_MS, 'since') };
    for await (const entry of source.entries({ ...range, ...laterBy(rows.at(-1)!.at, DELAY_MS, 'until') })) {
      const [row] = rowsOf(entry);
      if (row?.lease !== undefined && leases.has(row.lease)) leases.set(row.lease, row);
    }
  }
  return rows.map((row) => {
    const issuance = row.kind.startsWith('use') && row.lease !== undefined ? leases.get(row.lease) : undefined;
    if (issuance === undefined) return row;
    const { id, at, from, expiresAt, namespace, serviceAccount, pod, role, tags, requester } = issuance;
    const who = definedOf({ namespace, serviceAccount, pod, role, tags, requester });
    return { ...who, ...row, issued: { id, at, ...definedOf({ from, expiresAt }) } };
  });
}

function laterBy<K extends string>(at: string | undefined, ms: number, name: K): Partial<Record<K, string>> {
  if (at === undefined) return {};
  return { [name]: new Date(Date.parse(at) + ms).toISOString() } as Partial<Record<K, string>>;
}

function definedOf<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Partial<T>;
}
