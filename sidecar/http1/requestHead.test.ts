import { describe, expect, test } from 'vitest';
import { MalformedMessage } from './malformed.ts';
import type { RequestHead } from './message.ts';
import { parseRequestHead } from './requestHead.ts';

const HOST = 'Host: a.example\r\n';

function parse(text: string): RequestHead {
  const bytes = Buffer.from(text, 'latin1');
  return parseRequestHead(bytes, 0, bytes.indexOf('\r\n\r\n') + 4);
}

const get = (fields = ''): RequestHead => parse(`GET /a?b HTTP/1.1\r\n${HOST}${fields}\r\n`);

function refusal(text: string): MalformedMessage {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof MalformedMessage) return error;
    throw error;
  }
  throw new Error('not refused');
}

const refusalOf = (fields: string): MalformedMessage => refusal(`POST / HTTP/1.1\r\n${HOST}${fields}\r\n`);

describe('a request head', () => {
  test('gives method, target, version, host and the end-to-end fields as sent', () => {
    const head = get('Accept: */*\r\nX-Umlaut: caf\xe9\r\nCookie: a=b\r\n');
    expect(head).toMatchObject({ method: 'GET', target: '/a?b', minorVersion: 1, host: 'a.example', keepAlive: true });
    expect(head.fields.names).toEqual(['Accept', 'X-Umlaut', 'Cookie']);
    expect(head.fields.keys).toEqual(['accept', 'x-umlaut', 'cookie']);
    expect(head.fields.values).toEqual(['*/*', 'caf\xe9', 'a=b']);
    expect(head.framing).toEqual({ kind: 'none', bytes: 0 });
    expect(head.text).toContain('X-Umlaut: caf\xe9\r\n');
  });

  test('is read from where it starts, and nothing after its end is looked at', () => {
    const bytes = Buffer.from(`xx\r\nGET / HTTP/1.1\r\n${HOST}\r\n\nbody`, 'latin1');
    expect(parseRequestHead(bytes, 4, bytes.length - 5)).toMatchObject({
      host: 'a.example',
      text: expect.stringMatching(/^GET/),
    });
  });

  test('keeps none of the fields that concern the connection only', () => {
    const head = get(
      'Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: x\r\n' +
        'Proxy-X: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nTrailer: X\r\nX: 1\r\n',
    );
    expect(head.fields.names).toEqual(['X']);
    expect(head).toMatchObject({ keepAlive: true, upgrade: undefined });
  });

  test('frames by length, by chunks or not at all', () => {
    expect(get('Content-Length: 0042\r\n').framing).toEqual({ kind: 'length', bytes: 42 });
    expect(get('Content-Length: 9007199254740991\r\n').framing).toEqual({ kind: 'length', bytes: 2 ** 53 - 1 });
    expect(get('Transfer-Encoding: Chunked\r\nTrailer: X-Sum\r\n')).toMatchObject({
      framing: { kind: 'chunked' },
      fields: { names: ['Trailer'] },
    });
  });

  test('says whether the connection goes on', () => {
    expect(get('Connection: close\r\n').keepAlive).toBe(false);
    expect(get('Connection: keep-alive\r\nConnection: Close\r\n').keepAlive).toBe(false);
    expect(parse('GET / HTTP/1.0\r\n\r\n')).toMatchObject({ keepAlive: false, host: undefined, minorVersion: 0 });
    expect(parse('GET / HTTP/1.0\r\nHost:\r\nConnection: Keep-Alive\r\n\r\n')).toMatchObject({
      keepAlive: true,
      host: undefined,
    });
  });

  test('gives an upgrade only if Connection lists it, in HTTP/1.1', () => {
    const fields = 'Upgrade: WebSocket\r\nConnection: keep-alive, UPGRADE\r\n';
    expect(get(fields).upgrade).toBe('websocket');
    expect(parse(`GET / HTTP/1.0\r\n${fields}\r\n`).upgrade).toBeUndefined();
    for (const fields of ['', 'Upgrade:\r\n']) expect(get(`Connection: upgrade\r\n${fields}`).upgrade).toBeUndefined();
  });

  test('gives Expect only where a body follows, in HTTP/1.1', () => {
    expect(get('Expect: 100-Continue\r\nContent-Length: 1\r\n').expectContinue).toBe(true);
    expect(get('Expect: 100-continue\r\n').expectContinue).toBe(false);
    expect(parse('POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n').expectContinue).toBe(false);
  });

  test('may have an absolute target, `*` for OPTIONS, host and port for CONNECT', () => {
    expect(parse(`GET https://b.example:1/?c HTTP/1.1\r\n${HOST}\r\n`).target).toBe('https://b.example:1/?c');
    expect(parse(`OPTIONS * HTTP/1.1\r\n${HOST}\r\n`).target).toBe('*');
    expect(parse('CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nContent-Length: 0\r\n\r\n').host).toBe('[::1]:443');
  });

  test('may have 100 fields', () => {
    expect(get('X: 1\r\n'.repeat(99)).fields.length).toBe(99);
  });
});

