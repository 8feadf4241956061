import { connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { proxySelector } from './proxy.ts';
import { acquire, connected, createTestCa, createUpstreams, exchange, listen, targetFor } from './testkit.ts';

const ca = createTestCa('Test CA');
const CREDENTIALS = Buffer.from('user:p@ss').toString('base64');

async function startUpstream() {
  const server = createTlsServer(ca.issue(), (socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => socket.write(`${chunk}.`));
  });
  return listen(server);
}

interface ProxyOptions {
  tls?: boolean;
  /** What it answers instead of opening a tunnel. */
  answer?: string;
  /** Comes before the 200. */
  before?: string;
  /** Comes right behind the 200. */
  after?: string;
  authorization?: string;
}

/** A CONNECT proxy that goes to 127.0.0.1 whatever the name. Gives its port and the heads it read. */
async function startProxy({ tls, answer, before = '', after = '', authorization }: ProxyOptions = {}) {
  const heads: string[] = [];
  const serve = (client: Socket) => {
    client.on('error', () => {});
    client.once('data', (chunk) => {
      const head = chunk.toString('latin1');
      heads.push(head);
      const [, port] = /^CONNECT [^ ]+:([0-9]+) HTTP\/1\.1\r\n/.exec(head) ?? [];
      const denied =
        authorization !== undefined && !head.includes(`\r\nProxy-Authorization: Basic ${authorization}\r\n`);
      if (denied) client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n');
      else if (answer !== undefined) client.end(answer);
      else {
        const upstream = connect(Number(port), '127.0.0.1', () => {
          // In two pieces: an answer may be split anywhere.
          client.write(`${before}HTTP/1.1 200 Connection est`);
          setTimeout(() => client.write(`ablished\r\nX-Proxy: 1\r\n\r\n${after}`), 20);
          upstream.pipe(client).pipe(upstream);
        });
        upstream.on('error', () => client.destroy());
      }
    });
  };
  const options = ca.issue({ dnsNames: ['proxy.test'] });
  return { port: await listen(tls ? createTlsServer(options, serve) : createServer(serve)), heads };
}

function through(proxyUrl: string, options: Parameters<typeof createUpstreams>[0] = {}) {
  const proxyFor = proxySelector({ HTTPS_PROXY: proxyUrl, HTTP_PROXY: proxyUrl });
  return createUpstreams({ rootsPem: ca.pem, proxyFor, ...options });
}

describe('a tunnel through the upstream proxy', () => {
  test.each([
    ['http', false],
    ['https', true],
  ])('of an %s:// proxy, with TLS to the upstream verified end to end', async (scheme, tls) => {
    const upstreamPort = await startUpstream();
    const proxy = await startProxy({ tls });
    const upstreams = through(`${scheme}://proxy.test:${proxy.port}`);
    const target = targetFor(upstreamPort, { networks: undefined });
    const connection = await connected(acquire(upstreams, target));
    expect(await exchange(connection, 'hello', '.')).toBe('hello.');
    expect(proxy.heads).toEqual([
      `CONNECT api.test:${upstreamPort} HTTP/1.1\r\nHost: api.test:${upstreamPort}\r\n\r\n`,
    ]);
    expect(await acquire(upstreams, targetFor(upstreamPort, { host: 'wrong.test' }))).toMatchObject({
      code: 'UpstreamCertificateInvalid',
      detail: expect.stringContaining(`wrong.test:${upstreamPort}`),
    });
    const resumed = await connected(acquire(upstreams, target, true));
    expect((resumed.socket as TLSSocket).isSessionReused()).toBe(true);
  });

  test('for plain http too', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', () => socket.write('plain.'));
    });
    const port = await listen(server);
    const proxy = await startProxy();
    const upstreams = through(`http://proxy.test:${proxy.port}`);
    const connection = await connected(acquire(upstreams, targetFor(port, { scheme: 'http' })));
    expect(await exchange(connection, '?', '.')).toBe('plain.');
    expect(proxy.heads).toHaveLength(1);
  });

  test("a blind tunnel goes through the proxy for https, whose bytes are the agent's own", async () => {
    const { port, heads } = await startProxy();
    const proxyFor = proxySelector({ HTTPS_PROXY: `http://127.0.0.1:${port}` });
    const upstream = createServer((socket) => socket.on('error', () => {}).pipe(socket));
    const target = targetFor(await listen(upstream), { scheme: 'http', credentialed: false, blind: true });
    const connection = await connected(acquire(createUpstreams({ proxyFor }), target));
    expect(await exchange(connection, 'hello', 'hello')).toBe('hello');
    expect(heads).toHaveLength(1);
  });

  test('with Basic credentials', async () => {
    const upstreamPort = await startUpstream();
    const proxy = await startProxy({ authorization: CREDENTIALS });
    await connected(acquire(through(`http://user:p%40ss@proxy.test:${proxy.port}`), targetFor(upstreamPort)));
  });

  test('after interim answers', async () => {
    const upstreamPort = await startUpstream();
    const proxy = await startProxy({ before: 'HTTP/1.1 103 Early Hints\r\n\r\n' });
    await connected(acquire(through(`http://proxy.test:${proxy.port}`), targetFor(upstreamPort)));
  });

  test('a name is left to the proxy to resolve', async () => {
    const upstreamPort = await startUpstream();
    const proxy = await startProxy();
    const proxyFor = proxySelector({ HTTPS_PROXY: `http://proxy.test:${proxy.port}` });
    const asked: string[] = [];
    const upstreams = createUpstreams({
      rootsPem: ca.pem,
      proxyFor,
      lookup: (host, callback) => {
        asked.push(host);
        callback(null, [{ address: '127.0.0.1', family: 4 }]);
      },
    });
    await connected(acquire(upstreams, targetFor(upstreamPort, { networks: undefined })));
    expect(asked).toEqual(['proxy.test']);
  });
});

