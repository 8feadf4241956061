import { expect, test } from 'vitest';
import type { AuditEntry, AuditEvent } from '../../api/admin.ts';
import { cefOf } from './cef.ts';
import { auditLines } from './format.ts';
import { OCSF_VERSION, ocsfOf } from './ocsf.ts';
import { otlpOf } from './otlp.ts';
import { rowsOf } from './row.ts';

const entryOf = (event: AuditEvent): AuditEntry => ({
  chain: 'store',
  seq: 7,
  at: '2026-01-01T10:00:00.000Z',
  event,
  previousHash: '',
  hash: '',
});
const WHO = {
  session: 'session-1',
  namespace: 'default',
  serviceAccount: 'builder',
  role: 'coder',
  tags: ['llm', 'git'],
  pod: { name: 'agent-1', uid: 'u-1' },
  requester: 'alice@example.com',
};
const USE = {
  requestId: 'abc-1',
  atMs: Date.parse('2026-01-01T09:59:59.500Z'),
  count: 2,
  authority: 'api.example.com:443',
  method: 'GET',
  path: '/v1/users/{id}',
  status: 200,
  integration: 'default/example',
  rule: 2,
  credential: 'default/key',
  version: 3,
  leaseId: 'lease-1',
  bytesUp: 10,
  bytesDown: 20,
  durationMs: 12.5,
};
const used = entryOf({
  kind: 'usage.reported',
  ...WHO,
  records: [USE, { ...USE, refusal: 'RuleDenied', status: 403 }],
  dropped: 4,
});
const issued = entryOf({
  kind: 'lease.issued',
  lease: 'lease-1',
  ...WHO,
  credential: 'default/key',
  version: 3,
  from: '10.0.0.7:4711',
});

test('an entry about uses is a row for each, with who the session is, and one for what was dropped', () => {
  expect(rowsOf(used)).toMatchObject([
    { id: 'store/7/0', kind: 'use', at: '2026-01-01T09:59:59.500Z', lease: 'lease-1', rule: 2, ...WHO },
    { id: 'store/7/1', kind: 'use', refusal: 'RuleDenied', status: 403 },
    { id: 'store/7/dropped', kind: 'use.dropped', count: 4, session: 'session-1' },
  ]);
  expect(rowsOf(issued)).toMatchObject([{ id: 'store/7', kind: 'lease.issued', from: '10.0.0.7:4711', ...WHO }]);
  const refusal = entryOf({ kind: 'lease.refused', code: 'NotGranted', session: 's', leftOut: 3 });
  expect(rowsOf(refusal)).toMatchObject([{ refusal: 'NotGranted', session: 's', details: { leftOut: 3 } }]);
});

/** A CEF line taken apart as a receiver does. */
function parseCef(line: string) {
  const fields: string[] = [];
  let at = 0;
  let text = '';
  for (; fields.length < 7; at += 1) {
    if (line[at] === '\\') text += line[++at];
    else if (line[at] === '|') {
      fields.push(text);
      text = '';
    } else text += line[at];
  }
  const extension: Record<string, string> = {};
  const rest = line.slice(at);
  const keys = [...rest.matchAll(/(?:^| )([A-Za-z0-9]+)(?<!\\)=/g)];
  keys.forEach((key, i) => {
    const end = keys[i + 1]?.index ?? rest.length;
    const raw = rest.slice(key.index + key[0].length, end);
    extension[key[1]!] = raw.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c === 'r' ? '\r' : c));
  });
  return { header: fields, extension };
}

test('CEF has seven header fields and an extension, whatever is in them', () => {
  const [row] = rowsOf(used);
  const { header, extension } = parseCef(cefOf(row!, '1.2.3'));
  expect(header).toEqual([
    'CEF:0',
    'Sidekey',
    'Sidekey',
    '1.2.3',
    'use',
    'alice@example.com called GET api.example.com:443/v1/users/{id}',
    '3',
  ]);
  expect(extension).toMatchObject({
    rt: String(USE.atMs),
    cnt: '2',
    suser: 'alice@example.com',
    dhost: 'api.example.com',
    dpt: '443',
    requestMethod: 'GET',
    cs1: 'default/key',
    cs1Label: 'credential',
    cn1: '2',
    cn1Label: 'rule',
    outcome: 'success',
  });
});

