import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { AuditEntry, AuditEvent } from '../../../api/admin.ts';
import { verifyAudit } from '../../../lib/auditVerify.ts';
import type { Logger } from '../../../lib/log.ts';
import { createUpstreamCa } from '../../../test/upstreams/tls.ts';
import { silentLog, TestCore } from '../../testing/core.ts';
import { readAuditConfig } from './config.ts';
import { AuditExporter } from './exporter.ts';
import { AuditExports } from './exports.ts';
import type { AuditSink } from './sink.ts';
import { syslogMessages } from './syslogMessage.ts';
import { OtlpReceiver, parseSyslog, SyslogReceiver } from './testkit.ts';

let core: TestCore;
let dir: string;
const open: { close(): Promise<void> }[] = [];
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-export-'));
  core = await TestCore.open();
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  await core.remove();
  rmSync(dir, { recursive: true, force: true });
});

const record = (n: number, more: object = {}) => core.store.audit.record({ kind: 'test.happened', n, ...more });
const records = (count: number, first = 0) => Promise.all(Array.from({ length: count }, (_, n) => record(first + n)));

async function until(check: () => boolean, what = check.toString()): Promise<void> {
  const end = performance.now() + 10_000;
  while (!check()) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Exports of the store as audit.yaml would ask for them. */
function exporting(yaml: string, log: Logger = silentLog): AuditExports {
  const path = join(dir, 'audit.yaml');
  writeFileSync(path, yaml);
  const { audit, repository } = core.store;
  const exports = new AuditExports(readAuditConfig(path).exports, {
    audit,
    repository,
    clock: core.clock,
    log,
  });
  repository.onCommit((changes) => exports.changed(changes));
  exports.start();
  open.push(exports);
  return exports;
}

const linesOf = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');

test('to a file: every entry once, in order, and what is there verifies by itself', async () => {
  const path = join(dir, 'audit.jsonl');
  await records(300);
  const exports = exporting(`exports: [{ name: file, file: { path: ${path} } }]`);
  await until(() => exports.lag()[0]!.delivered === 300);
  await records(20, 300);
  await until(() => exports.lag()[0]!.delivered === 320);
  const entries: AuditEntry[] = linesOf(path).map((line) => JSON.parse(line));
  expect(await verifyAudit(entries, [(await core.store.audit.head())!])).toEqual({ entries: 320, problems: [] });
  expect(statSync(path).mode & 0o077).toBe(0);
  expect(exports.lag()).toEqual([{ name: 'file', entries: 0, seconds: 0, delivered: 320, failures: 0, skipped: 0 }]);
});

test('a file is rotated by size, old ones go, and no line is cut', async () => {
  const path = join(dir, 'audit.jsonl');
  const exports = exporting(`exports: [{ name: file, file: { path: ${path}, maxBytes: 4096, keep: 3 } }]`);
  await records(200);
  await until(() => exports.lag()[0]!.delivered === 200);
  expect(
    readdirSync(dir)
      .filter((name) => name.startsWith('audit.jsonl'))
      .sort(),
  ).toEqual(['audit.jsonl', 'audit.jsonl.1', 'audit.jsonl.2', 'audit.jsonl.3']);
  const seqs = ['.3', '.2', '.1', ''].flatMap((end) =>
    linesOf(path + end).map((line) => JSON.parse(line).seq as number),
  );
  expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, i) => 201 - seqs.length + i));
  for (const end of ['', '.1', '.2', '.3']) expect(statSync(path + end).size).toBeLessThanOrEqual(4096);
});

test('after a crash an export goes on where it was saved: nothing is missing, and what a cut line told comes again', async () => {
  const path = join(dir, 'audit.jsonl');
  const yaml = `exports: [{ name: file, file: { path: ${path} } }]`;
  await records(10);
  const first = exporting(yaml);
  await until(() => first.lag()[0]!.delivered === 10);
  await first.close();
  appendFileSync(path, '{"chain":"store","seq":11,"at'); // Cut off in the middle.
  await core.reopen();
  await records(5, 10);
  const second = exporting(yaml);
  await until(() => second.lag()[0]!.delivered === 5);
  const lines = linesOf(path);
  expect(lines.length).toBe(16);
  expect(lines.filter((_, i) => i !== 10).map((line) => JSON.parse(line).seq)).toEqual(
    Array.from({ length: 15 }, (_, i) => i + 1),
  );
});

