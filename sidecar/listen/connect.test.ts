import { once } from 'node:events';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { get as GET, parsed, setUp, until } from '../exchange/testkit.ts';
import { dial, echoHeads, INTEGRATION, MATERIAL, Peer, secure, testCa, tunnel } from './testkit.ts';

const connect = (authority: string, host = authority) => `CONNECT ${authority} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

describe('a tunnel to a host of an Integration', () => {
  test('is intercepted: a certificate of our CA for that host, and the credential on every request', async () => {
    const { proxy, host, upstream } = await setUp({}, undefined, { tls: true });
    const agent = await secure(await tunnel(proxy, host), {
      ca: proxy.deps.ca.caPem,
      servername: 'api.test',
      ALPNProtocols: ['http/1.1'],
    });
    expect((agent.socket as TLSSocket).alpnProtocol).toBe('http/1.1');
    for (let i = 0; i < 3; i++) {
      agent.send(GET(`/v1/${i}`, host));
      const peer = upstream.peers[0] ?? (await upstream.next());
      const head = await peer.until('\r\n\r\n');
      expect(head).toContain(`GET /v1/${i} HTTP/1.1\r\nHost: ${host}\r\n`);
      expect(head).toContain(`\r\nAuthorization: Bearer ${MATERIAL}\r\n`);
      peer.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      expect((await agent.answer()).body).toBe('ok');
    }
    expect((upstream.peers[0]!.socket as TLSSocket).encrypted).toBe(true);
    expect(proxy.listener.handshakes).toBe(0);
  });

  test('takes bytes that come together with the CONNECT', async () => {
    const { proxy, host } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    agent.send(connect(host) + GET('/x', host));
    await agent.until('Established\r\n\r\n');
    expect((await agent.answer()).body).toContain('GET /x HTTP/1.1\r\n');
  });

  test('takes plain http as it is', async () => {
    const { proxy, host } = await setUp({}, echoHeads);
    const agent = await tunnel(proxy, host);
    expect((await agent.send(GET('/x', host)).answer()).body).toContain(
      `Authorization: Bearer ${'*'.repeat(MATERIAL.length)}`,
    );
  });

  test('refuses a Host of another authority, and a request in a tunnel for another tunnel', async () => {
    const { proxy, host } = await setUp({}, echoHeads);
    const agent = await tunnel(proxy, host);
    expect(parsed((await agent.send(GET('/', 'other.test')).answer()).head)).toMatchObject({
      status: 421,
      code: 'AuthorityMismatch',
    });
    // The framing was clear, so the connection goes on.
    expect(parsed((await agent.send(connect('x.test:443')).answer()).head)).toMatchObject({
      status: 405,
      code: 'MethodRefused',
    });
  });

  test('refuses an SNI that names another host', async () => {
    const { proxy, host, upstream } = await setUp({}, undefined, { tls: true });
    const peer = await tunnel(proxy, host);
    peer.socket.removeAllListeners('data');
    const socket = tlsConnect({ socket: peer.socket, servername: 'other.test', rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const agent = new Peer(socket);
    expect(parsed((await agent.send(GET('/', host)).answer()).head)).toMatchObject({
      status: 421,
      code: 'AuthorityMismatch',
    });
    await agent.rest();
    expect(upstream.peers.length).toBe(0);
  });

  test('takes a handshake without SNI', async () => {
    const { proxy, host, upstream } = await setUp({}, echoHeads, { tls: true });
    const peer = await tunnel(proxy, host);
    peer.socket.removeAllListeners('data');
    const socket = tlsConnect({ socket: peer.socket, ca: proxy.deps.ca.caPem, checkServerIdentity: () => undefined });
    await once(socket, 'secureConnect');
    expect((await new Peer(socket).send(GET('/', host)).answer()).body).toContain('GET / ');
    expect(upstream.peers.length).toBe(1);
  });

  test('refuses a client that speaks HTTP/2 only by the alert for that, and says so', async () => {
    const { proxy, host } = await setUp({}, undefined, { tls: true });
    const peer = await tunnel(proxy, host);
    await expect(
      secure(peer, { ca: proxy.deps.ca.caPem, servername: 'api.test', ALPNProtocols: ['h2'] }),
    ).rejects.toMatchObject({
      code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    });
    expect(proxy.log.join()).toContain('no HTTP/1.1');
    expect(await proxy.used()).toMatchObject([{ method: 'CONNECT', refusal: 'Http2NotSupported' }]);
    await until(() => proxy.deps.metrics.clientConnections === 0);
  });

  test('is given up if the handshake does not come, comes half, or is none', async () => {
    const { proxy, host } = await setUp({ limits: { headTimeoutMs: 150 } });
    const silent = await tunnel(proxy, host);
    const half = await tunnel(proxy, host);
    half.send(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    const none = await tunnel(proxy, host);
    none.send(Buffer.from([0x16, 0x00, 0x00, 0x00, 0x02, 0x01, 0x01, 0x01]));
    await Promise.all([silent.rest(), half.rest(), none.rest()]);
    await until(() => proxy.listener.handshakes === 0 && proxy.deps.metrics.clientConnections === 0);
  });

  test('closes with the agent before its handshake, and in its midst', async () => {
    const { proxy, host } = await setUp();
    for (const bytes of [[], [0x16, 0x03, 0x01, 0x02, 0x00, 0x01]]) {
      const agent = await tunnel(proxy, host);
      agent.socket.end(Buffer.from(bytes));
      await agent.rest();
    }
    await until(() => proxy.listener.handshakes === 0 && proxy.deps.metrics.clientConnections === 0);
  });

  test('decides each request afresh when grants change in its midst', async () => {
    const { proxy, host } = await setUp({}, echoHeads);
    const agent = await tunnel(proxy, host);
    expect((await agent.send(GET('/', host)).answer()).body).toContain('Authorization');
    proxy.deps.grants.apply({ type: 'revoke', integration: INTEGRATION });
    expect((await agent.send(GET('/', host)).answer()).body).not.toContain('Authorization');
  });
});

describe('a tunnel to any other host', () => {
  test('is blind: the real certificate, no credential, and each FIN passed on', async () => {
    const { proxy, host, upstream } = await setUp({ grants: [] }, undefined, { tls: true });
    const agent = await secure(await tunnel(proxy, host), { ca: testCa.pem, servername: 'api.test' });
    agent.send('anything');
    const peer = await upstream.next();
    await peer.until('anything');
    agent.socket.end('last');
    await peer.until('last');
    await until(() => peer.end !== undefined);
    peer.socket.end('bye');
    expect(await agent.rest()).toBe('bye');
    await until(async () => (await proxy.used()).length === 1);
    expect((await proxy.used())[0]).toMatchObject({ method: 'CONNECT', authority: host, status: 200 });
    await until(() => proxy.deps.metrics.clientConnections === 0);
  });

  test('is refused where egress is closed', async () => {
    const { proxy, host } = await setUp({ grants: [], egress: 'Closed' });
    const agent = await dial(proxy.port);
    expect(parsed((await agent.send(connect(host)).answer()).head)).toMatchObject({
      status: 403,
      code: 'NoIntegration',
    });
    expect(await proxy.used()).toMatchObject([{ method: 'CONNECT', authority: host, refusal: 'NoIntegration' }]);
  });

  test('is answered 200 only once it stands', async () => {
    const { proxy } = await setUp({ grants: [] });
    for (const [authority, code] of [
      ['api.test:1', 'UpstreamUnreachable'],
      ['nowhere.example:443', 'UpstreamUnresolved'],
      [`127.0.0.1:${proxy.port}`, 'LoopDetected'],
    ]) {
      const agent = await dial(proxy.port);
      const { head } = await agent.send(connect(authority!)).answer();
      expect(parsed(head).code).toBe(code);
      await agent.rest();
    }
  });

  test('that the agent leaves before it stands is not opened', async () => {
    const { proxy, host, upstream } = await setUp({ grants: [] });
    const agent = await dial(proxy.port);
    agent.send(connect(host));
    agent.socket.resetAndDestroy();
    await until(() => proxy.deps.metrics.clientConnections === 0);
    for (const peer of upstream.peers) await peer.rest();
  });

  test('is cut on both sides when one resets, and when it is silent for too long', async () => {
    const { proxy, host, upstream } = await setUp({ grants: [] });
    const agent = await tunnel(proxy, host);
    (await upstream.next()).socket.resetAndDestroy();
    await agent.rest();
    const silent = await setUp({ grants: [], limits: { silenceTimeoutMs: 100 } });
    await (await tunnel(silent.proxy, silent.host)).rest();
    expect(host).toBeTruthy();
  });
});

describe('CONNECT', () => {
  test.each([
    ['a target without a port', 'CONNECT api.test HTTP/1.1\r\nHost: api.test\r\n\r\n', 400],
    ['a URL', 'CONNECT https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n', 400],
    ['userinfo', 'CONNECT user@api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n', 400],
    ['another Host', connect('api.test:443', 'other.test:443'), 421],
    ['another port in Host', connect('api.test:443', 'api.test:444'), 421],
    ['a body', 'CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nContent-Length: 3\r\n\r\nabc', 400],
  ])('with %s is refused', async (_, request, status) => {
    const { proxy } = await setUp();
    const agent = await dial(proxy.port);
    expect(parsed((await agent.send(request).answer()).head).status).toBe(status);
  });

  test('takes a Host without its port, as some clients send it', async () => {
    const { proxy, host } = await setUp();
    const agent = await dial(proxy.port);
    await agent.send(connect(host, 'api.test')).until('Established\r\n\r\n');
  });

  test('leads to base URLs as well', async () => {
    const { proxy, host } = await setUp({}, echoHeads, { tls: true });
    const [entry] = proxy.deps.grants.table.entries;
    proxy.deps.grants.apply({ type: 'grant', grant: { ...entry!.grant, alias: 'myapi' } });
    const agent = await tunnel(proxy, 'myapi.sidekey.internal:80');
    const { body } = await agent.send(GET('/x', 'myapi.sidekey.internal')).answer();
    expect(body).toContain(`GET /x HTTP/1.1\r\nHost: ${host}\r\nAuthorization: `);
  });
});
