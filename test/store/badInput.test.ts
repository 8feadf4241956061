import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MATERIAL_CONTENT_TYPE, MATERIAL_LIMIT_BYTES } from '../../api/fields.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, type Body, json, material, SESSION, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

let dir: string;
let store: StoreProcess;
let operator: StoreClient;
let sidecar: StoreClient;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-badinput-'));
  store = await StoreProcess.start(join(dir, 'state'));
  operator = await StoreClient.join(store, { kind: 'operator' });
  sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord()));
});
afterAll(async () => {
  operator?.close();
  sidecar?.close();
  await store?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const raw = (type: string, bytes: string | Buffer): Body => ({ type, bytes });
const usage = (changes: object) =>
  json({
    dropped: 0,
    records: [
      {
        atMs: 1,
        count: 1,
        authority: 'a:443',
        method: 'GET',
        path: '/',
        status: 200,
        bytesUp: 0,
        bytesDown: 0,
        durationMs: 1,
        ...changes,
      },
    ],
  });
const CREDENTIAL = '/v1/credentials/default/key';
const MATERIAL = `${CREDENTIAL}/material`;
const INTEGRATION = '/v1/integrations/default/example';

test.each<[number, string, 'operator' | 'sidecar' | 'admin', string, string, Body | undefined]>([
  [400, 'no JSON', 'sidecar', 'POST', '/v1/leases', raw('application/json', '{"credential":')],
  [400, 'an empty body', 'sidecar', 'POST', '/v1/leases', raw('application/json', '')],
  [400, 'no body', 'sidecar', 'POST', '/v1/leases', undefined],
  [400, 'another content type', 'sidecar', 'POST', '/v1/leases', raw('text/plain', 'x')],
  [
    400,
    'a prototype key',
    'sidecar',
    'POST',
    '/v1/leases',
    raw('application/json', '{"__proto__":{},"credential":"a/b"}'),
  ],
  [400, 'a credential that is no key', 'sidecar', 'POST', '/v1/leases', json({ credential: '../key' })],
  [400, 'an unknown field', 'sidecar', 'POST', '/v1/leases', json({ credential: 'a/b', session: 'other' })],
  [400, 'a number out of range', 'sidecar', 'POST', '/v1/usage', usage({ bytesUp: -1 })],
  [400, 'a number that is none', 'sidecar', 'POST', '/v1/usage', usage({ durationMs: 'x' })],
  [400, 'a path that is too long', 'sidecar', 'POST', '/v1/usage', usage({ path: '/'.repeat(3000) })],
  [
    413,
    'a body that is too large',
    'sidecar',
    'POST',
    '/v1/usage',
    raw('application/json', `"${'x'.repeat(1_100_000)}"`),
  ],
  [400, 'a host with a scheme', 'operator', 'PUT', CREDENTIAL, json(credentialRecord({ hosts: ['https://x.com'] }))],
  [400, 'a lease without end', 'operator', 'PUT', CREDENTIAL, json(credentialRecord({ leaseSeconds: 1e9 }))],
  [400, 'generated without its policy', 'operator', 'PUT', CREDENTIAL, json(credentialRecord({ source: 'generated' }))],
  [400, 'a name in capitals', 'operator', 'PUT', '/v1/credentials/default/KEY', json(credentialRecord())],
  [400, 'an encoded slash', 'operator', 'PUT', '/v1/credentials/default/a%2fb', json(credentialRecord())],
  [400, 'a placement of none', 'operator', 'PUT', INTEGRATION, json({ ...integrationRecord(), inject: [{}] })],
  [
    400,
    'a network that is none',
    'operator',
    'PUT',
    INTEGRATION,
    json(integrationRecord({ allowedNetworks: ['10/8'] })),
  ],
  [400, 'material as JSON', 'operator', 'PUT', MATERIAL, json({ value: 'x' })],
  [
    400,
    'a material frame cut short',
    'operator',
    'PUT',
    MATERIAL,
    raw(MATERIAL_CONTENT_TYPE, Buffer.from('\x05value\0\0\0\x09abc')),
  ],
  [400, 'material without a field', 'operator', 'PUT', MATERIAL, raw(MATERIAL_CONTENT_TYPE, '')],
  [
    413,
    'material that is too large',
    'operator',
    'PUT',
    MATERIAL,
    raw(MATERIAL_CONTENT_TYPE, Buffer.alloc(MATERIAL_LIMIT_BYTES + 1)),
  ],
  [
    404,
    'material of no credential',
    'operator',
    'PUT',
    '/v1/credentials/default/none/material',
    material({ value: 'x' }),
  ],
  [400, 'tags that are no list', 'operator', 'PUT', '/v1/sessions?pod=x', json({ tags: 'llm' })],
  [400, 'a tag that is too long', 'operator', 'PUT', '/v1/sessions?pod=x', json({ tags: ['x'.repeat(64)] })],
  [400, 'labels of no pod', 'operator', 'PUT', '/v1/sessions', json({ tags: [] })],
  [400, 'a subject that asks for more', 'operator', 'PUT', '/v1/sessions?pod=x', json({ tags: [], namespace: 'y' })],
  [400, 'a join by both tokens', 'operator', 'POST', '/v1/join', json({ joinToken: 'a', serviceAccountToken: 'b' })],
  [404, 'no route', 'operator', 'GET', '/v2/objects', undefined],
  [404, 'no such session', 'admin', 'DELETE', '/v1/admin/sessions/none', undefined],
  [404, 'no such material', 'admin', 'DELETE', '/v1/admin/credentials/default/none/material', undefined],
  [
    400,
    'a session without a namespace',
    'admin',
    'POST',
    '/v1/admin/join-tokens',
    json({ kind: 'session', session: { tags: [] } }),
  ],
  [
    400,
    'an operator with a session',
    'admin',
    'POST',
    '/v1/admin/join-tokens',
    json({ kind: 'operator', session: SESSION }),
  ],
  [400, 'a query that is no number', 'admin', 'GET', '/v1/admin/audit?after=x', undefined],
])('%i for %s', async (status, _what, who, method, path, body) => {
  const answer =
    who === 'admin'
      ? await admin(store, method, path, body)
      : await { operator, sidecar }[who].call(method, path, body);
  const { code, message, ...rest } = answer.json<{ code: string; message: string }>();
  expect([answer.status, rest]).toEqual([status, {}]);
  expect(code).toBe({ 400: 'MalformedRequest', 404: 'NotFound', 413: 'TooLarge' }[status]);
  expect(message).not.toMatch(/\bat .*:\d+|node_modules|FST_|zod/i);
});

test('an error names the field and what was expected of it', async () => {
  const answer = await operator.call(
    'PUT',
    CREDENTIAL,
    json(credentialRecord({ hosts: ['good.example.com', 'bad host'] })),
  );
  expect(answer.json<{ message: string }>().message).toMatch(/^hosts\.1: expected host\[:port\]/);
});

test('a client that leaves in the middle of its request is no failure of the store', async () => {
  const { hostname: host, port } = new URL(store.storeUrl);
  const tls = {
    host,
    port: Number(port),
    ca: store.trustBundlePem,
    servername: 'store.sidekey.internal',
    ...operator.tls,
  };
  const socket = connect(tls);
  socket.write(
    'POST /v1/renew HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a":',
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(store.log.join('')).not.toContain('InternalError');
});

test('what is no HTTP is answered in the same shape, and the store goes on', async () => {
  const { hostname: host, port } = new URL(store.storeUrl);
  const codeFor = async (write: string) => {
    const socket = connect({
      host,
      port: Number(port),
      ca: store.trustBundlePem,
      servername: 'store.sidekey.internal',
    });
    let answer = '';
    socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
    socket.end(write);
    await new Promise((resolve) => socket.on('error', () => {}).on('close', resolve));
    return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))).code;
  };
  const smuggled = 'POST /v1/join HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n';
  for (const garbage of ['GET\n\n', '\0\0\0\0', smuggled]) expect(await codeFor(garbage)).toBe('MalformedRequest');
  expect(await codeFor(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)).toBe('TooLarge');
  // Not even TLS, and a handshake that stops half-way.
  const noTls = connectPlain({ host, port: Number(port) });
  noTls.end('hello\r\n\r\n');
  await new Promise((resolve) =>
    noTls
      .on('error', () => {})
      .on('close', resolve)
      .resume(),
  );
  const half = connectPlain({ host, port: Number(port) });
  half.write(Buffer.from('16030100f8010000f40303', 'hex'));
  expect((await operator.call('GET', '/v1/objects')).status).toBe(200);
  half.destroy();
});
