import { describe, expect, test } from 'vitest';
import { get as GET, post as POST, parsed, setUp, until } from '../exchange/testkit.ts';
import { dial, echoHeads } from './testkit.ts';

const OK = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

describe('pipelined requests', () => {
  test('are answered in order, one at a time', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(`${POST(`${url}/1`, host, 3)}xyz${GET(`${url}/2`, host)}${GET(`${url}/3`, host)}`);
    const peer = await upstream.next();
    expect(await peer.until('xyz')).toContain('POST /1 ');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(peer.received).toBe('');
    peer.send(OK('one'));
    expect((await agent.answer()).body).toBe('one');
    expect(await peer.until('\r\n\r\n')).toContain('GET /2 ');
    peer.send(OK('two'));
    expect(await peer.until('\r\n\r\n')).toContain('GET /3 ');
    peer.send(OK('three'));
    expect((await agent.answer()).body).toBe('two');
    expect((await agent.answer()).body).toBe('three');
    expect(upstream.peers.length).toBe(1);
  });

  test('in thousands that are refused are all answered, without growing the stack', async () => {
    const { proxy, host, url } = await setUp({ grants: [], egress: 'Closed' });
    const agent = await dial(proxy.port);
    const count = 5_000;
    agent.send(GET(`${url}/`, host).repeat(count));
    let answered = 0;
    while (answered < count) {
      const { head } = await agent.answer();
      if (parsed(head).status === 403) answered++;
    }
  });

  test('are not read on while one is being answered', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host));
    await (await upstream.next()).until('\r\n\r\n');
    const size = 64 * 1024 * 1024;
    agent.send(Buffer.alloc(size, GET(`${url}/`, host)));
    let before = -1;
    await until(async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const stalled = agent.socket.bytesWritten - agent.socket.writableLength === before;
      before = agent.socket.bytesWritten - agent.socket.writableLength;
      return stalled;
    });
    expect(agent.socket.writableLength).toBeGreaterThan(size / 2);
  });
});

describe('a connection', () => {
  test('takes heads that come byte by byte', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    for (const byte of GET(`${url}/slow`, host)) {
      agent.send(byte);
      await new Promise(setImmediate);
    }
    expect((await agent.answer()).body).toContain('GET /slow ');
  });

  test('survives a refusal that leaves the framing clear', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    const refused = await agent.send(GET(`${url}/../x`, host)).answer();
    expect(parsed(refused.head)).toMatchObject({ status: 400, code: 'AmbiguousPath' });
    expect((await agent.send(GET(`${url}/`, host)).answer()).body).toContain('GET / ');
  });

  test.each([
    ['a bare LF', 'GET / HTTP/1.1\nHost: a\n\n', 'MalformedRequest'],
    ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 'MalformedRequest'],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n', 'MethodRefused'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'Http2NotSupported'],
    ['TLS', Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 0, 0, 0, 0, 0]), 'MalformedRequest'],
    ['a head that is too large', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, 'HeadTooLarge'],
  ])('with %s is answered and closed', async (_, request, code) => {
    const { proxy } = await setUp();
    const agent = await dial(proxy.port);
    const { head } = await agent.send(request).answer();
    expect(parsed(head).code).toBe(code);
    expect(head).toContain('\r\nconnection: close\r\n');
    await agent.rest();
    expect(agent.end).toBe('fin');
    expect(await proxy.used()).toMatchObject([{ refusal: code }]);
  });

  test('that sends its head too slowly gets a 408', async () => {
    const { proxy } = await setUp({ limits: { headTimeoutMs: 150 } });
    const agent = await dial(proxy.port);
    agent.send('GET / HTTP/1.1\r\n');
    const timer = setInterval(() => agent.socket.writable && agent.send('X: y\r\n'), 20);
    const { head } = await agent.answer();
    clearInterval(timer);
    expect(parsed(head)).toMatchObject({ status: 408, code: 'RequestTimeout' });
    await agent.rest();
  });

  test('that is idle for too long is closed, before and after a request', async () => {
    const { proxy, host, url } = await setUp({ limits: { idleTimeoutMs: 200 } }, echoHeads);
    const fresh = await dial(proxy.port);
    const used = await dial(proxy.port);
    await used.send(GET(`${url}/`, host)).answer();
    expect(await fresh.rest()).toBe('');
    expect(await used.rest()).toBe('');
  });

  test('of HTTP/1.0 is closed behind its answer', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host).replace('HTTP/1.1', 'HTTP/1.0'));
    expect(await agent.rest()).toContain('\r\nConnection: close\r\n');
  });

  test('that asks to be closed is closed behind its answer', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host, 'Connection: close\r\n'));
    expect(await agent.rest()).toContain('\r\nConnection: close\r\n');
  });

  test('that resets at any moment leaves nothing behind', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    for (const text of ['', 'GET ', GET(`${url}/`, host), `${POST(`${url}/`, host, 10)}abc`]) {
      const agent = await dial(proxy.port);
      agent.send(text);
      await new Promise((resolve) => setTimeout(resolve, 5));
      agent.socket.resetAndDestroy();
    }
    await until(() => proxy.deps.metrics.clientConnections === 0);
    await until(() => proxy.deps.upstreams.stats().active === 0);
  });
});