describe('rule 4: refused before anything is routed', () => {
  test('bare LF in the request line, after a field, at the end', () => {
    for (const text of [
      `GET / HTTP/1.1\n${HOST}\r\n\r\n`,
      `GET / HTTP/1.1\r\n${HOST}X: 1\nY: 2\r\n\r\n`,
      `GET / HTTP/1.1\r\n${HOST}\n\r\n\r\n`,
    ]) {
      expect(refusal(text)).toMatchObject({ code: 'MalformedRequest' });
    }
  });

  test('bare CR', () => {
    expect(refusalOf('X: a\rb\r\n').message).toBe('CR stands without LF.');
    expect(refusalOf('X: a\r\r\n').message).toBe('CR stands without LF.');
    expect(refusal(`GET / HTTP/1.1\r${HOST}\r\n\r\n`).code).toBe('MalformedRequest');
  });

  test('each control byte but HTAB, in target, name and value', () => {
    for (let octet = 0; octet < 0x20; octet++) {
      const character = String.fromCharCode(octet);
      expect(refusal(`GET /${character} HTTP/1.1\r\n${HOST}\r\n`).code).toBe('MalformedRequest');
      expect(refusalOf(`X${character}: a\r\n`).code).toBe('MalformedRequest');
      if (character !== '\t') expect(refusalOf(`X: a${character}b\r\n`).code).toBe('MalformedRequest');
    }
    expect(refusalOf('X: \x7f\r\n').message).toBe('A control byte stands in the head.');
  });

  test('HTTP/0.9', () => {
    expect(refusal('GET /\r\n\r\n').code).toBe('MalformedRequest');
  });

  test('any version but HTTP/1.1 and HTTP/1.0', () => {
    for (const version of [
      'HTTP/2.0',
      'HTTP/1.2',
      'HTTP/0.9',
      'HTTP/1.10',
      'HTTP/11',
      'http/1.1',
      'HTTP/1.1 ',
      'HTTP/1',
      '',
    ]) {
      expect(refusal(`GET / ${version}\r\n${HOST}\r\n`).code).toBe('MalformedRequest');
    }
  });

  test('Host twice, even if equal', () => {
    expect(refusalOf('Host: b.example\r\n').message).toBe('There are several Host fields.');
    expect(refusalOf(HOST).message).toBe('There are several Host fields.');
  });

  test('no Host, or an empty one, in HTTP/1.1, also beside an absolute target', () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', 'GET http://a.example/ HTTP/1.1\r\nX: 1\r\n\r\n']) {
      expect(refusal(text).message).toBe('There is no Host field.');
    }
    expect(refusal('GET / HTTP/1.1\r\nHost: \r\n\r\n').code).toBe('MalformedRequest');
  });

  test('userinfo in the authority, in the target or in Host', () => {
    expect(refusal(`GET http://u:p@a.example/ HTTP/1.1\r\n${HOST}\r\n`).message).toContain('authority');
    expect(refusal(`CONNECT u@a.example:443 HTTP/1.1\r\n${HOST}\r\n`).message).toContain('CONNECT');
    expect(refusal('GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n').message).toContain('Host');
  });

  test('Content-Length with Transfer-Encoding', () => {
    expect(refusalOf('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n').message).toContain('both');
    expect(refusalOf('Transfer-Encoding: chunked\r\nContent-Length: 0\r\n').message).toContain('both');
  });

  test('several Content-Length, differing or equal', () => {
    for (const second of [5, 6]) {
      expect(refusalOf(`Content-Length: 5\r\nContent-Length: ${second}\r\n`).message).toContain('several');
    }
  });

  test('Content-Length that is not 1*DIGIT or not below 2^53', () => {
    for (const value of [
      '',
      '+1',
      '-1',
      '1,1',
      '1 1',
      '0x1',
      '1e1',
      '1.0',
      '\xb2',
      '9007199254740992',
      '9'.repeat(400),
    ]) {
      expect(refusalOf(`Content-Length: ${value}\r\n`).message).toMatch(/^Content-Length is/);
    }
  });

  test('Transfer-Encoding in HTTP/1.0', () => {
    expect(refusal('POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n').message).toContain('HTTP/1.0');
  });

  test('Transfer-Encoding that is not exactly `chunked`', () => {
    for (const value of [
      '',
      'gzip',
      'gzip, chunked',
      'chunked, chunked',
      'chunked,',
      'identity',
      '"chunked"',
      'chunked;a=b',
    ]) {
      expect(refusalOf(`Transfer-Encoding: ${value}\r\n`).message).toBe('Transfer-Encoding is not "chunked".');
    }
    expect(refusalOf('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n').message).toContain('several');
  });

  test('obs-fold', () => {
    expect(refusalOf('X: a\r\n b\r\n').message).toBe('A field is folded over several lines.');
    expect(refusalOf('X: a\r\n\tb: c\r\n').message).toBe('A field is folded over several lines.');
    expect(refusal(`GET / HTTP/1.1\r\n ${HOST}\r\n`).message).toBe('A field is folded over several lines.');
  });

  test('white space before the colon', () => {
    expect(refusalOf('X : a\r\n').message).toBe('White space stands before the colon of a field.');
    expect(refusalOf('Transfer-Encoding\t: chunked\r\n').message).toBe(
      'White space stands before the colon of a field.',
    );
  });

  test('field names that are empty or no token', () => {
    expect(refusalOf(': a\r\n').message).toBe('A field has no name.');
    for (const name of ['X(', 'X"', 'X/Y', 'X[', 'X\xe9', 'X@', 'X,Y']) {
      expect(refusalOf(`${name}: a\r\n`).message).toBe('A field name is not a token.');
    }
    expect(refusalOf('X\r\n').message).toBe('A line of the head is no field.');
  });

  test('TRACE, in any case', () => {
    for (const method of ['TRACE', 'trace', 'Trace']) {
      expect(refusal(`${method} / HTTP/1.1\r\n${HOST}\r\n`).code).toBe('MethodRefused');
    }
  });

  test('a known method in another case, which a rule does not see and an upstream may', () => {
    for (const method of ['delete', 'Delete', 'get', 'pATCH'])
      expect(refusal(`${method} / HTTP/1.1\r\n${HOST}\r\n`)).toMatchObject({ code: 'MethodRefused' });
  });

  test('a method that is no token, or longer than 32 bytes', () => {
    for (const method of ['', 'G(T', 'G\xe9T', 'A'.repeat(33)]) {
      expect(refusal(`${method} / HTTP/1.1\r\n${HOST}\r\n`).code).toBe('MalformedRequest');
    }
    expect(parse(`${'A'.repeat(32)} / HTTP/1.1\r\n${HOST}\r\n`).method).toHaveLength(32);
  });

  test('a target with bytes outside %x21-7E, or with `#`', () => {
    for (const target of ['/\xe9', '/\x7f', '/a b', '/#', '']) {
      expect(refusal(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`).code).toBe('MalformedRequest');
    }
  });

  test('a target in none of the four forms', () => {
    for (const target of [
      '*',
      'a',
      'a.example:80',
      '//'.slice(2),
      'http:/a',
      'http://',
      'http://?',
      '1http://a/',
      '?a',
      '\\',
    ]) {
      expect(refusal(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`).code).toBe('MalformedRequest');
    }
  });

  test('more than 100 fields', () => {
    expect(refusalOf('X: 1\r\n'.repeat(100)).message).toBe('There are more than 100 fields.');
  });

  test('Connection that names Host, framing, authorization or another end-to-end field', () => {
    for (const name of [
      'Host',
      'content-length',
      'TRANSFER-ENCODING',
      'Authorization',
      'Cookie',
      'Origin',
      'Sec-WebSocket-Key',
    ]) {
      expect(refusalOf(`Connection: close, ${name}\r\n`).message).toContain('Connection names a field');
    }
    expect(refusalOf('Connection: a b\r\n').message).toBe('Connection is not a list of tokens.');
  });

  test('Expect for anything but 100-continue', () => {
    for (const value of ['', '200', '100-continue, 100-continue', '100-continue;a']) {
      expect(refusalOf(`Expect: ${value}\r\n`).message).toBe('Expect is not "100-continue".');
    }
  });

  test('CONNECT with a body, or not in upper case', () => {
    for (const field of ['Content-Length: 1', 'Transfer-Encoding: chunked']) {
      expect(refusal(`CONNECT a.example:443 HTTP/1.1\r\n${HOST}${field}\r\n\r\n`).message).toBe('CONNECT has a body.');
    }
    expect(refusal(`connect http://a.example/ HTTP/1.1\r\n${HOST}\r\n`).message).toContain('upper case');
  });

  test('a refusal repeats nothing of the message', () => {
    expect(refusalOf('Authorization: sk-secret\rx\r\n').message).not.toContain('sk-secret');
    expect(refusalOf('sk-secret(: x\r\n').message).not.toContain('sk-secret');
  });
});
