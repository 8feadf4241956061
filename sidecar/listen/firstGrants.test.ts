import { describe, expect, test } from 'vitest';
import { get as GET, parsed, post, setUp, until } from '../exchange/testkit.ts';
import {
  CREDENTIAL,
  captured,
  dial,
  echoHeads,
  grantFor,
  INTEGRATION,
  MATERIAL,
  type Peer,
  secure,
  startUpstream,
} from './testkit.ts';

/** A sidecar that knows no grants yet, and an agent that asks at once in each way there is. */
async function early(waitMs = 5_000) {
  const secureUpstream = await startUpstream(undefined, true);
  const all = await setUp({ ready: false, waitMs }, echoHeads);
  const { proxy, host, url } = all;
  const secureHost = `api.test:${secureUpstream.port}`;
  const grants = [grantFor([host, secureHost], { alias: 'api' })];
  const connect = `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  return {
    ...all,
    secureUpstream,
    secureHost,
    known: () => proxy.deps.grants.apply({ type: 'snapshot', grants, versions: { [CREDENTIAL]: 1 } }),
    waiting: (count: number) => until(() => proxy.deps.grants.waiting === count),
    forward: async () => (await dial(proxy.port)).send(GET(`${url}/forward`, host)),
    tunnelled: async () => (await dial(proxy.port)).send(connect),
    captured: async () => (await dial(await captured(proxy, all.upstream.port))).send(GET('/captured', host)),
    capturedTls: async () =>
      secure(await dial(await captured(proxy, secureUpstream.port)), {
        ca: proxy.deps.ca.caPem,
        servername: 'api.test',
      }),
  };
}

const CREDENTIALED = `Authorization: Bearer ${'*'.repeat(MATERIAL.length)}`;

describe('before the first grants', () => {
  test('requests wait, whichever way they come, and carry the credential then', async () => {
    const { known, waiting, forward, tunnelled, captured, capturedTls, secureUpstream, secureHost, host } =
      await early();
    const [first, second, third] = await Promise.all([forward(), tunnelled(), captured()]);
    const fourth = capturedTls();
    // What comes behind a CONNECT that waits is kept.
    second.send(GET('/tunnelled', host));
    await waiting(4);
    known();
    expect((await first.answer()).body).toContain(CREDENTIALED);
    await second.until('200 Connection Established\r\n\r\n');
    expect((await second.answer()).body).toContain(CREDENTIALED);
    expect((await third.answer()).body).toContain(CREDENTIALED);
    const agent = await fourth;
    agent.send(GET('/', secureHost));
    expect(await (await secureUpstream.next()).until('\r\n\r\n')).toContain(`Authorization: Bearer ${MATERIAL}`);
  });

  test('a body waits with its request, and what is pipelined behind it too', async () => {
    const { proxy, known, waiting, host, url } = await early();
    const agent = await dial(proxy.port);
    agent.send(`${post(`${url}/`, host, 200_000)}${'x'.repeat(100_000)}`);
    await waiting(1);
    agent.send(`${'x'.repeat(100_000)}${GET(`${url}/behind`, host)}`);
    known();
    expect((await agent.answer()).body).toContain('POST / ');
    expect((await agent.answer()).body).toContain('GET /behind ');
  });

  test('they wait for a bounded time, then hear when to come back', async () => {
    const { forward, tunnelled, captured, capturedTls, waiting, proxy } = await early(150);
    const handshake = expect(capturedTls()).rejects.toMatchObject({ code: expect.stringMatching(/INTERNAL_ERROR/) });
    for (const agent of [await forward(), await tunnelled(), await captured()]) {
      const { head } = await agent.answer();
      expect(parsed(head)).toEqual({ status: 503, code: 'StoreUnavailable' });
      expect(head).toMatch(/\r\nRetry-After: 1\r\n/i);
    }
    await handshake;
    await waiting(0);
    await proxy.used();
  });

  test('a bounded number waits, the others hear at once', async () => {
    const { proxy, forward, waiting } = await early();
    const agents: Peer[] = [];
    for (let i = 0; i < 1_024; i += 128) agents.push(...(await Promise.all(Array.from({ length: 128 }, forward))));
    await waiting(1_024);
    const one = await forward();
    expect(parsed((await one.answer()).head).code).toBe('StoreUnavailable');
    for (const agent of agents) agent.socket.destroy();
    await until(() => proxy.deps.metrics.clientConnections <= 1);
    await waiting(0);
  });

  test('agents that leave are not waited for', async () => {
    const { forward, tunnelled, captured, waiting } = await early();
    const agents = [await forward(), await tunnelled(), await captured()];
    await waiting(3);
    for (const agent of agents) agent.reset();
    await waiting(0);
  });

  test('a store that does not take this pod, and a session that ends, are heard of at once', async () => {
    const { proxy, forward, waiting } = await early();
    const agent = await forward();
    await waiting(1);
    proxy.deps.grants.refuse('PodUnknown');
    const { head, body } = await agent.answer();
    expect(parsed(head).code).toBe('StoreUnavailable');
    expect(body).toContain('does not take this pod: PodUnknown');
    proxy.deps.grants.end('revoked');
    expect(parsed((await (await forward()).answer()).head).code).toBe('Revoked');
  });
});

test('a session that is lost gives everything up at once, and requests wait for the next one', async () => {
  const { proxy, known, forward, waiting } = await early();
  known();
  expect((await (await forward()).answer()).body).toContain(CREDENTIALED);
  proxy.deps.grants.lose();
  expect(proxy.deps.grants.leases.stats().held).toBe(0);
  expect(proxy.deps.grants.table.entries).toEqual([]);
  const agent = await forward();
  await waiting(1);
  proxy.deps.grants.begin();
  known();
  expect((await agent.answer()).body).toContain(CREDENTIALED);
  expect(proxy.deps.grants.table.entries.map(({ integration }) => integration)).toEqual([INTEGRATION]);
});
