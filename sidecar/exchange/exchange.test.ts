import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { dial, echoHeads, grantFor, INTEGRATION, MATERIAL, PLACEHOLDER, startProxy } from '../listen/testkit.ts';
import { get as GET, post as POST, parsed, setUp, until as waitUntil } from './testkit.ts';

const MASK = '*'.repeat(MATERIAL.length);

describe('a request with a credential', () => {
  test('goes upstream with the material in its place, in origin-form, and nothing added', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    const fields =
      'Accept: */*\r\nAuthorization: Bearer mine\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nX-Hop: 1\r\nConnection: keep-alive, x-hop\r\n';
    const { head, body } = await agent.send(GET(`${url}/v1/models?a=b`, host, fields)).answer();
    expect(head).toBe(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
    // The echo of the material is masked.
    expect(body).toBe(
      `GET /v1/models?a=b HTTP/1.1\r\nHost: ${host}\r\nAccept: */*\r\nAuthorization: Bearer ${MASK}\r\n\r\n`,
    );
    expect(proxy.deps.metrics.scrubbed).toBeGreaterThan(0);
  });

  test('carries the very material, on a connection that the next request uses again', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    for (let i = 0; i < 3; i++) {
      agent.send(GET(`${url}/`, host));
      const peer = upstream.peers[0] ?? (await upstream.next());
      expect(await peer.until('\r\n\r\n')).toContain(`\r\nAuthorization: Bearer ${MATERIAL}\r\n`);
      peer.send('HTTP/1.1 204 No Content\r\n\r\n');
      expect((await agent.answer()).head).toBe('HTTP/1.1 204 No Content\r\n\r\n');
    }
    expect(upstream.peers.length).toBe(1);
  });

  test('is recorded with its Integration, version and lease', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    await agent.send(GET(`${url}/v1/models?a=b`, host)).answer();
    const [use] = await proxy.used();
    expect(use).toMatchObject({
      authority: host,
      method: 'GET',
      path: '/v1/models',
      status: 200,
      integration: INTEGRATION,
      version: 1,
      leaseId: 'lease-1',
    });
  });

  test('asks for an answer without a coding where the agent named some, and for nothing where it named none', async () => {
    const { proxy, host, url } = await setUp({}, echoHeads);
    const agent = await dial(proxy.port);
    const coded = await agent.send(GET(`${url}/`, host, 'Accept-Encoding: gzip, br\r\n')).answer();
    expect(coded.body).toContain('\r\nAccept-Encoding: identity\r\n');
    expect((await agent.send(GET(`${url}/`, host)).answer()).body.toLowerCase()).not.toContain('accept-encoding');
  });

  test('waits for its lease, and gets the reason if there is none', async () => {
    const { proxy, host, url, upstream } = await setUp();
    proxy.deps.grants.apply({ type: 'version', credential: 'default/key', version: 0 });
    const agent = await dial(proxy.port);
    const { head } = await agent.send(GET(`${url}/`, host)).answer();
    expect(parsed(head)).toMatchObject({ status: 503, code: 'CredentialUnavailable' });
    expect(upstream.peers.length).toBe(0);
  });

  test('has the placeholder in its body replaced as it streams, framed anew', async () => {
    const grants = (host: string) => [grantFor([host], { inject: [{ placeholder: { in: ['Body'] } }] })];
    const { proxy, host, url, upstream } = await setUp({}, undefined, { grants });
    const agent = await dial(proxy.port);
    const body = `{"key":"${PLACEHOLDER}","n":1}`;
    agent.send(POST(`${url}/`, host, body.length, 'Content-Type: application/json\r\n'));
    agent.send(body.slice(0, 20));
    const peer = await upstream.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    agent.send(body.slice(20));
    const received = await peer.until('\r\n0\r\n\r\n');
    expect(received).toContain('\r\nTransfer-Encoding: chunked\r\n\r\n');
    const decoded = received.slice(received.indexOf('\r\n\r\n') + 4).replace(/(^|\r\n)[0-9a-f]+\r\n/g, '');
    expect(decoded.trim()).toBe(`{"key":"${MATERIAL}","n":1}`);
  });
});

