import type { AuditRow } from './row.ts';

/** What somebody asks the audit for; what is left out does not matter. */
export interface AuditFilter {
  /** RFC 3339 with milliseconds, both ends included. */
  since?: string;
  until?: string;
  kind?: string;
  /** `namespace/name`, or the name in any namespace. */
  credential?: string;
  integration?: string;
  session?: string;
  lease?: string;
  /** Name or UID. */
  pod?: string;
  namespace?: string;
  serviceAccount?: string;
  role?: string;
  tag?: string;
  requester?: string;
  /** `host:port`, or the host on any port. */
  authority?: string;
  /** Such as `403`, or `4xx`. */
  status?: string;
  /** A code, or `any`. */
  refusal?: string;
  requestId?: string;
}

export function matchesFilter(row: AuditRow, filter: AuditFilter): boolean {
  const { since, until, kind, credential, integration, pod, tag, authority, status, refusal } = filter;
  return (
    (since === undefined || row.at >= since) &&
    (until === undefined || row.at <= until) &&
    (kind === undefined || row.kind === kind || row.kind.startsWith(`${kind}.`)) &&
    named(row.credential, credential) &&
    named(row.integration, integration) &&
    (pod === undefined || row.pod?.name === pod || row.pod?.uid === pod) &&
    (tag === undefined || row.tags?.includes(tag) === true) &&
    (authority === undefined || row.authority === authority || row.authority?.startsWith(`${authority}:`) === true) &&
    (status === undefined || hasStatus(row.status, status)) &&
    (refusal === undefined || (refusal === 'any' ? row.refusal !== undefined : row.refusal === refusal)) &&
    EQUAL.every((name) => filter[name] === undefined || row[name] === filter[name])
  );
}

const EQUAL = ['session', 'lease', 'namespace', 'serviceAccount', 'role', 'requester', 'requestId'] as const;

function named(key: string | undefined, wanted: string | undefined): boolean {
  return wanted === undefined || key === wanted || (!wanted.includes('/') && key?.endsWith(`/${wanted}`) === true);
}

function hasStatus(status: number | undefined, wanted: string): boolean {
  if (status === undefined) return false;
  return /^[1-5]xx$/i.test(wanted) ? Math.floor(status / 100) === Number(wanted[0]) : String(status) === wanted;
}