describe('no tunnel', () => {
  test.each([
    ['HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno', 'answered 403'],
    ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', 'answered 407'],
    ['HTTP/1.1 502 Bad Gateway\r\n\r\n', 'answered 502'],
    ['HTTP/1.1 302 Found\r\nLocation: https://elsewhere.test/\r\n\r\n', 'answered 302'],
    ['SSH-2.0-OpenSSH_9.6\r\n\r\n', 'did not answer in HTTP/1.1'],
    [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 'did not answer in HTTP/1.1'],
    ['HTTP/1.1 200 OK\r\n', 'closed the connection'],
    ['', 'closed the connection'],
  ])('%j is UpstreamProxyRefused', async (answer, detail) => {
    const proxy = await startProxy({ answer });
    const refusal = await acquire(through(`http://user:p%40ss@proxy.test:${proxy.port}`), targetFor(443));
    expect(refusal).toMatchObject({ code: 'UpstreamProxyRefused' });
    expect(refusal).toMatchObject({ detail: expect.stringContaining(`proxy.test:${proxy.port} ${detail}`) });
    expect(JSON.stringify(refusal)).not.toMatch(/p@ss|p%40ss|user/);
    expect(JSON.stringify(refusal)).not.toContain(CREDENTIALS);
  });

  test('bytes that the proxy puts into the tunnel itself', async () => {
    const upstreamPort = await startUpstream();
    const proxy = await startProxy({ after: 'HTTP/1.1 200 OK\r\n\r\n' });
    const upstreams = through(`http://proxy.test:${proxy.port}`);
    expect(await acquire(upstreams, targetFor(upstreamPort, { scheme: 'http' }))).toMatchObject({
      code: 'UpstreamProxyRefused',
    });
  });

  test('a proxy that is not there, or whose certificate does not verify', async () => {
    const gone = through('http://nowhere.example:1');
    expect(await acquire(gone, targetFor(443))).toMatchObject({ code: 'UpstreamUnresolved' });
    const proxy = await startProxy({ tls: true });
    expect(await acquire(through(`https://other.test:${proxy.port}`), targetFor(443))).toMatchObject({
      code: 'UpstreamCertificateInvalid',
      detail: expect.stringContaining(`the upstream proxy other.test:${proxy.port}`),
    });
  });

  test('a proxy that never answers', async () => {
    const port = await listen(createServer((socket) => socket.on('error', () => {}).resume()));
    const upstreams = through(`http://proxy.test:${port}`, { openTimeoutMs: 100 });
    expect(await acquire(upstreams, targetFor(443))).toMatchObject({ code: 'UpstreamTimeout' });
  });

  test('rule 2: a literal address is judged here, before the proxy hears of it', async () => {
    const proxy = await startProxy();
    const upstreams = through(`http://proxy.test:${proxy.port}`);
    for (const host of ['169.254.169.254', '10.0.0.1', '::ffff:10.0.0.1', 'fd00:ec2::254']) {
      expect(await acquire(upstreams, targetFor(443, { host }))).toMatchObject({ code: 'AddressRefused' });
    }
    expect(proxy.heads).toEqual([]);
  });

  test('a proxy that is the sidecar itself is a loop', async () => {
    const proxy = await startProxy();
    const upstreams = through(`http://proxy.test:${proxy.port}`, { ownPorts: new Set([proxy.port]) });
    expect(await acquire(upstreams, targetFor(443))).toMatchObject({ code: 'LoopDetected' });
  });
});
