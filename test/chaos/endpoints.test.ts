import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Fastify from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MATERIAL_CONTENT_TYPE } from '../../api/fields.ts';
import { adminRoutes } from '../../store/api/adminRoutes.ts';
import { kekRoutes } from '../../store/api/kekRoutes.ts';
import { protocolRoutes } from '../../store/api/protocolRoutes.ts';
import { STORE_ERRORS } from '../../store/errors.ts';
import { TestCore } from '../../store/testing/core.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, json, material, SESSION, StoreClient, verified } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { Random } from './random.ts';

const SEED = 20_261_125;
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'];
const ROUNDS = 14;
const ANSWER_MS = 4_000;
/** Longest that a stream that was opened is listened to. */
const LISTEN_MS = 100;

interface Endpoint {
  listener: 'admin' | 'sidecar' | 'operator' | 'anonymous';
  method: string;
  url: string;
}

let dir: string;
let store: StoreProcess;
let operator: StoreClient;
let sidecar: StoreClient;
let endpoints: Endpoint[];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-endpoints-'));
  store = await StoreProcess.start(join(dir, 'state'));
  operator = await StoreClient.join(store, { kind: 'operator' });
  await renew();
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord()));
  await operator.call('PUT', '/v1/credentials/default/key/material', material({ value: 'x' }));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
  endpoints = await routes();
});
afterAll(async () => {
  operator?.close();
  sidecar?.close();
  await store?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function renew(): Promise<void> {
  sidecar?.close();
  sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
}

/** Every route there is, as Fastify knows it, for each that can reach it. */
async function routes(): Promise<Endpoint[]> {
  const core = await TestCore.open();
  const found: Endpoint[] = [];
  try {
    for (const [listeners, register] of [
      [['admin'], [adminRoutes, kekRoutes]],
      [['sidecar', 'operator', 'anonymous'], [protocolRoutes]],
    ] as const) {
      const app = Fastify({ exposeHeadRoutes: false });
      app.addContentTypeParser(MATERIAL_CONTENT_TYPE, async () => Buffer.alloc(0));
      app.addHook('onRoute', ({ method, url }) => {
        for (const listener of listeners) found.push({ listener, method: String(method), url });
      });
      for (const one of register) one(app, core.store);
      await app.ready();
      await app.close();
    }
  } finally {
    await core.remove();
  }
  return found;
}

const STRINGS = [
  '',
  'x',
  '__proto__',
  'constructor',
  '../..',
  '\u0000',
  '\ud800',
  'default/key',
  'ns/'.repeat(500),
  'x'.repeat(70_000),
  '%00',
  "' OR 1=1 --",
  '9'.repeat(400),
  'NaN',
  '-1',
  '2026-13-45T99:99:99Z',
  '2026-01-01T00:00:00.000Z',
];
const NUMBERS = [0, -0, -1, 1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, Number.MIN_VALUE];
const NAMES = [
  'credential',
  'selector',
  'reason',
  'session',
  'records',
  'dropped',
  'strict',
  'joinToken',
  'publicKeyPem',
  'kind',
  'hosts',
  'inject',
  'root',
  'to',
  'before',
  'namespace',
  'tag',
  'lease',
  'everything',
  'file',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
];
const BODIES = [
  json({ selector: { lease: 'none' } }),
  json({ credential: 'default/key' }),
  json({ kind: 'session', session: SESSION }),
  json(credentialRecord()),
  json(integrationRecord()),
  json({ dropped: 0, records: [] }),
  json({ to: { file: '/dev/null' } }),
  json({ to: { transit: { address: 'https://127.0.0.1:1', keyName: 'k', tokenFile: '/none' } } }),
  material({ value: 'x' }),
  material({ key: 'short', passphrase: '{"n":1e9}' }),
  material({ key: 'k'.repeat(32), passphrase: '{"n":1.5,"r":null}' }),
  material({ key: 'k'.repeat(32), passphrase: 'null' }),
];
const TYPES = [
  'application/json',
  'application/json; charset=utf-7',
  MATERIAL_CONTENT_TYPE,
  'text/plain',
  'multipart/form-data; boundary=x',
  'a/b/c',
  ';',
  'application/x-www-form-urlencoded',
];

function value(random: Random, depth: number): unknown {
  const kind = random.below(depth > 3 ? 4 : 6);
  if (kind === 0) return random.pick(STRINGS);
  if (kind === 1) return random.pick(NUMBERS);
  if (kind === 2) return random.pick([null, true, false]);
  if (kind === 3) return [];
  if (kind === 4) return Array.from({ length: random.below(4) }, () => value(random, depth + 1));
  return Object.fromEntries(
    Array.from({ length: random.below(6) }, () => [random.pick(NAMES), value(random, depth + 1)]),
  );
}

/** A right body with one thing in it that is wrong. */
function mutated(random: Random): string {
  const text = String(random.pick(BODIES).bytes);
  if (!text.startsWith('{')) return text;
  const object = JSON.parse(text) as Record<string, unknown>;
  const names = Object.keys(object);
  object[random.below(3) === 0 ? random.pick(NAMES) : random.pick(names)] = value(random, 0);
  return JSON.stringify(object);
}

function body(random: Random): { type: string; bytes: string | Buffer } | undefined {
  const type = random.below(4) === 0 ? random.pick(TYPES) : 'application/json';
  switch (random.below(8)) {
    case 0:
      return undefined;
    case 1:
      return random.pick(BODIES);
    case 2:
      return { type, bytes: JSON.stringify(value(random, 0)) ?? 'undefined' };
    case 3:
      return { type, bytes: `{"__proto__":{"x":1},"${random.pick(NAMES)}":{"constructor":{"prototype":{}}}}` };
    case 4:
      return { type, bytes: `${'[{"a":'.repeat(20_000)}` };
    case 5: {
      const { type: right, bytes } = random.pick(BODIES);
      return { type: right, bytes: Buffer.from(bytes).subarray(0, random.below(bytes.length + 1)) };
    }
    case 6: {
      const frame = Buffer.from(random.pick(BODIES).bytes);
      for (let n = 0; n < 4 && frame.length > 0; n += 1) frame[random.below(frame.length)] = random.below(256);
      return { type: random.pick([MATERIAL_CONTENT_TYPE, 'application/json']), bytes: frame };
    }
    default:
      return { type: 'application/json', bytes: mutated(random) };
  }
}

function path(random: Random, url: string): string {
  const part = () =>
    random.below(2) === 0
      ? random.pick(['default', 'key'])
      : encodeURIComponent(random.pick(STRINGS.filter((text) => text.length < 200 && text !== '\ud800')));
  const filled = url.replace(/:\w+/g, part);
  const query = () =>
    `${random.pick([...NAMES, 'after', 'limit', 'since', 'until', 'cursor', 'pod', 'id', 'chain'])}=${encodeURIComponent(random.pick(STRINGS.filter((text) => text.length < 2_000 && text !== '\ud800')))}`;
  return random.below(3) === 0 ? `${filled}?${query()}&${query()}` : filled;
}

interface Got {
  status: number;
  text: string;
}

function send(
  { listener, method, url }: Endpoint,
  what: ReturnType<typeof body>,
  truncated: boolean,
): Promise<Got | 'closed'> {
  const client = { sidecar, operator }[listener as 'sidecar'];
  const anonymousTls = { ca: store.trustBundlePem, servername: 'store.sidekey.internal' };
  const outgoing =
    listener === 'admin'
      ? httpRequest({ socketPath: store.adminSocket, method, path: url, agent: false })
      : httpsRequest(new URL(url, store.storeUrl), {
          method,
          ...(client ? { agent: client.agent } : { agent: false, ...anonymousTls }),
        });
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${listener} ${method} ${url} is not answered`)), ANSWER_MS);
    const done = (got: Got | 'closed') => {
      clearTimeout(late);
      resolve(got);
      outgoing.destroy();
    };
    outgoing.on('error', () => done('closed'));
    outgoing.on('response', (response: IncomingMessage) => {
      let text = '';
      const told = () => done({ status: response.statusCode!, text });
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('end', told).on('error', () => done('closed'));
      if (response.statusCode === 200) setTimeout(told, LISTEN_MS);
    });
    if (what === undefined) outgoing.end();
    else {
      outgoing.setHeader('content-type', what.type);
      outgoing.setHeader('content-length', Buffer.byteLength(what.bytes) + (truncated ? 7 : 0));
      outgoing.write(what.bytes);
      if (truncated) setTimeout(() => done('closed'), 5);
      else outgoing.end();
    }
  });
}

test('whatever is sent to any route of either listener gets a code of the table, never 500 and never a stack, and the store lives', {
  timeout: 90_000,
}, async () => {
  const random = new Random(SEED);
  let refused = 0;
  expect(endpoints.length).toBeGreaterThan(50);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const endpoint of endpoints) {
      const method = random.below(4) === 0 ? random.pick(METHODS) : endpoint.method;
      const url = path(random, endpoint.url);
      const what = method === 'GET' || method === 'HEAD' ? undefined : body(random);
      const got = await send({ ...endpoint, method, url }, what, random.below(25) === 0);
      if (got === 'closed') continue;
      const at = `${endpoint.listener} ${method} ${url.slice(0, 200)} ${what?.type} ${String(what?.bytes).slice(0, 300)} → ${got.status} ${got.text.slice(0, 300)}`;
      if (endpoint.listener === 'sidecar' && (got.status === 429 || got.status === 401)) await renew();
      if (got.status < 300 || method === 'HEAD') {
        expect(got.status, at).toBeLessThan(500);
        continue;
      }
      refused += 1;
      const { code, message, ...rest } = JSON.parse(got.text);
      expect([Object.hasOwn(STORE_ERRORS, code), rest], at).toEqual([true, {}]);
      expect(code, at).not.toBe('InternalError');
      expect(got.status, at).toBe(STORE_ERRORS[code as keyof typeof STORE_ERRORS].status);
      expect(message, at).not.toMatch(/\bat .*:\d+:\d+|node_modules|FST_|SQLITE|\/work\/|store\/[a-z]+\//);
    }
  }
  expect(refused).toBeGreaterThan(endpoints.length);
  expect(store.child.exitCode).toBeNull();
  expect((await admin(store, 'GET', '/v1/admin/sessions')).status).toBe(200);
  expect(store.log.join('')).not.toContain('InternalError');
  const { problems } = await verified(store);
  expect(problems).toEqual([]);
});
