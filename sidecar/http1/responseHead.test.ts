import { describe, expect, test } from 'vitest';
import { MalformedMessage } from './malformed.ts';
import { parseResponseHead } from './responseHead.ts';

function parse(text: string, method = 'GET') {
  const bytes = Buffer.from(text, 'latin1');
  return parseResponseHead(bytes, bytes.indexOf('\r\n\r\n') + 4, method);
}

const ok = (fields: string, method?: string) => parse(`HTTP/1.1 200 OK\r\n${fields}\r\n`, method);

describe('a response head', () => {
  test('gives status, reason and the end-to-end fields as sent', () => {
    const head = ok(
      'ETag: "x"\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: x\r\nContent-Length: 5\r\n',
    );
    expect(head).toMatchObject({ status: 200, reason: 'OK', minorVersion: 1, keepAlive: true });
    expect(head.fields.names).toEqual(['ETag']);
    expect(head.framing).toEqual({ kind: 'length', bytes: 5 });
  });

  test('keeps each Set-Cookie as a field of its own, and Host, which means nothing here', () => {
    const { fields } = ok('Set-Cookie: a=1, b\r\nHost: x\r\nset-cookie: c=2\r\n');
    expect(fields.names).toEqual(['Set-Cookie', 'Host', 'set-cookie']);
    expect(fields.values).toEqual(['a=1, b', 'x', 'c=2']);
  });

  test('may lack the reason phrase, and the space before it', () => {
    expect(parse('HTTP/1.1 404 \r\n\r\n')).toMatchObject({ status: 404, reason: '' });
    expect(parse('HTTP/1.1 404\r\n\r\n')).toMatchObject({ status: 404, reason: '' });
  });

  test('says how long an idle connection is kept', () => {
    expect(ok('Keep-Alive: timeout=5, max=100\r\n').keepAliveSeconds).toBe(5);
    expect(ok('Keep-Alive: max=100, Timeout = 7\r\n').keepAliveSeconds).toBe(7);
    for (const value of ['max=1', 'timeout', 'timeout=', 'timeout=-1', 'timeout=x', 'timeout=1.5', '']) {
      expect(ok(`Keep-Alive: ${value}\r\n`).keepAliveSeconds).toBeUndefined();
    }
    expect(ok('').keepAliveSeconds).toBeUndefined();
  });

  test('frames by chunks, by length, or by the end of the connection, which is then not kept', () => {
    expect(ok('Transfer-Encoding: chunked\r\n')).toMatchObject({ framing: { kind: 'chunked' }, keepAlive: true });
    expect(ok('Content-Length: 0\r\n')).toMatchObject({ framing: { kind: 'length', bytes: 0 }, keepAlive: true });
    expect(ok('Connection: keep-alive\r\n')).toMatchObject({ framing: { kind: 'close' }, keepAlive: false });
  });

  test('has no body for HEAD, 1xx, 204, 304 and a 2xx to CONNECT', () => {
    const chunked = 'Transfer-Encoding: chunked\r\n\r\n';
    for (const head of [
      ok('Transfer-Encoding: chunked\r\n', 'HEAD'),
      parse(`HTTP/1.1 103 Early Hints\r\n${chunked}`),
      parse(`HTTP/1.1 204 No Content\r\n${chunked}`),
      parse(`HTTP/1.1 304 Not Modified\r\n${chunked}`),
      ok('Transfer-Encoding: chunked\r\n', 'CONNECT'),
    ]) {
      expect(head.framing).toEqual({ kind: 'none', bytes: 0 });
    }
    expect(parse('HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\n', 'CONNECT').framing).toEqual({
      kind: 'length',
      bytes: 2,
    });
  });

  test('keeps Content-Length only where it says what GET would give', () => {
    expect(ok('Content-Length: 05\r\n', 'HEAD').fields.get('content-length')).toBe('5');
    expect(parse('HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n').fields.get('content-length')).toBe('5');
    expect(ok('Content-Length: 5\r\n').fields.has('content-length')).toBe(false);
    expect(parse('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', 'HEAD').fields.has('content-length')).toBe(
      false,
    );
  });

  test('lets no connection be used again after a body that may not be', () => {
    expect(parse('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n').keepAlive).toBe(false);
    expect(parse('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n').keepAlive).toBe(true);
  });

  test('gives what 101 changes to', () => {
    const fields = 'Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n';
    expect(parse(`HTTP/1.1 101 Switching Protocols\r\n${fields}`)).toMatchObject({
      upgrade: 'websocket',
      framing: { kind: 'none' },
    });
  });

  test('is read from the bytes as they are: what is masked in them is masked in it', () => {
    const bytes = Buffer.from('HTTP/1.1 200 OK\r\nX-Echo: sk-secret\r\nContent-Length: 0\r\n\r\n');
    bytes.fill('*', bytes.indexOf('sk-secret'), bytes.indexOf('\r\nContent'));
    expect(parseResponseHead(bytes, bytes.length, 'GET').fields.get('x-echo')).toBe('*********');
  });
});

describe('rule 4: a response that is refused', () => {
  test.each([
    ['a status line that is none', 'HTTP/1.1\r\n\r\n'],
    ['another version', 'HTTP/1.2 200 OK\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['a status below 100', 'HTTP/1.1 012 OK\r\n\r\n'],
    ['two spaces before the status', 'HTTP/1.1  200\r\n\r\n'],
    ['a control byte in the reason phrase', 'HTTP/1.1 200 O\x1bK\r\n\r\n'],
    ['bare LF', 'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n'],
    ['bare LF in the status line', 'HTTP/1.1 200 OK\nA: b\r\n\r\n'],
    ['bare CR', 'HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n'],
    ['NUL', 'HTTP/1.1 200 OK\r\nA: \0\r\n\r\n'],
    ['obs-fold', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
    ['white space before a colon', 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n'],
    [
      'Content-Length with Transfer-Encoding',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ['several Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n'],
    ['Content-Length that is no number', 'HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n\r\n'],
    ['Transfer-Encoding other than chunked', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['Transfer-Encoding in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['more than 256 fields', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(257)}\r\n`],
  ])('%s', (_, text) => {
    expect(() => parse(text)).toThrow(MalformedMessage);
  });
});
