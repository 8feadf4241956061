import { describe, expect, test } from 'vitest';
import { dial, grantFor, INTEGRATION, MATERIAL } from '../listen/testkit.ts';
import { get as GET, parsed, setUp, until } from './testkit.ts';

const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n';
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n';
const MASK = '*'.repeat(MATERIAL.length);

async function openWebSocket(options: Parameters<typeof setUp>[0] = {}) {
  const o = await setUp(options);
  const agent = await dial(o.proxy.port);
  agent.send(GET(`${o.url}/ws`, o.host, UPGRADE));
  const peer = await o.upstream.next();
  const head = await peer.until('\r\n\r\n');
  peer.send(SWITCH);
  const answer = await agent.until('\r\n\r\n');
  return { ...o, agent, peer, head, answer };
}

async function openEventStream(options: Parameters<typeof setUp>[0] = {}) {
  const o = await setUp(options);
  const agent = await dial(o.proxy.port);
  agent.send(GET(`${o.url}/sse`, o.host));
  const peer = await o.upstream.next();
  await peer.until('\r\n\r\n');
  peer.send('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na: \n\r\n');
  await agent.until('a: \n');
  return { ...o, agent, peer };
}

describe('a WebSocket', () => {
  test('opens with the credential in its handshake, without extensions that would hide an echo', async () => {
    const { head, answer } = await openWebSocket();
    expect(head).toContain(`\r\nAuthorization: Bearer ${MATERIAL}\r\n`);
    expect(head).toContain('\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n');
    expect(head).not.toContain('permessage-deflate');
    expect(answer).toContain('HTTP/1.1 101 Switching Protocols\r\n');
    expect(answer).toContain('\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n');
  });

  test('carries bytes both ways, an echo masked, and passes each FIN on', async () => {
    const { agent, peer, proxy } = await openWebSocket();
    agent.send('up');
    await peer.until('up');
    peer.send(`${MATERIAL}.`);
    expect(await agent.until('.')).toBe(`${MASK}.`);
    agent.socket.end();
    await peer.rest();
    peer.send('still.');
    expect(await agent.until('.')).toBe('still.');
    peer.socket.end();
    await agent.rest();
    await until(async () => (await proxy.used()).length === 1);
    expect((await proxy.used())[0]).toMatchObject({ status: 101, integration: INTEGRATION });
  });

  test('takes what the upstream sends right behind its 101', async () => {
    const o = await setUp();
    const agent = await dial(o.proxy.port);
    agent.send(`${GET(`${o.url}/ws`, o.host, UPGRADE)}early`);
    const peer = await o.upstream.next();
    await peer.until('\r\n\r\n');
    peer.send(`${SWITCH}first.`);
    await agent.until('\r\n\r\n');
    expect(await agent.until('.')).toBe('first.');
    await peer.until('early');
  });

  test('goes on when its Integration changes, unless it would not begin any more: by host, rule, credential or plaintext', async () => {
    const { agent, host, peer, proxy } = await openWebSocket();
    const allowed = grantFor([host], { rules: [{ action: 'Allow', methods: ['GET'] }], allowPlaintext: true });
    proxy.deps.grants.apply({ type: 'grant', grant: allowed });
    proxy.deps.grants.apply({ type: 'snapshot', grants: [allowed], versions: { [allowed.credential]: 1 } });
    agent.send('up');
    await peer.until('up');
    for (const change of [
      { hosts: ['other.example.com'] },
      { rules: [{ action: 'Deny' as const, paths: [{ type: 'Exact' as const, value: '/ws' }] }] },
      { credential: 'default/other' },
      { allowPlaintext: false },
    ]) {
      const one = await openWebSocket();
      const grant = { ...allowed, hosts: [one.host], ...change };
      one.proxy.deps.grants.apply({ type: 'grant', grant });
      await Promise.all([one.agent.rest(), one.peer.rest()]);
      expect((await one.proxy.used())[0]).toMatchObject({ status: 101, refusal: 'Revoked' });
    }
  });

  test('is cut at once on revocation, and when either side resets', async () => {
    const { agent, peer, proxy } = await openWebSocket();
    proxy.deps.grants.apply({ type: 'revoke', integration: INTEGRATION });
    await Promise.all([agent.rest(), peer.rest()]);
    expect((await proxy.used())[0]).toMatchObject({ status: 101, refusal: 'Revoked' });
    const second = await openWebSocket();
    second.peer.socket.resetAndDestroy();
    await second.agent.rest();
    const third = await openWebSocket();
    third.agent.socket.resetAndDestroy();
    await third.peer.rest();
  });

  test('that is silent for too long is cut', async () => {
    const { agent, peer } = await openWebSocket({ limits: { silenceTimeoutMs: 100 } });
    await Promise.all([agent.rest(), peer.rest()]);
  });

  test('that was not asked for is no answer, and h2c is never asked for', async () => {
    const o = await setUp();
    const agent = await dial(o.proxy.port);
    agent.send(
      GET(`${o.url}/`, o.host, 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n'),
    );
    const peer = await o.upstream.next();
    expect(await peer.until('\r\n\r\n')).not.toMatch(/upgrade/i);
    peer.send(SWITCH);
    expect(parsed((await agent.answer()).head)).toMatchObject({ status: 502, code: 'UpstreamMalformed' });
  });

  test('refused by the upstream is an ordinary answer', async () => {
    const o = await setUp();
    const agent = await dial(o.proxy.port);
    agent.send(GET(`${o.url}/ws`, o.host, UPGRADE));
    const peer = await o.upstream.next();
    await peer.until('\r\n\r\n');
    peer.send('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    expect((await agent.answer()).body).toBe('no');
  });
});

describe('an event stream', () => {
  test('is cut at once on revocation, and looks cut short', async () => {
    const { agent, peer, proxy } = await openEventStream();
    proxy.deps.grants.apply({ type: 'revoke', integration: INTEGRATION });
    expect(await agent.rest()).not.toContain('0\r\n\r\n');
    await peer.rest();
    expect((await proxy.used())[0]).toMatchObject({ status: 200, refusal: 'Revoked' });
  });

  test('goes on past its lease while the session holds one of the same version', async () => {
    const { agent, peer, proxy } = await openEventStream();
    const lease = proxy.deps.grants.leases.held('default/key')!;
    expect(lease.version).toBe(1);
    peer.send('4\r\nb: \n\r\n');
    await agent.until('b: \n');
  });

  test('keeps the material of its lease until it ends, and not longer', async () => {
    const { agent, peer, proxy } = await openEventStream();
    const lease = proxy.deps.grants.leases.held('default/key')!;
    proxy.store.version = 2;
    proxy.deps.grants.apply({ type: 'version', credential: 'default/key', version: 2 });
    expect(lease.destroyed).toBe(false);
    const echo = `c: ${MATERIAL}\n`;
    peer.send(`${echo.length.toString(16)}\r\n${echo}\r\n0\r\n\r\n`);
    expect(await agent.until('0\r\n\r\n')).toContain(`c: ${MASK}\n`);
    await until(() => lease.destroyed);
  });
});

test('a request under way is refused on revocation if nothing of its answer has come', async () => {
  const o = await setUp();
  const agent = await dial(o.proxy.port);
  agent.send(GET(`${o.url}/`, o.host));
  const peer = await o.upstream.next();
  await peer.until('\r\n\r\n');
  o.proxy.deps.grants.apply({ type: 'revoke', integration: INTEGRATION });
  expect(parsed((await agent.answer()).head)).toMatchObject({ status: 403, code: 'Revoked' });
  await peer.rest();
  expect(o.proxy.listener.inFlight.size).toBe(0);
});

test('after the end of the session everything is refused', async () => {
  const o = await setUp();
  o.proxy.deps.grants.end('the pod is gone');
  const agent = await dial(o.proxy.port);
  expect(parsed((await agent.send(GET(`${o.url}/`, o.host)).answer()).head)).toMatchObject({
    status: 403,
    code: 'Revoked',
  });
});
