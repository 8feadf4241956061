import { hostname } from 'node:os';
import type { AuditEntry } from '../../../api/admin.ts';
import { cefOf } from '../../../lib/audit/cef.ts';
import type { AuditFormat } from '../../../lib/audit/format.ts';
import { ocsfOf } from '../../../lib/audit/ocsf.ts';
import { refused } from '../../../lib/audit/outcome.ts';
import { type AuditRow, rowsOf } from '../../../lib/audit/row.ts';
import { SOLE_AUDIT_CHAIN } from '../../../lib/auditChain.ts';
import { VERSION } from '../../../lib/version.ts';

/** RFC 5424 section 6.2.1. */
const WARNING = 4;
const INFORMATIONAL = 6;
/** The enterprise number that is set aside for examples (RFC 5612); the name before it is what tells ours. */
const SD_ID = 'sidekey@32473';
/** Parameters of the structured data, so that a receiver can sort without reading the message. */
const PARAMETERS = [
  'id',
  'kind',
  'credential',
  'integration',
  'lease',
  'session',
  'namespace',
  'requester',
  'requestId',
  'refusal',
] as const satisfies (keyof AuditRow)[];
/** RFC 5424 section 6.1 sets no limit; what is longer than this is sent without the end of its text. */
const MESSAGE_LIMIT_BYTES = 256 * 1024;
const BOM = '\ufeff';

/** The messages of RFC 5424 that an entry makes. */
export function syslogMessages(entry: AuditEntry, format: AuditFormat, facility: number): Buffer[] {
  if (format === 'jsonl') {
    const row: AuditRow = {
      id: `${entry.chain ?? SOLE_AUDIT_CHAIN}/${entry.seq}`,
      kind: entry.event.kind,
      at: entry.at,
    };
    return [message(row, JSON.stringify(entry), facility)];
  }
  return rowsOf(entry).map((row) => {
    const text = format === 'cef' ? cefOf(row, VERSION) : JSON.stringify(ocsfOf(row, VERSION));
    return message(row, text, facility);
  });
}

function message(row: AuditRow, text: string, facility: number): Buffer {
  const priority = facility * 8 + (refused(row) ? WARNING : INFORMATIONAL);
  const header = [
    `<${priority}>1`,
    row.at,
    headerField(hostname(), 255),
    'sidekey',
    String(process.pid),
    headerField(row.kind, 32),
  ].join(' ');
  const bytes = Buffer.from(`${header} ${structuredData(row)} ${BOM}${text}`);
  return bytes.length <= MESSAGE_LIMIT_BYTES ? bytes : bytes.subarray(0, utf8Border(bytes, MESSAGE_LIMIT_BYTES));
}

function structuredData(row: AuditRow): string {
  const parameters = PARAMETERS.flatMap((name) => {
    const value = row[name];
    return value === undefined ? [] : [`${name}="${parameterValue(value)}"`];
  });
  return `[${[SD_ID, ...parameters].join(' ')}]`;
}

/** RFC 5424 section 6.3.3: `"`, `\` and `]` are escaped; control characters are left out of what may be shown on a terminal. */
function parameterValue(text: string): string {
  return text.replace(/[\x00-\x1f\x7f]/g, '?').replace(/["\\\]]/g, '\\$&');
}

/** PRINTUSASCII, or the nil value. */
function headerField(text: string, limit: number): string {
  return text.replace(/[^\x21-\x7e]/g, '?').slice(0, limit) || '-';
}

/** The end of the last whole character at or before `limit`. */
function utf8Border(bytes: Buffer, limit: number): number {
  let end = limit;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return end;
}