test('a receiver that is away is waited for: the lag grows, nothing is lost, and memory holds one batch', async () => {
  let away = true;
  const got: number[] = [];
  let largest = 0;
  const sink: AuditSink = {
    send: async (entries) => {
      largest = Math.max(largest, entries.length);
      if (away) throw new Error('away');
      got.push(...entries.map(({ seq }) => seq));
    },
    close: () => {},
  };
  const { audit, repository } = core.store;
  const exporter = new AuditExporter({ name: 'x', sink, audit, repository, clock: core.clock, log: silentLog });
  repository.onCommit((changes) => exporter.changed(changes));
  exporter.start();
  open.push(exporter);
  await records(1_000);
  core.clock.advance(90);
  await until(() => exporter.lag().failures >= 1);
  expect(exporter.lag()).toMatchObject({ entries: 1_000, seconds: 90, delivered: 0 });
  away = false;
  await until(() => exporter.lag().entries === 0);
  expect(got).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
  expect(largest).toBeLessThanOrEqual(256);
});

test('entries that were pruned before they were exported are counted and logged', async () => {
  const path = join(dir, 'audit.jsonl');
  await records(10);
  core.clock.advance(60);
  await record(10);
  await core.store.audit.prune(new Date(core.clock.nowMs()).toISOString(), 'retention');
  const warnings: unknown[] = [];
  const log = { ...silentLog, warn: (...said: unknown[]) => void warnings.push(said) };
  const exports = exporting(`exports: [{ name: file, file: { path: ${path} } }]`, log);
  await until(() => exports.lag()[0]!.entries === 0 && existsSync(path));
  expect(exports.lag()).toMatchObject([{ delivered: 2, skipped: 10 }]);
  const fields = { export: 'file', entries: 10, after: 0 };
  expect(warnings).toEqual([[fields, 'entries of the audit were pruned before they were exported']]);
});

test.each(['jsonl', 'cef', 'ocsf'])('to syslog over TCP as %s: RFC 5424 messages with octet counts', async (format) => {
  const receiver = await new SyslogReceiver().start();
  await records(50);
  const exports = exporting(
    `exports: [{ name: siem, format: ${format}, syslog: { host: 127.0.0.1, port: ${receiver.port}, transport: TCP } }]`,
  );
  await until(() => receiver.messages.length === 50 || receiver.faults.length > 0);
  expect(receiver.faults).toEqual([]);
  expect(exports.lag()).toMatchObject([{ delivered: 50 }]);
  expect(receiver.messages.map(({ data }) => data.id)).toEqual(Array.from({ length: 50 }, (_, i) => `store/${i + 1}`));
  expect(receiver.messages[0]).toMatchObject({ priority: 13 * 8 + 6, app: 'sidekey', messageId: 'test.happened' });
  const { text } = receiver.messages[0]!;
  if (format === 'cef') expect(text).toMatch(/^CEF:0\|Sidekey\|/);
  else expect(JSON.parse(text)).toMatchObject(format === 'jsonl' ? { seq: 1 } : { class_uid: 3004 });
});

test('to syslog over TLS: only to a receiver whose certificate verifies', async () => {
  const ca = createUpstreamCa();
  const receiver = await new SyslogReceiver(ca.issue(['localhost'])).start();
  const caFile = join(dir, 'ca.pem');
  writeFileSync(caFile, ca.pem);
  await records(5);
  const yaml = (more: string) =>
    `exports: [{ name: siem, syslog: { host: localhost, port: ${receiver.port}, transport: TLS${more} } }]`;
  const distrusting = exporting(yaml(''));
  await until(() => distrusting.lag()[0]!.failures > 0);
  await distrusting.close();
  expect(receiver.messages).toEqual([]);
  exporting(yaml(`, caFile: ${caFile}`));
  await until(() => receiver.messages.length === 5);
});

test('to syslog over UDP: one message a datagram', async () => {
  const socket = createSocket('udp4');
  onTestFinished(() => void socket.close());
  const messages: string[] = [];
  socket.on('message', (bytes) => messages.push(parseSyslog(bytes).data.id!));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  await records(20);
  exporting(
    `exports: [{ name: u, syslog: { host: 127.0.0.1, port: ${(socket.address() as AddressInfo).port}, transport: UDP } }]`,
  );
  await until(() => messages.length === 20);
});

test('a syslog receiver that goes away and comes back misses nothing; what it may have missed comes twice', async () => {
  const receiver = await new SyslogReceiver().start();
  await records(10);
  const exports = exporting(
    `exports: [{ name: siem, syslog: { host: 127.0.0.1, port: ${receiver.port}, transport: TCP } }]`,
  );
  await until(() => receiver.messages.length === 10);
  receiver.stop();
  await records(10, 10);
  await until(() => exports.lag()[0]!.failures > 0 || exports.lag()[0]!.delivered === 20);
  await receiver.start();
  await records(1, 20);
  await until(() => new Set(receiver.messages.map(({ data }) => data.id)).size === 21);
  expect(receiver.faults).toEqual([]);
});

