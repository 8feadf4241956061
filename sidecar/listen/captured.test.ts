import { once } from 'node:events';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { get as GET, parsed, setUp, until } from '../exchange/testkit.ts';
import { captured, dial, echoHeads, grantFor, MATERIAL, type Peer, secure, startProxy, testCa } from './testkit.ts';

type SetUp = Awaited<ReturnType<typeof setUp>>;

/** A connection that was on its way to the port of the upstream. */
async function redirected({ proxy, upstream }: Pick<SetUp, 'proxy' | 'upstream'>): Promise<Peer> {
  return dial(await captured(proxy, upstream.port));
}

/** The alert that a handshake is answered with. */
async function alertOf(proxy: SetUp['proxy'], port: number, servername: string | undefined): Promise<string> {
  const peer = await dial(await captured(proxy, port));
  peer.socket.removeAllListeners('data');
  const socket = tlsConnect({ socket: peer.socket, ...(servername && { servername }), rejectUnauthorized: false });
  const [error] = await once(socket, 'error');
  return error.code;
}

describe('TLS that was captured', () => {
  test('to a host of an Integration is intercepted, and the credential placed', async () => {
    const all = await setUp({}, undefined, { tls: true });
    const agent = await secure(await redirected(all), { ca: all.proxy.deps.ca.caPem, servername: 'api.test' });
    expect((agent.socket as TLSSocket).authorized).toBe(true);
    agent.send(GET('/v1/x', all.host));
    const peer = await all.upstream.next();
    const head = await peer.until('\r\n\r\n');
    expect(head).toContain(`GET /v1/x HTTP/1.1\r\nHost: ${all.host}\r\n`);
    expect(head).toContain(`\r\nAuthorization: Bearer ${MATERIAL}\r\n`);
    peer.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    expect((await agent.answer()).body).toBe('ok');
  });

  test('takes its authority from SNI: a Host inside that names another is a 421, and nothing is sent', async () => {
    const all = await setUp({}, undefined, { tls: true });
    const agent = await secure(await redirected(all), { ca: all.proxy.deps.ca.caPem, servername: 'api.test' });
    for (const host of ['other.test', `other.test:${all.upstream.port}`, 'api.test:1']) {
      const { head } = await agent.send(GET('/', host)).answer();
      expect(parsed(head)).toMatchObject({ status: 421, code: 'AuthorityMismatch' });
    }
    expect(all.upstream.peers.length).toBe(0);
  });

  test('to any other host passes blind: the real certificate, the bytes that were looked at sent on', async () => {
    const all = await setUp({ grants: [] }, undefined, { tls: true });
    const agent = await secure(await redirected(all), { ca: testCa.pem, servername: 'api.test' });
    agent.send('anything');
    const peer = await all.upstream.next();
    await peer.until('anything');
    agent.socket.end('last');
    await peer.until('last');
    peer.socket.end('bye');
    expect(await agent.rest()).toBe('bye');
    await until(async () => (await all.proxy.used()).length === 1);
    expect((await all.proxy.used())[0]).toMatchObject({ method: 'CONNECT', authority: all.host, status: 200 });
  });

  test('to any other host is refused by an alert while egress is closed', async () => {
    const { proxy, upstream, host } = await setUp({ grants: [], egress: 'Closed' }, undefined, { tls: true });
    expect(await alertOf(proxy, upstream.port, 'api.test')).toMatch(/ALERT_ACCESS_DENIED/);
    expect(upstream.peers.length).toBe(0);
    expect(await proxy.used()).toMatchObject([{ authority: host, status: 0, refusal: 'NoIntegration' }]);
    expect(proxy.log.join()).toContain('a connection was refused');
  });

  test.each([
    [undefined, 'without a server name'],
    ['nodots.', 'no plain host name'],
    ['a..test', 'no plain host name'],
    ['1.2.3', 'no plain host name'],
  ])('with the SNI %s names nothing, and is refused with a log line and a record', async (servername, why) => {
    const { proxy, upstream } = await setUp({}, undefined, { tls: true });
    expect(await alertOf(proxy, upstream.port, servername)).toMatch(/ALERT_ACCESS_DENIED/);
    expect(proxy.log.join()).toContain(why);
    expect(await proxy.used()).toMatchObject([{ authority: `:${upstream.port}`, status: 0, refusal: 'NoAuthority' }]);
    expect(upstream.peers.length).toBe(0);
    await until(() => proxy.deps.metrics.clientConnections === 0);
  });

  test('to a name that leads to the sidecar itself is refused', async () => {
    const proxy = await startProxy();
    expect(await alertOf(proxy, proxy.port, 'own.test')).toMatch(/ALERT/);
    expect(await proxy.used()).toMatchObject([{ authority: `own.test:${proxy.port}`, refusal: 'LoopDetected' }]);
  });

  test('to a host that does not resolve ends with an alert', async () => {
    const proxy = await startProxy();
    expect(await alertOf(proxy, 443, 'nowhere.example')).toMatch(/ALERT_INTERNAL_ERROR/);
    expect(await proxy.used()).toMatchObject([{ refusal: 'UpstreamUnresolved' }]);
  });
});

