import { refused, sentence } from './outcome.ts';
import type { AuditRow } from './row.ts';

/** A value of OTLP in the JSON mapping of its protocol buffers: 64-bit integers are strings. */
type AnyValue =
  | { stringValue: string }
  | { boolValue: boolean }
  | { intValue: string }
  | { doubleValue: number }
  | { arrayValue: { values: AnyValue[] } }
  | { kvlistValue: { values: KeyValue[] } };

interface KeyValue {
  key: string;
  value: AnyValue;
}

/** SeverityNumber of the log data model. */
const INFO = 9;
const WARN = 13;

/** ExportLogsServiceRequest, the body of POST /v1/logs (opentelemetry.io, OTLP 1.x over HTTP with JSON). */
export function otlpOf(rows: readonly AuditRow[], version: string, nowMs: number): object {
  return {
    resourceLogs: [
      {
        resource: { attributes: attributes({ 'service.name': 'sidekey-store', 'service.version': version }) },
        scopeLogs: [{ scope: { name: 'sidekey.audit', version }, logRecords: rows.map((row) => recordOf(row, nowMs)) }],
      },
    ],
  };
}

function recordOf(row: AuditRow, nowMs: number): object {
  const bad = refused(row);
  const { id, kind, at, status, method, authority, path, details, ...rest } = row;
  return {
    timeUnixNano: `${Date.parse(at)}000000`,
    observedTimeUnixNano: `${Math.round(nowMs)}000000`,
    severityNumber: bad ? WARN : INFO,
    severityText: bad ? 'WARN' : 'INFO',
    eventName: `sidekey.${kind}`,
    body: { stringValue: sentence(row) },
    attributes: attributes({
      'event.name': `sidekey.${kind}`,
      'log.record.uid': id,
      'http.request.method': method,
      'http.response.status_code': status,
      'server.address': authority,
      'url.template': path,
      ...Object.fromEntries(Object.entries({ ...rest, details }).map(([name, value]) => [`sidekey.${name}`, value])),
    }),
  };
}

function attributes(values: Readonly<Record<string, unknown>>): KeyValue[] {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: unknown): AnyValue {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number')
    return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } };
  return { kvlistValue: { values: attributes(value as Record<string, unknown>) } };
}
