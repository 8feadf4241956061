import { inspect } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { KubeClient, type KubeError } from './client.ts';
import { ApiDouble, answer, configMap, refusal } from './testing/apiDouble.ts';

let api: ApiDouble | undefined;
afterEach(async () => {
  await api?.close();
  api = undefined;
});

test('a list is read page after page', async () => {
  api = await ApiDouble.start(({ query }, response) => {
    const more = query.get('continue');
    const page = more === null ? { items: [configMap('a', '1')], continue: 'next' } : { items: [configMap('b', '2')] };
    answer(response, 200, { items: page.items, metadata: { resourceVersion: '9', continue: page.continue } });
  });
  const { items, resourceVersion } = await api.client.list('/api/v1/configmaps', { labelSelector: 'a=b' });
  expect(items).toHaveLength(2);
  expect(resourceVersion).toBe('9');
  expect(api.requests).toEqual([
    'GET /api/v1/configmaps?limit=500&labelSelector=a%3Db',
    'GET /api/v1/configmaps?limit=500&labelSelector=a%3Db&continue=next',
  ]);
});

test('an apply is forced, in our name, and of the right type', async () => {
  let seen: unknown;
  api = await ApiDouble.start((request, response) => {
    seen = [request.method, request.headers['content-type'], request.body, request.headers.authorization];
    answer(response, 200, {});
  });
  await api.client.apply('/x/status', { a: 1 }, 'sidekey-operator');
  expect(seen).toEqual(['PATCH', 'application/apply-patch+yaml', '{"a":1}', 'Bearer test-token-value']);
  expect(api.requests).toEqual(['PATCH /x/status?fieldManager=sidekey-operator&force=true']);
});

test('one connection serves one call after the other', async () => {
  const ports = new Set<number | undefined>();
  api = await ApiDouble.start(({ socket }, response) => {
    ports.add(socket.remotePort);
    answer(response, 200, {});
  });
  for (let i = 0; i < 20; i += 1) await api.client.get('/x');
  expect(ports.size).toBeLessThanOrEqual(2);
});

test('a refusal tells verb, path, status and reason, and neither headers nor what the server says of the object', async () => {
  api = await ApiDouble.start((_request, response) =>
    answer(response, 403, refusal(403, 'Forbidden', 'value "hunter2" is forbidden'), { 'retry-after': '7' }),
  );
  const error = await api.client.create('/api/v1/secrets', { value: 'hunter2' }).catch((e: KubeError) => e);
  expect(error).toMatchObject({ code: 'KubeRefused', status: 403, reason: 'Forbidden', retryAfterSeconds: 7 });
  expect((error as KubeError).message).toBe('create /api/v1/secrets: 403 Forbidden');
  const shown = inspect(error, { depth: 9, showHidden: false }) + JSON.stringify(error);
  for (const secret of ['hunter2', 'test-token-value']) expect(shown).not.toContain(secret);
  expect((error as KubeError).serverMessage).toContain('hunter2');
});

test('what is no answer of an API server is refused with its status, or as no JSON', async () => {
  api = await ApiDouble.start(({ url }, response) => {
    response.writeHead(url === '/bad' ? 200 : 502, { 'content-type': 'text/html' }).end('<h1>secret words</h1>');
  });
  await expect(api.client.get('/gateway')).rejects.toMatchObject({ code: 'KubeRefused', status: 502 });
  const error = (await api.client.get('/bad').catch((e: unknown) => e)) as KubeError;
  expect(error.message).toBe('get /bad: the answer is no JSON');
});

test('what a pod answers whom the API server asks for us is kept, if it is JSON and short', async () => {
  const long = { ready: false, why: 'x'.repeat(5_000) };
  api = await ApiDouble.start(({ url }, response) => answer(response, 503, url === '/long' ? long : { ready: false }));
  const wordsOf = (path: string) => api!.client.get(path).catch((error: KubeError) => error.serverMessage);
  expect(await wordsOf('/pods/x:9090/proxy/readyz')).toBe('{"ready":false}');
  expect(await wordsOf('/long')).toBe('');
});

test('a redirect is not followed', async () => {
  api = await ApiDouble.start((_request, response) =>
    response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  );
  await expect(api.client.get('/x')).rejects.toMatchObject({ code: 'KubeRefused', status: 302 });
});

test('a server that is not there is unreachable', async () => {
  const client = new KubeClient({ url: 'http://127.0.0.1:1', headers: async () => ({}) });
  await expect(client.get('/x')).rejects.toMatchObject({ code: 'KubeUnreachable', status: 0, reason: 'ECONNREFUSED' });
  await client.close();
});

test('an ERROR event in a watch that stays open ends it', async () => {
  api = await ApiDouble.start((_request, response) => {
    response.write(`${JSON.stringify({ type: 'ADDED', object: configMap('a', '1') })}\n`);
    response.write(`${JSON.stringify({ type: 'ERROR', object: refusal(500, 'InternalError') })}\n`);
  });
  const events: string[] = [];
  const watch = async () => {
    for await (const { type } of api!.client.watch('/x', {}, new AbortController().signal)) events.push(type);
  };
  await expect(watch()).rejects.toMatchObject({ code: 'KubeRefused', status: 500, reason: 'InternalError' });
  expect(events).toEqual(['ADDED']);
});

test('events are whole however the bytes are cut, also within a character', async () => {
  const line = Buffer.from(`${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'ä€😀' } } })}\n`);
  api = await ApiDouble.start(async (_request, response) => {
    for (const byte of line) {
      response.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    // Half a line: the connection broke off.
    response.end('{"type":"ADD');
  });
  const names: (string | undefined)[] = [];
  for await (const { object } of api.client.watch('/x', {}, new AbortController().signal))
    names.push(object.metadata?.name);
  expect(names).toEqual(['ä€😀']);
});

test('a watch ends quietly when it is aborted', async () => {
  api = await ApiDouble.start((_request, response) => {
    response.write(`${JSON.stringify({ type: 'ADDED', object: configMap('a', '1') })}\n`);
  });
  const abort = new AbortController();
  let count = 0;
  for await (const _event of api.client.watch('/x', {}, abort.signal)) {
    count += 1;
    abort.abort();
  }
  expect(count).toBe(1);
});
