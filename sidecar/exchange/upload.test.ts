import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { dial, grantFor, MATERIAL, secure, tunnel } from '../listen/testkit.ts';
import { get as GET, post as POST, parsed, setUp, until } from './testkit.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Writes as much as the socket takes, up to `size` bytes; tells how many it has taken. */
function pump(socket: Socket, size: number, fill: string): () => number {
  const piece = Buffer.alloc(64 * 1024, fill);
  let taken = 0;
  const more = () => {
    while (taken < size) {
      taken += piece.length;
      if (!socket.write(piece)) return;
    }
  };
  socket.on('drain', more);
  more();
  return () => taken;
}

describe('a body on its way up', () => {
  test('goes along with the head, and both connections are kept', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    for (let i = 0; i < 3; i++) {
      agent.send(`${POST(`${url}/`, host, 5)}hello`);
      const peer = upstream.peers[0] ?? (await upstream.next());
      expect(await peer.until('hello')).toContain('\r\nContent-Length: 5\r\n');
      peer.send(OK);
      expect((await agent.answer()).head).not.toContain('close');
    }
    expect(upstream.peers.length).toBe(1);
  });

  test('in chunks is framed anew, with its trailers', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(`${POST(`${url}/`, host, 'chunked')}3;x=y\r\nabc\r\n`);
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    agent.send('2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n');
    expect(await peer.until('\r\n0\r\nX-Sum: 1\r\n\r\n')).toBe('3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n');
    peer.send(OK);
    expect((await agent.answer()).body).toBe('ok');
  });

  test('is not read faster than the upstream takes it', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    const size = 64 * 1024 * 1024;
    agent.send(POST(`${url}/`, host, size));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    peer.socket.pause();
    const sent = pump(agent.socket, size, 'x');
    let sentBefore = -1;
    // Until nothing moves any more: what is on its way is in the kernel's buffers, not in ours.
    await until(async () => {
      await pause(200);
      const stalled = sent() === sentBefore;
      sentBefore = sent();
      return stalled;
    });
    expect(sent()).toBeLessThan(size / 2);
    peer.socket.removeAllListeners('data');
    let received = 0;
    peer.socket.on('data', (chunk) => {
      received += chunk.length;
    });
    peer.socket.resume();
    await until(() => received === size);
  });

  test('awaits 100 Continue if the agent does: both the expectation and the interim answer are relayed', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(POST(`${url}/`, host, 5, 'Expect: 100-continue\r\n'));
    const peer = await upstream.next();
    expect(await peer.until('\r\n\r\n')).toContain('\r\nExpect: 100-continue\r\n');
    peer.send('HTTP/1.1 100 Continue\r\n\r\n');
    expect(await agent.until('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    agent.send('hello');
    await peer.until('hello');
    peer.send(OK);
    expect((await agent.answer()).body).toBe('ok');
  });

  test('is not awaited after a final answer: that is passed on, then the connection closes', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(POST(`${url}/`, host, 5_000_000, 'Expect: 100-continue\r\n'));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    peer.send('HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno');
    const { head, body } = await agent.answer();
    expect(head).toContain('\r\nConnection: close\r\n');
    expect(body).toBe('no');
    await agent.rest();
    await peer.rest();
  });

  test('answered early in its middle: the answer arrives although the agent still sends', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(`${POST(`${url}/`, host, 50_000_000)}start`);
    const peer = await upstream.next();
    await peer.until('start');
    peer.send('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno');
    agent.send(Buffer.alloc(300_000, 'x'));
    const { head, body } = await agent.answer();
    expect(parsed(head).status).toBe(401);
    expect(body).toBe('no');
    expect(await agent.rest()).toBe('');
    expect(agent.end).toBe('fin');
  });

  test('that is malformed is a 400, and the upstream does not take it for complete', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(`${POST(`${url}/`, host, 'chunked')}3\r\nabc\r\n`);
    const peer = await upstream.next();
    await peer.until('abc');
    agent.send('zz\r\n');
    const { head } = await agent.answer();
    expect(parsed(head)).toMatchObject({ status: 400, code: 'MalformedRequest' });
    expect(head).toContain('\r\nconnection: close\r\n');
    expect(await peer.rest()).not.toContain('0\r\n\r\n');
  });

  test('that stops coming is a 408; one that the upstream does not read on a 504', async () => {
    const { proxy, host, url, upstream } = await setUp({ limits: { bodyTimeoutMs: 150 } });
    const agent = await dial(proxy.port);
    agent.send(`${POST(`${url}/`, host, 10)}abc`);
    await (await upstream.next()).until('abc');
    expect(parsed((await agent.answer()).head)).toMatchObject({ status: 408, code: 'RequestTimeout' });
    const second = await dial(proxy.port);
    const size = 64 * 1024 * 1024;
    second.send(POST(`${url}/`, host, size));
    const peer = await upstream.next();
    peer.socket.pause();
    second.send(Buffer.alloc(size, 'x'));
    expect(parsed((await second.answer()).head)).toMatchObject({ status: 504, code: 'UpstreamTimeout' });
  });

  test('cut off by the agent is never completed upstream', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(`${POST(`${url}/`, host, 'chunked')}3\r\nabc\r\n`);
    const peer = await upstream.next();
    await peer.until('abc');
    agent.socket.end();
    expect(await peer.rest()).not.toContain('0\r\n\r\n');
    expect((await proxy.used())[0]).toMatchObject({ method: 'POST', status: 0 });
  });
});

