import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { Echo, type Echoed } from './echo.ts';
import { createUpstreamCa } from './tls.ts';

async function setUp() {
  const ca = createUpstreamCa();
  const echo = await new Echo({ tls: ca.issue(['api.test', '127.0.0.1']) }).start();
  onTestFinished(() => echo.close());
  const send = async (
    path: string,
    options: { method?: string; body?: string; headers?: Record<string, string> } = {},
  ) => {
    const sent = request(`${echo.url}${path}`, {
      ca: ca.pem,
      method: options.method ?? 'GET',
      headers: options.headers,
    });
    const interim: number[] = [];
    sent.on('information', ({ statusCode }) => interim.push(statusCode));
    sent.end(options.body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return { response, interim };
  };
  const echoed = async (path: string, options?: Parameters<typeof send>[1]) => {
    const { response } = await send(path, options);
    return { response, echo: JSON.parse(await text(response)) as Echoed };
  };
  return { echo, send, echoed, ca };
}

/** The answer as it is on the wire, from the plain-text twin. */
async function raw(head: string): Promise<string> {
  const echo = await new Echo().start();
  onTestFinished(() => echo.close());
  const socket = connect(echo.port, '127.0.0.1');
  socket.write(head);
  return text(socket);
}

test('echoes method, target, headers in order and body', async () => {
  const { echo, echoed } = await setUp();
  const headers = { Authorization: 'Bearer x', 'X-Two': '2' };
  const { echo: seen, response } = await echoed('/a?b=c', { method: 'PUT', body: 'hello', headers });
  expect(seen).toMatchObject({ method: 'PUT', target: '/a?b=c', body: 'hello' });
  expect(seen.headers.slice(0, 2)).toEqual([
    ['Authorization', 'Bearer x'],
    ['X-Two', '2'],
  ]);
  expect(response.headers['content-length']).toBeDefined();
  expect(echo.last).toEqual(seen);
});

test('frames the answer as the path says', async () => {
  const { echoed, send } = await setUp();
  expect((await echoed('/chunked/slow-7')).response.headers).toMatchObject({ 'transfer-encoding': 'chunked' });
  const gzip = await send('/gzip');
  expect(gzip.response.headers['content-encoding']).toBe('gzip');
  const { response } = await echoed('/trailers', { headers: { 'X-Key': 'k' } });
  expect(response.rawTrailers).toContain('X-Key=k');
  const closed = await raw('GET /close HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(closed).not.toMatch(/^(content-length|transfer-encoding):/im);
  expect(closed).toMatch(/^connection: close/im);
  expect(closed).toMatch(/"target":"\/close"/);
});

test('answers with 1xx, late, by another status, a redirect, or 401 once', async () => {
  const { echoed, send } = await setUp();
  expect((await send('/interim')).interim).toEqual([102, 103]);
  const before = performance.now();
  expect((await echoed('/delay-50/status-418')).response.statusCode).toBe(418);
  expect(performance.now() - before).toBeGreaterThan(45);
  expect((await send('/redirect?to=https://evil.test/')).response).toMatchObject({
    statusCode: 302,
    headers: { location: 'https://evil.test/' },
  });
  expect((await send('/unauthorized-once?a')).response.statusCode).toBe(401);
  expect((await send('/unauthorized-once?a')).response.statusCode).toBe(200);
  expect((await send('/headers', { headers: { 'X-Key': 'k' } })).response.headers['x-echo-x-key']).toBe('k');
});

test('answers early without reading the body', async () => {
  const answer = await raw('POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nonly this');
  expect(answer).toMatch(/^HTTP\/1.1 200/);
});

test('goes on without end until the client leaves, and no faster than it reads', async () => {
  const { echo, send } = await setUp();
  const { response } = await send('/endless');
  response.once('readable', () => {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  const halted = echo.endlessBytes;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(echo.endlessBytes).toBe(halted);
  response.destroy();
  const ticks = await send('/endless/every-1');
  const [tick] = (await once(ticks.response, 'data')) as [Buffer];
  expect(tick.toString()).toContain('data: tick\n\n');
  ticks.response.destroy();
});

test('accepts an upgrade and sends back what comes then', async () => {
  const echo = await new Echo().start();
  onTestFinished(() => echo.close());
  const socket = connect(echo.port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  socket.write('GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 101 /);
  socket.write('ping');
  expect(String((await once(socket, 'data'))[0])).toBe('ping');
});

test('its certificate holds for the names it was issued for, and for no others', async () => {
  const { echo, ca } = await setUp();
  const to = (servername: string, trust: string) => {
    const sent = request(`${echo.url}/`, { ca: trust, servername });
    sent.end();
    return once(sent, 'response');
  };
  await to('api.test', ca.pem);
  await expect(to('other.test', ca.pem)).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  await expect(to('api.test', createUpstreamCa().pem)).rejects.toThrow(/certificate/);
});

test('closes with clients still connected, and its port is free then', async () => {
  const echo = await new Echo().start();
  const { port } = echo;
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  await echo.close();
  await echo.close();
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  expect((server.address() as AddressInfo).port).toBe(port);
  server.close();
  socket.destroy();
});
