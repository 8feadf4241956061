import { describe, expect, test } from 'vitest';
import { dial, grantFor, type Peer, type Upstream } from '../listen/testkit.ts';
import { get as GET, post as POST, parsed, setUp, until } from './testkit.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const UNAUTHORIZED = 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno';

/** Has an exchange leave an idle upstream connection behind. */
async function warmUp(o: Awaited<ReturnType<typeof setUp>>) {
  const agent = await dial(o.proxy.port);
  agent.send(GET(`${o.url}/warm`, o.host));
  const peer = await o.upstream.next();
  await peer.until('\r\n\r\n');
  peer.send(OK);
  await agent.answer();
  return { agent, peer };
}

describe('a pooled connection that turns out to be closed', () => {
  /** Closes it at the very moment that the next request is on its way. */
  const closeOnNext = (peer: Peer) => {
    peer.socket.once('data', () => peer.socket.resetAndDestroy());
  };

  test('has an idempotent request sent once more, on a new one', async () => {
    const o = await setUp();
    const { agent, peer } = await warmUp(o);
    closeOnNext(peer);
    agent.send(GET(`${o.url}/again`, o.host));
    const second = await o.upstream.next();
    expect(await second.until('\r\n\r\n')).toContain('GET /again ');
    second.send(OK);
    expect((await agent.answer()).body).toBe('ok');
  });

  test('has an idempotent request sent once more with its body', async () => {
    const o = await setUp();
    const { agent, peer } = await warmUp(o);
    closeOnNext(peer);
    agent.send(`${POST(`${o.url}/again`, o.host, 5).replace('POST', 'PUT')}hello`);
    const second = await o.upstream.next();
    expect(await second.until('hello')).toContain('PUT /again ');
    second.send(OK);
    expect((await agent.answer()).body).toBe('ok');
  });

  test('is the end of a POST: it may have been acted on', async () => {
    const o = await setUp();
    const { agent, peer } = await warmUp(o);
    closeOnNext(peer);
    const { head } = await agent.send(`${POST(`${o.url}/again`, o.host, 5)}hello`).answer();
    expect(parsed(head)).toMatchObject({ status: 502, code: 'UpstreamReset' });
    expect(o.upstream.peers.length).toBe(1);
  });

  test('is the end of a request of which an answer has begun', async () => {
    const o = await setUp();
    const { agent, peer } = await warmUp(o);
    peer.socket.once('data', () => {
      peer.send('HTTP/1.1 200');
      setTimeout(() => peer.socket.resetAndDestroy(), 20);
    });
    expect(parsed((await agent.send(GET(`${o.url}/`, o.host)).answer()).head).code).toBe('UpstreamReset');
    expect(o.upstream.peers.length).toBe(1);
  });
});

test('a new connection that is closed without an answer is not tried again', async () => {
  const { proxy, host, url, upstream } = await setUp({}, (peer) => {
    peer.socket.once('data', () => peer.socket.resetAndDestroy());
  });
  const agent = await dial(proxy.port);
  const { head } = await agent.send(GET(`${url}/`, host)).answer();
  expect(parsed(head)).toMatchObject({ status: 502, code: 'UpstreamReset' });
  expect(upstream.peers.length).toBe(1);
});