describe('a request without a credential', () => {
  test('is passed on as it is where no Integration covers the host and egress is open', async () => {
    const { proxy, host, url } = await setUp({ grants: [] }, echoHeads);
    const agent = await dial(proxy.port);
    const fields = 'Authorization: Bearer mine\r\nAccept-Encoding: gzip\r\n';
    const { body } = await agent.send(GET(`${url}/x`, host, fields)).answer();
    expect(body).toBe(`GET /x HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`);
    expect((await proxy.used())[0]).not.toHaveProperty('integration');
  });

  test('is refused where egress is closed', async () => {
    const { proxy, host, url, upstream } = await setUp({ grants: [], egress: 'Closed' });
    const agent = await dial(proxy.port);
    expect(parsed((await agent.send(GET(`${url}/`, host)).answer()).head)).toMatchObject({
      status: 403,
      code: 'NoIntegration',
    });
    expect(upstream.peers.length).toBe(0);
    expect(await proxy.used()).toMatchObject([{ refusal: 'NoIntegration', status: 403 }]);
  });

  test('that asks for another method than the rules see is refused, and never gets upstream', async () => {
    const grants = (host: string) => [grantFor([host], { rules: [{ methods: ['GET'], action: 'Allow' }] })];
    const { proxy, host, url, upstream } = await setUp({}, undefined, { grants });
    const agent = await dial(proxy.port);
    const refused = await agent.send(GET(`${url}/`, host, 'X-HTTP-Method-Override: DELETE\r\n')).answer();
    expect(parsed(refused.head)).toMatchObject({ status: 403, code: 'RuleDenied' });
    expect(refused.body).toContain('x-http-method-override');
    expect(upstream.peers).toEqual([]);
    expect((await proxy.used())[0]).toMatchObject({ status: 403, refusal: 'RuleDenied', integration: INTEGRATION });
  });

  test('is refused before the grants are known', async () => {
    const { proxy, host, url } = await setUp({ ready: false });
    const agent = await dial(proxy.port);
    const { head } = await agent.send(GET(`${url}/`, host)).answer();
    expect(parsed(head)).toMatchObject({ status: 503, code: 'StoreUnavailable' });
    expect(head).toContain('\r\nretry-after: 1\r\n');
  });
});

