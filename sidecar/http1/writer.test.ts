import { describe, expect, test } from 'vitest';
import { Fields } from './fields.ts';
import { chunkHead, interimHead, lastChunk, type RequestHeadParts, requestHead, responseHead } from './writer.ts';

const NONE = { kind: 'none', bytes: 0 } as const;

function fields(...lines: [string, string][]): Fields {
  const all = new Fields();
  for (const [name, value] of lines) all.add(name, value);
  return all;
}

function request(parts: Partial<RequestHeadParts> = {}): Buffer {
  return requestHead({ method: 'GET', target: '/', host: 'a.example', fields: fields(), framing: NONE, ...parts });
}

describe('a request head', () => {
  test('has Host first, then the fields but those omitted, framing, and the lines', () => {
    const head = request({
      method: 'POST',
      target: '/a?b',
      fields: fields(['X', '1'], ['Authorization', 'mine'], ['Y', 'caf\xe9']),
      omit: new Set(['authorization']),
      lines: Buffer.from('Authorization: Bearer x\r\n'),
      framing: { kind: 'length', bytes: 5 },
    });
    expect(head.toString('latin1')).toBe(
      'POST /a?b HTTP/1.1\r\nHost: a.example\r\nX: 1\r\nY: caf\xe9\r\nContent-Length: 5\r\nAuthorization: Bearer x\r\n\r\n',
    );
  });

  test('is memory of its own, of exactly its size', () => {
    for (const target of ['/a', Buffer.from('/a')]) {
      const head = request({ target, lines: Buffer.from('X: 1\r\n') });
      expect(head.buffer.byteLength).toBe(head.length);
      expect(head.toString()).toBe('GET /a HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n');
    }
  });

  test('says upgrade, 100-continue and chunks', () => {
    expect(request({ upgrade: 'websocket' }).toString()).toContain('Connection: Upgrade\r\nUpgrade: websocket\r\n');
    expect(request({ expectContinue: true }).toString()).toContain('Expect: 100-continue\r\n');
    expect(request({ framing: { kind: 'chunked', bytes: 0 } }).toString()).toContain('Transfer-Encoding: chunked\r\n');
  });

  test('frames by what was understood, never by a field', () => {
    const smuggled = fields(['Content-Length', '5'], ['transfer-encoding', 'chunked'], ['X', '1']);
    expect(request({ fields: smuggled }).toString()).toBe('GET / HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n');
  });

  test('is not written if a part could end its line', () => {
    // The last is cut to CR LF in latin1.
    for (const bad of ['/ HTTP/1.1\r\nX: 1', '/a b', '', '/\n', '/\u010d\u010a']) {
      expect(() => request({ target: bad })).toThrow(TypeError);
      expect(() => request({ target: Buffer.from(bad) })).toThrow(TypeError);
      expect(() => request({ host: bad })).toThrow(TypeError);
      expect(() => request({ method: bad })).toThrow(TypeError);
    }
    expect(() => request({ lines: Buffer.from('X: 1') })).toThrow(TypeError);
    expect(() => request({ framing: { kind: 'close', bytes: 0 } })).toThrow(TypeError);
  });
});

test('a field that could end its line is not added', () => {
  for (const [name, value] of [
    ['', 'a'],
    ['X Y', 'a'],
    ['X:', 'a'],
    ['X', 'a\r\nY: b'],
    ['X', '\0'],
    ['X', '\u010a'],
  ] as const) {
    expect(() => fields([name, value])).toThrow(TypeError);
  }
});

describe('a response head', () => {
  test('has the fields, what is extra, framing, and close', () => {
    const head = responseHead({
      status: 200,
      reason: 'OK',
      fields: fields(
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
        ['Content-Length', '9'],
        ['Content-Encoding', 'gzip'],
      ),
      omit: new Set(['content-encoding']),
      framing: { kind: 'length', bytes: 5 },
      close: true,
      extra: 'X: 1\r\n',
    });
    expect(head.toString()).toBe(
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX: 1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n',
    );
  });

  test('closes if the body ends with the connection, and says what 101 changes to', () => {
    const parts = { status: 200, reason: '', fields: fields(), close: false } as const;
    expect(responseHead({ ...parts, framing: { kind: 'close', bytes: 0 } }).toString()).toContain(
      'Connection: close\r\n',
    );
    expect(responseHead({ ...parts, status: 101, framing: NONE, upgrade: 'websocket' }).toString()).toBe(
      'HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
  });

  test('of an interim answer', () => {
    expect(interimHead(103, fields(['Link', '</a>'])).toString()).toBe(
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    );
    expect(interimHead(100, fields()).toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
  });
});

test('chunks begin with their size and end with trailers', () => {
  expect(chunkHead(31).toString()).toBe('1f\r\n');
  expect(lastChunk(undefined).toString()).toBe('0\r\n\r\n');
  expect(lastChunk(fields(['X-Sum', '1'], ['X-Key', 'mine']), new Set(['x-key'])).toString()).toBe(
    '0\r\nX-Sum: 1\r\n\r\n',
  );
  expect(lastChunk(fields(['X-Sum', '1'])).toString()).toBe('0\r\nX-Sum: 1\r\n\r\n');
});