describe('a refused request with a body', () => {
  const grants = (host: string) => [grantFor([host], { rules: [{ methods: ['GET'], action: 'Allow' }] })];

  test('is answered at once; a little body is read and the connection goes on', async () => {
    const { proxy, host, url, upstream } = await setUp({}, undefined, { grants });
    const agent = await dial(proxy.port);
    const refused = await agent.send(`${POST(`${url}/`, host, 6)}abc`).answer();
    expect(parsed(refused.head)).toMatchObject({ status: 403, code: 'RuleDenied' });
    expect(refused.head).not.toContain('connection: close');
    agent.send(`def${GET(`${url}/`, host)}`);
    const peer = await upstream.next();
    expect(await peer.until('\r\n\r\n')).toMatch(/^GET \/ HTTP/);
    peer.send(OK);
    expect((await agent.answer()).body).toBe('ok');
  });

  test('with much to come is closed behind the answer', async () => {
    const { proxy, host, url } = await setUp({}, undefined, { grants });
    const agent = await dial(proxy.port);
    const { head } = await agent.send(`${POST(`${url}/`, host, 100_000_000)}abc`).answer();
    expect(head).toContain('\r\nconnection: close\r\n');
    await agent.rest();
    expect(agent.end).toBe('fin');
  });
});

describe('an agent that', () => {
  test('closes its half behind the request still gets the answer', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.socket.end(GET(`${url}/`, host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    await pause(50);
    peer.send(OK);
    expect(await agent.rest()).toMatch(/\r\nConnection: close\r\n\r\nok$/);
  });

  test('closes its half behind several pipelined requests gets all the answers', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.socket.end(GET(`${url}/1`, host) + GET(`${url}/2`, host));
    const peer = await upstream.next();
    expect(await peer.until('\r\n\r\n')).toContain('GET /1 ');
    await pause(20);
    peer.send(OK);
    await until(() => upstream.peers.some((each) => each.received.includes('GET /2 ')));
    upstream.peers.find((each) => each.received.includes('GET /2 '))!.send(OK.replace('ok', 'no'));
    expect(await agent.rest()).toMatch(/ok.*no$/s);
  });

  test('disconnects has the upstream connection closed at once', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    agent.socket.resetAndDestroy();
    await peer.rest();
    const streaming = await dial(proxy.port);
    streaming.send(GET(`${url}/`, host));
    const second = await upstream.next();
    await second.until('\r\n\r\n');
    second.send('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxyz\n');
    await streaming.until('xyz\n');
    streaming.socket.destroy();
    await second.rest();
    expect(await proxy.used()).toMatchObject([{ status: 0 }, { status: 200 }]);
  });

  test('disconnects inside an intercepted tunnel as well', async () => {
    const { proxy, host, upstream } = await setUp({}, undefined, { tls: true });
    const agent = await secure(await tunnel(proxy, host), { ca: proxy.deps.ca.caPem, servername: 'api.test' });
    agent.send(GET('/', host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    agent.socket.destroy();
    await peer.rest();
  });

  test('reads slowly has the upstream wait', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    const size = 64 * 1024 * 1024;
    peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    await agent.until('\r\n\r\n');
    agent.socket.pause();
    const written = pump(peer.socket, size, `${MATERIAL}${' '.repeat(1_000)}`);
    await pause(300);
    expect(written()).toBeLessThan(size / 2);
    let received = 0;
    agent.socket.removeAllListeners('data');
    agent.socket.on('data', (chunk) => {
      received += chunk.length;
      expect(chunk.includes(MATERIAL)).toBe(false);
    });
    agent.socket.resume();
    await until(() => received === size);
  });
});
