import { expect, test } from 'vitest';
import { StoreFailure, UNREACHABLE } from '../link/storeFailure.ts';
import { dial, echoHeads, grantFor } from '../listen/testkit.ts';
import { get, parsed, post, setUp, until } from './testkit.ts';

const strict = { grants: (host: string) => [grantFor([host], { auditStrict: true })] };

/** A promise that a test settles. */
function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

test('with audit: Strict nothing reaches the upstream before the use is on record', async () => {
  const { proxy, upstream, host, url } = await setUp({}, echoHeads, strict);
  const durable = gate();
  proxy.store.onReport = ({ strict }) => (strict ? durable.opened : Promise.resolve());
  const agent = (await dial(proxy.port)).send(get(`${url}/v1/users/4711?token=x`, host));
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(upstream.peers.length).toBe(0);
  durable.open();
  expect(parsed((await agent.answer()).head).status).toBe(200);
  expect(proxy.store.intended).toMatchObject([
    {
      method: 'GET',
      path: '/v1/users/{id}',
      authority: host,
      credential: 'default/key',
      leaseId: 'lease-1',
      status: 0,
    },
  ]);
  const [done] = await proxy.used();
  expect(done).toMatchObject({ status: 200, count: 1, requestId: proxy.store.intended[0]!.requestId });
});

test('with audit: Strict and the store away the request is refused with 503 StoreUnavailable, and never sent', async () => {
  const { proxy, upstream, host, url } = await setUp({}, echoHeads, strict);
  proxy.store.onReport = async ({ strict }) => {
    if (strict) throw new StoreFailure(UNREACHABLE, 'away');
  };
  const agent = (await dial(proxy.port)).send(post(url, host, 5)).send('hello');
  const { head } = await agent.answer();
  expect(parsed(head)).toEqual({ status: 503, code: 'StoreUnavailable' });
  expect(head).toMatch(/retry-after: 1/i);
  expect(upstream.peers.length).toBe(0);
  expect(await proxy.used()).toMatchObject([{ status: 503, refusal: 'StoreUnavailable' }]);
});

test('a kept connection that was closed meanwhile costs a strict request nothing but a second try', async () => {
  const { proxy, host, url } = await setUp({}, echoHeads, strict);
  let failures = 1;
  proxy.store.onReport = async ({ strict }) => {
    if (strict && failures-- > 0) throw new StoreFailure(UNREACHABLE, 'closed');
  };
  const agent = (await dial(proxy.port)).send(get(url, host));
  expect(parsed((await agent.answer()).head).status).toBe(200);
  expect(proxy.store.intended.length).toBe(1);
});

test('strict uses are individual records, ordinary ones of the same shape one with a count', async () => {
  for (const [options, counts] of [
    [strict, [1, 1, 1]],
    [{}, [3]],
  ] as const) {
    const { proxy, host, url } = await setUp({}, echoHeads, options);
    const agent = await dial(proxy.port);
    for (let i = 0; i < 3; i += 1) {
      agent.send(get(url, host));
      await agent.answer();
    }
    const used = await proxy.used();
    expect(used.map(({ count }) => count)).toEqual(counts);
    expect(new Set(used.map(({ requestId }) => requestId)).size).toBe(counts.length);
    expect(proxy.store.intended.length).toBe(options === strict ? 3 : 0);
  }
});

test('strict requests that wait at the same time share one report', async () => {
  const { proxy, host, url } = await setUp({}, echoHeads, strict);
  const reports: number[] = [];
  const durable = gate();
  proxy.store.onReport = async (report) => {
    if (!report.strict) return;
    reports.push(report.records.length);
    await durable.opened;
  };
  const agents = await Promise.all(Array.from({ length: 20 }, () => dial(proxy.port)));
  for (const agent of agents) agent.send(get(url, host));
  await until(() => reports.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  durable.open();
  for (const agent of agents) expect(parsed((await agent.answer()).head).status).toBe(200);
  expect(reports.length).toBeLessThanOrEqual(3);
  expect(reports.reduce((sum, count) => sum + count, 0)).toBe(20);
});

test('a strict request repeated with a newer version is on record once for each version', async () => {
  const { proxy, upstream, host, url } = await setUp({}, undefined, strict);
  proxy.store.onRefused = () => {
    proxy.store.version = 2;
    proxy.deps.grants.apply({ type: 'version', credential: 'default/key', version: 2 });
  };
  const agent = (await dial(proxy.port)).send(get(url, host));
  const first = await upstream.next();
  await first.until('\r\n\r\n');
  first.send('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
  const second = await upstream.next();
  await second.until('\r\n\r\n');
  expect(proxy.store.intended.map(({ version }) => version)).toEqual([1, 2]);
  expect(new Set(proxy.store.intended.map(({ requestId }) => requestId)).size).toBe(1);
  second.send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  expect(parsed((await agent.answer()).head).status).toBe(200);
});

test('an agent that goes while its use is being put on record is never acted for', async () => {
  const { proxy, upstream, host, url } = await setUp({}, echoHeads, strict);
  const durable = gate();
  proxy.store.onReport = ({ strict }) => (strict ? durable.opened : Promise.resolve());
  const agent = (await dial(proxy.port)).send(get(url, host));
  await new Promise((resolve) => setTimeout(resolve, 50));
  agent.reset();
  await until(() => proxy.deps.metrics.clientConnections === 0);
  durable.open();
  await until(async () => (await proxy.used()).length === 1);
  expect(upstream.peers.length).toBe(0);
});

test('without audit: Strict the store is not asked at all', async () => {
  const { proxy, host, url } = await setUp({}, echoHeads);
  const calls: unknown[] = [];
  proxy.store.onReport = async (report) => {
    calls.push(report);
  };
  const agent = await dial(proxy.port);
  for (let i = 0; i < 50; i += 1) {
    agent.send(get(url, host));
    expect(parsed((await agent.answer()).head).status).toBe(200);
  }
  expect(calls.length).toBe(0);
  expect(proxy.store.requests.length).toBe(1);
});