describe('plain HTTP that was captured', () => {
  test('goes where Host and the port say, with the credential where the Integration allows that', async () => {
    const all = await setUp({}, echoHeads);
    const agent = await redirected(all);
    for (let i = 0; i < 3; i++) {
      const { body } = await agent.send(GET(`/v1/${i}`, all.host)).answer();
      expect(body).toContain(`GET /v1/${i} HTTP/1.1\r\nHost: ${all.host}\r\n`);
      expect(body).toContain('Authorization: Bearer ****');
    }
  });

  test('to no Integration passes untouched, or is refused while egress is closed', async () => {
    const open = await setUp({ grants: [] }, echoHeads);
    const { body } = await (await redirected(open)).send(GET('/', open.host)).answer();
    expect(body).not.toContain('Authorization');
    const closed = await setUp({ grants: [], egress: 'Closed' }, echoHeads);
    const { head } = await (await redirected(closed)).send(GET('/', closed.host)).answer();
    expect(parsed(head)).toMatchObject({ status: 403, code: 'NoIntegration' });
  });

  test('whose Host, port and target disagree is a 421', async () => {
    const all = await setUp({}, echoHeads);
    const { port } = all.upstream;
    const agent = await redirected(all);
    for (const [target, host] of [
      ['/', 'api.test'],
      ['/', 'api.test:1'],
      [`http://other.test:${port}/`, all.host],
      [`https://${all.host}/`, all.host],
    ]) {
      const { head } = await agent.send(GET(target!, host!)).answer();
      expect(parsed(head)).toMatchObject({ status: 421, code: 'AuthorityMismatch' });
    }
    expect(all.upstream.peers.length).toBe(0);
  });

  test('without Host names nothing', async () => {
    const all = await setUp({}, echoHeads);
    const { head } = await (await redirected(all)).send('GET / HTTP/1.0\r\n\r\n').answer();
    expect(parsed(head)).toMatchObject({ status: 400, code: 'NoAuthority' });
    const { head: malformed } = await (await redirected(all)).send('GET / HTTP/1.1\r\n\r\n').answer();
    expect(parsed(malformed).status).toBe(400);
  });

  test('on its way to another proxy: absolute form is taken, CONNECT is not', async () => {
    const all = await setUp({}, echoHeads);
    const { body } = await (await redirected(all)).send(GET(`http://${all.host}/x`, all.host)).answer();
    expect(body).toContain('GET /x ');
    const { head } = await (await redirected(all))
      .send(`CONNECT ${all.host} HTTP/1.1\r\nHost: ${all.host}\r\n\r\n`)
      .answer();
    expect(parsed(head)).toMatchObject({ status: 405, code: 'MethodRefused' });
  });

  test('may use a base URL by alias', async () => {
    const { proxy } = await setUp({}, echoHeads, { grants: (host) => [grantFor([host], { alias: 'api' })] });
    const agent = await dial(await captured(proxy, 80));
    const { head } = await agent.send(GET('/', 'nobody.sidekey.internal')).answer();
    expect(parsed(head)).toMatchObject({ status: 404, code: 'UnknownAlias' });
    // Whose primary authority is https.
    const answer = await agent.send(GET('/', 'api.sidekey.internal')).answer();
    expect(parsed(answer.head).code).not.toBe('UnknownAlias');
  });
});

describe('what names nothing', () => {
  test('silence, as of a client whose server speaks first, and half a ClientHello are closed in time', async () => {
    const { proxy, upstream } = await setUp({ limits: { headTimeoutMs: 150 } });
    const silent = await redirected({ proxy, upstream });
    const half = await redirected({ proxy, upstream });
    half.send(Buffer.of(22, 3, 1, 2, 0, 1, 0));
    expect(await silent.rest()).toBe('');
    await half.rest();
    expect(proxy.log.join('\n')).toMatch(/speak first.*\n.*ClientHello did not come/);
    expect(await proxy.used()).toMatchObject([{ refusal: 'NoAuthority', count: 2 }]);
    await until(() => proxy.deps.metrics.clientConnections === 0);
  });

  test.each([
    ['bytes of another protocol', Buffer.of(0, 0, 0, 8, 4, 210, 22, 47)],
    ['a ClientHello of SSL 2', Buffer.of(0x80, 0x2e, 1, 3, 1)],
    ['a broken ClientHello', Buffer.of(22, 3, 1, 0, 4, 2, 0, 0, 0)],
  ])('%s are closed', async (_, bytes) => {
    const { proxy, upstream } = await setUp();
    const agent = await redirected({ proxy, upstream });
    await agent.send(bytes).rest();
    expect(await proxy.used()).toMatchObject([{ refusal: 'NoAuthority', status: 0 }]);
    expect(upstream.peers.length).toBe(0);
  });

  test('is logged ten times a minute at most, and counted each time', async () => {
    const { proxy, upstream } = await setUp();
    const port = await captured(proxy, upstream.port);
    for (let i = 0; i < 25; i++) await (await dial(port)).send(Buffer.of(0)).rest();
    expect(proxy.log.filter((line) => line.includes('a connection was refused')).length).toBe(10);
    expect((await proxy.used()).reduce((sum, { count }) => sum + count, 0)).toBe(25);
    expect(
      proxy.deps.metrics.render({ leases: { held: 0, waiting: 0 }, ready: true, upstreams: { idle: 0, active: 0 } }),
    ).toContain('sidekey_refusals_total{code="NoAuthority"} 25\n');
  });

  test('leaves without a word before it has sent anything: nothing is recorded', async () => {
    const { proxy, upstream } = await setUp();
    const agent = await redirected({ proxy, upstream });
    agent.socket.end();
    await agent.rest();
    await until(() => proxy.deps.metrics.clientConnections === 0);
    expect(await proxy.used()).toEqual([]);
  });
});