test('structured data holds what is in it, escaped as RFC 5424 says', () => {
  const requester = 'a"b\\c]d [e] \u00e9';
  const event: AuditEvent = { kind: 'lease.refused', code: 'NotGranted', requester };
  const entry = { chain: 'store', seq: 1, at: '2026-01-01T00:00:00.000Z', event, previousHash: '', hash: '' };
  const [message] = syslogMessages(entry, 'cef', 13);
  expect(parseSyslog(message!)).toMatchObject({ priority: 13 * 8 + 4, data: { requester, refusal: 'NotGranted' } });
});

test('to OTLP: requests by the JSON mapping of the protocol, with the headers of the file', async () => {
  const receiver = await new OtlpReceiver().start();
  const headersFile = join(dir, 'headers');
  writeFileSync(headersFile, 'Authorization: Bearer t0ken\n');
  await records(300);
  const exports = exporting(
    `exports: [{ name: otel, otlp: { url: "http://127.0.0.1:${receiver.port}/v1/logs", headersFile: ${headersFile} } }]`,
  );
  await until(() => receiver.ids.length === 300 || receiver.faults.length > 0);
  expect(receiver.faults).toEqual([]);
  expect(receiver.ids).toEqual(Array.from({ length: 300 }, (_, i) => `store/${i + 1}`));
  expect(receiver.headers[0]).toMatchObject({ authorization: 'Bearer t0ken' });
  await until(() => exports.lag()[0]!.delivered === 300);
});

test('an OTLP receiver that is overloaded is asked again, and one that rejects some is not', async () => {
  const receiver = await new OtlpReceiver().start();
  const answers = [503, 429, 500];
  receiver.answer = () => {
    const status = answers.shift() ?? 200;
    return {
      status,
      headers: { ...(status === 429 && { 'retry-after': '1' }) } as Record<string, string>,
      body: { partialSuccess: { rejectedLogRecords: '2' } },
    };
  };
  await records(3);
  const exports = exporting(`exports: [{ name: otel, otlp: { url: "http://127.0.0.1:${receiver.port}/v1/logs" } }]`);
  await until(() => exports.lag()[0]!.delivered === 3);
  expect(exports.lag()).toMatchObject([{ failures: 3 }]);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(receiver.ids).toEqual(['store/1', 'store/2', 'store/3']);
});

test.each([
  ['exports: [{ name: a }]', /exports\.0: expected exactly one of file, syslog and otlp/],
  ['exports: [{ name: a, file: { path: relative } }]', /exports\.0\.file\.path: expected an absolute path/],
  ['exports: [{ name: a, syslog: { host: h, port: 1, transport: SMTP } }]', /transport/],
  ['retention: 5m', /retention: expected at least 1h/],
  ['retntion: 5h', /retntion/],
  ['exports: [', /cannot be read/],
])('audit.yaml that says %s is refused with a reason', (yaml, reason) => {
  const path = join(dir, 'audit.yaml');
  writeFileSync(path, yaml);
  expect(() => readAuditConfig(path)).toThrow(
    expect.objectContaining({ code: 'AuditConfigInvalid', message: expect.stringMatching(reason) }),
  );
});

test('the audit.yaml that docs/audit.md shows is valid', () => {
  const page = readFileSync(new URL('../../../docs/audit.md', import.meta.url), 'utf8');
  const path = join(dir, 'audit.yaml');
  writeFileSync(path, /```yml\n([^`]*)```/.exec(page)![1]!);
  const { exports, retention } = readAuditConfig(path);
  expect(retention).toBe('2160h');
  expect(exports.map(({ name }) => name)).toEqual(['archive', 'siem', 'collector']);
});

test('a store reads audit.yaml of its state directory: it exports, and prunes what is older than the retention', async () => {
  const path = join(dir, 'audit.jsonl');
  await records(5);
  writeFileSync(core.files.auditConfig, `retention: 24h\nexports: [{ name: file, file: { path: ${path} } }]`);
  await core.reopen();
  await until(() => core.store.auditExports.lag()[0]!.delivered >= 5);
  core.clock.advance(25 * 3_600);
  await record(6);
  await core.store.tick();
  const [chain] = await core.store.audit.chains();
  expect(chain!.checkpoint!.seq).toBeGreaterThanOrEqual(5);
  await until(() => linesOf(path).some((line) => JSON.parse(line).event.kind === 'audit.pruned'));
});
