import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import Fastify from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { z } from 'zod';
import { adminRoutes } from '../../store/api/adminRoutes.ts';
import { kekRoutes } from '../../store/api/kekRoutes.ts';
import type { Store } from '../../store/core.ts';
import { TestCore } from '../../store/testing/core.ts';
import { type Answer, admin, json, material, SESSION, StoreClient } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { StoreError } from './adminApi/answers.ts';
import { adminApiDocument } from './adminApi/document.ts';
import { OPERATIONS } from './adminApi/operations.ts';

let dir: string;
let store: StoreProcess;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-openapi-'));
  store = await StoreProcess.start(join(dir, 'state'));
});
afterAll(async () => {
  await store.kill();
  rmSync(dir, { recursive: true, force: true });
});

test('the reference of the admin API is what the schemas say now', async () => {
  await expect(`${JSON.stringify(adminApiDocument(), null, 2)}\n`).toMatchFileSnapshot(
    '../../docs/reference/admin-api.json',
  );
});

test('it is valid OpenAPI', async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(structuredClone(adminApiDocument()));
  expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
});

test('it has exactly the routes that there are', async () => {
  const core = await TestCore.open();
  const app = Fastify();
  const routes = new Set<string>();
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) if (one !== 'HEAD') routes.add(`${one} ${url.replaceAll(/:(\w+)/g, '{$1}')}`);
  });
  adminRoutes(app, core.store as Store);
  kekRoutes(app, core.store as Store);
  await app.ready();
  await app.close();
  await core.remove();
  expect(Object.keys(OPERATIONS).sort()).toEqual([...routes].sort());
});

test('what the store really answers is what it says', async () => {
  const invited = await call('POST /v1/admin/join-tokens', { body: json({ kind: 'session', session: SESSION }) });
  expect(invited).toMatchObject({ joinToken: expect.any(String) });
  const sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
  const operator = await StoreClient.join(store, { kind: 'operator' });
  const record = { hosts: ['a.example.com'], leaseSeconds: 60, consumerNamespaces: [], source: 'store' };
  await operator.call('PUT', '/v1/credentials/default/key', json(record));
  const material1 = material({ value: 'a value' });
  await call('PUT /v1/admin/credentials/{namespace}/{name}/material', {
    path: '/v1/admin/credentials/default/key/material',
    body: material1,
  });
  for (const key of ['credentials', 'sessions', 'ca', 'kek', 'audit/head', 'audit/chains'])
    await call(`GET /v1/admin/${key}`);
  const body = json({ selector: { role: 'coder' }, reason: 'a try' });
  await call('POST /v1/admin/revocations', { body });
  expect(await call('GET /v1/admin/revocations')).toHaveLength(1);
  await call('DELETE /v1/admin/revocations', { path: '/v1/admin/revocations?id=role:coder' });
  const lines = await call('GET /v1/admin/audit', { lines: true });
  expect(lines).toEqual(expect.arrayContaining([expect.objectContaining({ seq: 1 })]));
  await call('POST /v1/admin/audit/key');
  await call('POST /v1/admin/audit/prune', { body: json({ before: '2020-01-01T00:00:00Z' }) });
  await call('POST /v1/admin/ca/rotate', { body: json({}) });
  sidecar.close();
  operator.close();
});

test('what fails is answered as it says', async () => {
  for (const [method, path] of [
    ['DELETE', '/v1/admin/sessions/none'],
    ['GET', '/v1/admin/audit?after=x'],
    ['GET', '/v1/admin/nothing'],
  ] as const) {
    const answer = await admin(store, method, path);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    StoreError.parse(answer.json());
  }
});

async function call(
  key: keyof typeof OPERATIONS,
  options: { path?: string; body?: ReturnType<typeof json>; lines?: boolean } = {},
): Promise<unknown> {
  const [method, path] = key.split(' ') as [string, string];
  const answer: Answer = await admin(store, method, options.path ?? path, options.body);
  if (answer.status >= 300) throw new Error(`${key} was answered ${answer.status} ${answer.body}`);
  const schema = OPERATIONS[key]!.answer as z.ZodType;
  const parse = (text: string) => schema.parse(JSON.parse(text), { reportInput: true });
  const text = answer.body.toString();
  return options.lines ? text.trim().split('\n').map(parse) : parse(text);
}