describe('a 401 from the upstream', () => {
  const rotates = (o: Awaited<ReturnType<typeof setUp>>) => {
    o.proxy.store.onRefused = () => {
      o.proxy.store.version = 2;
      o.proxy.store.material = 'sk-live-rotated-9876543210';
    };
  };
  const refuse = async (upstream: Upstream, mark = '\r\n\r\n') => {
    const peer = await upstream.next();
    await peer.until(mark);
    peer.send(UNAUTHORIZED);
    return peer;
  };

  test('has the credential refreshed and the request sent once more, on another connection', async () => {
    const o = await setUp();
    rotates(o);
    const agent = await dial(o.proxy.port);
    agent.send(GET(`${o.url}/`, o.host));
    const first = await refuse(o.upstream);
    const second = await o.upstream.next();
    expect(await second.until('\r\n\r\n')).toContain('\r\nAuthorization: Bearer sk-live-rotated-9876543210\r\n');
    second.send(OK);
    expect((await agent.answer()).body).toBe('ok');
    await first.rest();
    expect(o.proxy.store.requests.filter((request) => request.refusedVersion === 1).length).toBe(1);
    expect(await o.proxy.used()).toMatchObject([{ status: 200, version: 2 }]);
  });

  test('has a POST with a little body sent once more as well: a 401 was not applied', async () => {
    const o = await setUp();
    rotates(o);
    const agent = await dial(o.proxy.port);
    agent.send(`${POST(`${o.url}/`, o.host, 'chunked')}3\r\nabc\r\n`);
    const first = await o.upstream.next();
    await first.until('abc');
    agent.send('2\r\nde\r\n0\r\n\r\n');
    await first.until('0\r\n\r\n');
    first.send(UNAUTHORIZED);
    const second = await o.upstream.next();
    expect((await second.until('\r\n0\r\n\r\n')).endsWith('3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n')).toBe(true);
    second.send(OK);
    expect((await agent.answer()).body).toBe('ok');
  });

  test('is passed on where there is nothing newer', async () => {
    const o = await setUp();
    const agent = await dial(o.proxy.port);
    agent.send(GET(`${o.url}/`, o.host));
    await refuse(o.upstream);
    const { head, body } = await agent.answer();
    expect(head).toMatch(/^HTTP\/1.1 401 Unauthorized\r\n/);
    expect(body).toBe('no');
    expect(o.upstream.peers.length).toBe(1);
    // Asked at most once a minute.
    agent.send(GET(`${o.url}/`, o.host));
    await o.upstream.peers[0]!.until('\r\n\r\n');
    o.upstream.peers[0]!.send(UNAUTHORIZED);
    expect((await agent.answer()).body).toBe('no');
    expect(o.proxy.store.requests.filter((request) => request.refusedVersion !== undefined).length).toBe(1);
  });

  test('to the newer version as well is passed on', async () => {
    const o = await setUp();
    rotates(o);
    const agent = await dial(o.proxy.port);
    agent.send(GET(`${o.url}/`, o.host));
    await refuse(o.upstream);
    await refuse(o.upstream);
    expect((await agent.answer()).head).toContain(' 401 ');
    expect(o.upstream.peers.length).toBe(2);
  });

  test('to a large upload is passed on, and the credential refreshed for the next request', async () => {
    const o = await setUp();
    rotates(o);
    const agent = await dial(o.proxy.port);
    agent.send(POST(`${o.url}/`, o.host, 200_000)).send(Buffer.alloc(200_000, 'x'));
    const peer = await o.upstream.next();
    await until(() => peer.received.length > 200_000);
    peer.send(UNAUTHORIZED);
    expect((await agent.answer()).head).toContain(' 401 ');
    await until(() => o.proxy.deps.grants.leases.held('default/key')?.version === 2);
    agent.send(GET(`${o.url}/`, o.host));
    expect(await (await o.upstream.next()).until('\r\n\r\n')).toContain('sk-live-rotated');
  });

  test('without a credential of ours is passed on', async () => {
    const o = await setUp({ grants: [] });
    const agent = await dial(o.proxy.port);
    agent.send(GET(`${o.url}/`, o.host));
    await refuse(o.upstream);
    expect((await agent.answer()).head).toContain(' 401 ');
    expect(o.proxy.store.requests).toEqual([]);
  });
});

test('connections are kept apart by credential version', async () => {
  const o = await setUp();
  const { agent } = await warmUp(o);
  o.proxy.store.version = 2;
  o.proxy.deps.grants.apply({ type: 'version', credential: 'default/key', version: 2 });
  agent.send(GET(`${o.url}/`, o.host));
  await (await o.upstream.next()).until('\r\n\r\n');
  expect(o.upstream.peers.length).toBe(2);
});

test('an answer without a credential never comes from a connection with one', async () => {
  const o = await setUp();
  const { agent } = await warmUp(o);
  o.proxy.deps.grants.apply({ type: 'revoke', integration: grantFor([]).integration });
  agent.send(GET(`${o.url}/`, o.host));
  expect(await (await o.upstream.next()).until('\r\n\r\n')).not.toContain('Authorization');
  expect(o.upstream.peers.length).toBe(2);
});

test('a repeated request that is refused after all does not take its old body for the next request', async () => {
  const o = await setUp();
  const { agent, peer } = await warmUp(o);
  // Nobody listens when the request is sent again.
  peer.socket.once('data', () => {
    o.upstream.close();
    peer.socket.resetAndDestroy();
  });
  const { head } = await agent
    .send(`${POST(`${o.url}/`, o.host, 10).replace('POST', 'PUT')}GET / HTTP`.slice(0, -5))
    .answer();
  expect(parsed(head)).toMatchObject({ status: 502, code: 'UpstreamUnreachable' });
  expect(head).toContain('\r\nconnection: close\r\n');
  await agent.rest();
});
