import { hostPort, refused, sentence } from './outcome.ts';
import type { AuditRow } from './row.ts';

const LABELS = {
  cs1: 'credential',
  cs2: 'integration',
  cs3: 'session',
  cs4: 'lease',
  cs5: 'namespace',
  cs6: 'pod',
  cn1: 'rule',
  cn2: 'status',
  cn3: 'version',
  flexString1: 'role',
  flexString2: 'tags',
} as const;

/** Common Event Format, version 0, one line without its end (ArcSight CEF implementation standard). */
export function cefOf(row: AuditRow, version: string): string {
  const header = ['CEF:0', 'Sidekey', 'Sidekey', version, row.kind, sentence(row), String(severityOf(row))];
  return `${header.map(headerField).join('|')}|${extension(row)}`;
}

/** 0 to 10: 3 is information, from 7 on high. */
function severityOf(row: AuditRow): number {
  if (refused(row)) return 6;
  if (/^(audit\.(pruned|key-rotated)|material\.revealed|.*revoked.*)$/.test(row.kind)) return 7;
  return 3;
}

function extension(row: AuditRow): string {
  const upstream = hostPort(row.authority);
  const source = hostPort(row.from);
  const custom: Record<keyof typeof LABELS, string | number | undefined> = {
    cs1: row.credential,
    cs2: row.integration,
    cs3: row.session,
    cs4: row.lease,
    cs5: row.namespace,
    cs6: row.pod?.name,
    cn1: row.rule,
    cn2: row.status,
    cn3: row.version,
    flexString1: row.role,
    flexString2: row.tags?.join(','),
  };
  const fields: Record<string, string | number | undefined> = {
    rt: Date.parse(row.at),
    externalId: row.id,
    cnt: row.count,
    outcome: refused(row) ? 'failure' : 'success',
    reason: row.refusal,
    suser: row.requester,
    src: source?.host,
    spt: source?.port,
    dhost: upstream?.host,
    dpt: upstream?.port,
    requestMethod: row.method,
    request: row.path,
    out: row.bytesUp,
    in: row.bytesDown,
    duser: row.by,
    sproc: row.serviceAccount,
    requestContext: row.requestId,
  };
  for (const [key, label] of Object.entries(LABELS)) {
    const value = custom[key as keyof typeof LABELS];
    if (value === undefined) continue;
    fields[key] = value;
    fields[`${key}Label`] = label;
  }
  if (row.details !== undefined) fields.msg = JSON.stringify(row.details);
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${key}=${extensionValue(String(value))}`)
    .join(' ');
}

/** In the header `\` and `|` are escaped, and there are no line breaks. */
function headerField(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replace(/[\\|]/g, '\\$&');
}

/** In the extension `\` and `=` are escaped, line breaks are written out. */
function extensionValue(text: string): string {
  return text.replace(/[\\=]/g, '\\$&').replace(/\r/g, '\\r').replace(/\n/g, '\\n');
}