describe('an answer', () => {
  const answerTo = async (answer: string | Buffer, request?: (url: string, host: string) => string, end = false) => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send((request ?? GET)(`${url}/`, host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    peer.send(answer);
    if (end) peer.socket.end();
    return { agent, peer, proxy, host, url, upstream };
  };

  test('with chunks and trailers comes with chunks and trailers', async () => {
    const { agent } = await answerTo(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;ext=1\r\nuvw\r\n2\r\nxy\r\n0\r\nX-Sum: 9\r\n\r\n',
    );
    expect(await agent.until('\r\n\r\n')).toContain('\r\nTransfer-Encoding: chunked\r\n');
    expect(await agent.until('\r\n0\r\nX-Sum: 9\r\n\r\n')).toBe('3\r\nuvw\r\n2\r\nxy\r\n0\r\nX-Sum: 9\r\n\r\n');
  });

  test('that echoes the material in head, body and trailers is masked, across pieces too', async () => {
    const { agent, peer } = await answerTo(
      `HTTP/1.1 200 OK\r\nX-Echo: ${MATERIAL}\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n${MATERIAL.slice(0, 8)}\r\n`,
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    const rest = MATERIAL.slice(8);
    peer.send(`${rest.length.toString(16)}\r\n${rest}\r\n0\r\nX-Echo: ${MATERIAL}\r\n\r\n`);
    const all = (await agent.until('\r\n\r\n')) + (await agent.until('0\r\n\r\n'));
    expect(all).toContain(`X-Echo: ${MASK}\r\n`);
    expect(all.replace(/\r\n([0-9a-f]+\r\n)?/g, '')).toContain(MASK);
    expect(all).not.toContain(MATERIAL);
    expect(all).not.toContain('sk-live');
  });

  test('that is coded although nobody asked for it is undone and masked', async () => {
    const coded = gzipSync(`{"you sent":"${MATERIAL}"}`);
    const { agent } = await answerTo(
      Buffer.concat([
        Buffer.from(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${coded.length}\r\n\r\n`),
        coded,
      ]),
    );
    const head = await agent.until('\r\n\r\n');
    expect(head.toLowerCase()).not.toContain('content-encoding');
    expect(await agent.until('\r\n0\r\n\r\n')).toContain(`{"you sent":"${MASK}"}`);
  });

  test.each([
    ['an unknown coding', '200 OK\r\nContent-Encoding: exotic'],
    ['two codings', '200 OK\r\nContent-Encoding: gzip, br'],
    ['a coding in a second field', '200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: exotic'],
    ['a part of something coded', '206 Partial Content\r\nContent-Range: bytes 5-7/9\r\nContent-Encoding: gzip'],
  ])('with %s cannot be undone, so it is refused', async (_, head) => {
    const { agent } = await answerTo(`HTTP/1.1 ${head}\r\nContent-Length: 3\r\n\r\nabc`);
    expect(parsed((await agent.answer()).head)).toMatchObject({ status: 502, code: 'UpstreamMalformed' });
  });

  test('to HEAD, 204 and 304 has no body, whatever its length says', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    let peer: Awaited<ReturnType<typeof upstream.next>> | undefined;
    for (const [method, answer] of [
      ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n'],
      ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\nETag: "a"\r\n\r\n'],
      ['GET', 'HTTP/1.1 204 No Content\r\n\r\n'],
    ]) {
      agent.send(GET(`${url}/`, host).replace('GET', method!));
      peer ??= await upstream.next();
      await peer.until('\r\n\r\n');
      peer.send(answer!);
      const { head } = await agent.answer(true);
      expect(head.split('\r\n').sort()).toEqual(answer!.split('\r\n').sort());
    }
    expect(upstream.peers.length).toBe(1);
  });

  test('that ends with its connection becomes chunked, or ends with ours for HTTP/1.0', async () => {
    const close = 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end';
    const modern = await answerTo(close, undefined, true);
    await modern.agent.until('\r\n\r\n');
    expect(await modern.agent.until('0\r\n\r\n')).toBe('d\r\nuntil the end\r\n0\r\n\r\n');
    // The connection to the agent is kept.
    modern.agent.send(GET(`${modern.url}/`, modern.host));
    await (await modern.upstream.next()).until('\r\n\r\n');
    const old = await answerTo(close, (url, host) => GET(url, host).replace('HTTP/1.1', 'HTTP/1.0'), true);
    expect(await old.agent.rest()).toMatch(/\r\nConnection: close\r\n\r\nuntil the end$/);
    expect(old.agent.end).toBe('fin');
  });

  test('comes token by token', async () => {
    const { agent, peer } = await answerTo(
      'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    await agent.until('\r\n\r\n');
    for (const token of ['one', 'two', 'six']) {
      peer.send(`b\r\ndata: ${token}\n\n\r\n`);
      expect(await agent.until(token)).toContain(token);
      await agent.until('\n\n\r\n');
    }
  });

  test('1xx is relayed before the final one, but not to HTTP/1.0', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    const { agent } = await answerTo(hints);
    expect(await agent.until('\r\n\r\n')).toBe('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n');
    expect((await agent.answer()).body).toBe('ok');
    const old = await answerTo(hints, (url, host) => GET(url, host).replace('HTTP/1.1', 'HTTP/1.0'));
    expect((await old.agent.rest()).startsWith('HTTP/1.1 200 OK')).toBe(true);
  });

  test('cut off by the upstream in its middle is seen to be cut off: length, chunks, and until the end', async () => {
    const cut = async (head: string, request?: (url: string, host: string) => string) => {
      const { agent, peer, proxy } = await answerTo(`${head}\r\n\r\n5\r\nab`, request);
      await agent.until('ab');
      peer.socket.resetAndDestroy();
      const rest = await agent.rest();
      await waitUntil(async () => (await proxy.used()).length > 0);
      expect((await proxy.used())[0]).toMatchObject({ status: 200, refusal: 'UpstreamReset' });
      return { rest, end: agent.end };
    };
    expect((await cut('HTTP/1.1 200 OK\r\nContent-Length: 100')).rest).toBe('');
    expect((await cut('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked')).rest).not.toContain('0\r\n\r\n');
    const old = await cut('HTTP/1.1 200 OK', (url, host) => GET(url, host).replace('HTTP/1.1', 'HTTP/1.0'));
    expect(old.end).toBe('reset');
  });

  test('that redirects is passed on, never followed', async () => {
    const { agent, upstream } = await answerTo(
      'HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n',
    );
    expect((await agent.answer()).head).toContain('\r\nLocation: https://evil.test/\r\n');
    expect(upstream.peers.length).toBe(1);
  });

  test('that is no HTTP, comes late or not at all is refused by its own code', async () => {
    const odd = await answerTo('SSH-2.0-OpenSSH_9.9\r\n\r\n');
    expect(parsed((await odd.agent.answer()).head)).toMatchObject({ status: 502, code: 'UpstreamMalformed' });
    const { agent } = await answerTo('', undefined, true);
    expect(parsed((await agent.answer()).head)).toMatchObject({ status: 502, code: 'UpstreamReset' });
    const { proxy, host, url } = await setUp({ limits: { answerTimeoutMs: 100 } });
    const patient = await dial(proxy.port);
    const { head } = await patient.send(GET(`${url}/`, host)).answer();
    expect(parsed(head)).toMatchObject({ status: 504, code: 'UpstreamTimeout' });
  });

  test('whose head drips, though never silent for long, is given up in time', async () => {
    const { proxy, host, url, upstream } = await setUp({ limits: { headTotalMs: 200 } });
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    peer.send('HTTP/1.1 103 Early Hints\r\n\r\n');
    const bytes = [...`HTTP/1.1 200 OK\r\nX-Drip: ${'x'.repeat(10_000)}`];
    const drip = setInterval(() => peer.send(bytes.shift()!), 10);
    onTestFinished(() => clearInterval(drip));
    const interim = await agent.until('\r\n\r\n');
    expect(interim).toContain('103');
    const { head, body } = await agent.answer();
    expect(parsed(head)).toMatchObject({ status: 504, code: 'UpstreamTimeout' });
    expect(body).toContain('head of the answer');
    expect(bytes.length).toBeGreaterThan(9_000);
    await peer.rest();
  });

  test('that stops coming is cut off after a while', async () => {
    const { proxy, host, url, upstream } = await setUp({ limits: { silenceTimeoutMs: 100 } });
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host));
    const peer = await upstream.next();
    peer.send('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxyz\n');
    expect((await agent.rest()).endsWith('xyz\n')).toBe(true);
    await peer.rest();
  });

  test('has bytes behind it that belong to nothing: the upstream connection is not used again', async () => {
    const { agent, peer, host, url, upstream } = await answerTo(
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
    );
    expect((await agent.answer()).body).toBe('ok');
    await peer.rest();
    agent.send(GET(`${url}/`, host));
    const second = await upstream.next();
    second.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood');
    expect((await agent.answer()).body).toBe('good');
  });
});

test('an unreachable upstream is a 502, one that does not resolve as well', async () => {
  const proxy = await startProxy({ grants: [grantFor(['api.test:1'])] });
  const agent = await dial(proxy.port);
  const refused = await agent.send(GET('http://api.test:1/', 'api.test:1')).answer();
  expect(parsed(refused.head)).toMatchObject({ status: 502, code: 'UpstreamUnreachable' });
  const unknown = await agent.send(GET('http://nowhere.example/', 'nowhere.example')).answer();
  expect(parsed(unknown.head)).toMatchObject({ status: 502, code: 'UpstreamUnresolved' });
});