test('CEF escapes what would end a field: pipes and backslashes in the header, equals signs and line breaks in the extension', () => {
  const requester = 'a|b\\c=d\nCEF:0|evil|evil suser=root';
  const line = cefOf({ ...rowsOf(used)[0]!, requester, path: '/x\r\n' }, '1|2');
  expect(line.includes('\n') || line.includes('\r')).toBe(false);
  const { header, extension } = parseCef(line);
  expect(header[3]).toBe('1|2');
  expect(header.length).toBe(7);
  expect(header[6]).toBe('3');
  expect(extension.suser).toBe(requester);
  expect(extension.request).toBe('/x\r\n');
});

test(`OCSF ${OCSF_VERSION}: a use is API Activity with all that the class requires`, () => {
  const event = ocsfOf(rowsOf(used)[1]!, '1.2.3');
  expect(event).toMatchObject({
    class_uid: 6003,
    category_uid: 6,
    activity_id: 2,
    type_uid: 600302,
    time: USE.atMs,
    severity_id: 3,
    status_id: 2,
    status_code: 'RuleDenied',
    metadata: {
      version: '1.3.0',
      uid: 'store/7/1',
      product: { name: 'Sidekey', vendor_name: 'Sidekey', version: '1.2.3' },
    },
    actor: { user: { name: 'alice@example.com' }, session: { uid: 'session-1' } },
    api: { operation: 'GET /v1/users/{id}', response: { code: 403 } },
    src_endpoint: { name: 'agent-1', uid: 'u-1' },
    dst_endpoint: { hostname: 'api.example.com', port: 443 },
    http_request: { http_method: 'GET' },
    resources: [{ name: 'default/key', version: '3' }],
    unmapped: { lease: 'lease-1', rule: 2 },
  });
});

test(`OCSF ${OCSF_VERSION}: leases, sessions and changes are of their classes, each with what it requires`, () => {
  const of = (event: AuditEvent) => ocsfOf(rowsOf(entryOf(event))[0]!, '1') as Record<string, unknown>;
  expect(ocsfOf(rowsOf(issued)[0]!, '1')).toMatchObject({
    type_uid: 600301,
    api: { operation: 'lease.issued' },
    src_endpoint: { ip: '10.0.0.7', port: 4711 },
  });
  expect(
    of({ kind: 'session.started', session: { id: 's', ...WHO, session: undefined }, from: '10.0.0.7:1' }),
  ).toMatchObject({
    type_uid: 300201,
    user: { name: 'alice@example.com' },
    service: { name: 'sidekey-store' },
    session: { uid: 's' },
  });
  expect(of({ kind: 'session.ended', session: 's' })).toMatchObject({ type_uid: 300202 });
  expect(of({ kind: 'credential.removed', credential: 'default/key', by: 'owner' })).toMatchObject({
    type_uid: 300404,
    entity: { name: 'default/key', type: 'credential' },
    actor: { user: { name: 'owner' } },
  });
  for (const kind of ['store.started', 'audit.pruned', 'join.refused', 'use.dropped'])
    expect(of({ kind })).toMatchObject({
      class_uid: expect.any(Number),
      type_uid: expect.any(Number),
      severity_id: expect.any(Number),
    });
});

test('OTLP has 64-bit integers as strings and values by their type', () => {
  const request = otlpOf(rowsOf(used).slice(0, 1), '1', 5) as {
    resourceLogs: { scopeLogs: { logRecords: object[] }[] }[];
  };
  expect(request.resourceLogs[0]!.scopeLogs[0]!.logRecords[0]).toMatchObject({
    timeUnixNano: `${USE.atMs}000000`,
    severityNumber: 9,
    attributes: expect.arrayContaining([
      { key: 'log.record.uid', value: { stringValue: 'store/7/0' } },
      { key: 'http.response.status_code', value: { intValue: '200' } },
      { key: 'sidekey.durationMs', value: { doubleValue: 12.5 } },
      { key: 'sidekey.tags', value: { arrayValue: { values: [{ stringValue: 'llm' }, { stringValue: 'git' }] } } },
    ]),
  });
});

test('JSON lines are the entries themselves, so that they can be verified elsewhere', () => {
  expect(auditLines(used, 'jsonl', '1').map((line) => JSON.parse(line))).toEqual([used]);
  expect(auditLines(used, 'cef', '1').length).toBe(3);
  expect(auditLines(used, 'ocsf', '1').length).toBe(3);
});
