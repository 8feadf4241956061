import { describe, expect, test } from 'vitest';
import { BodyDecoder } from './body.ts';
import { MalformedMessage } from './malformed.ts';
import type { Framing } from './message.ts';

const CHUNKED: Framing = { kind: 'chunked', bytes: 0 };

function decode(framing: Framing, ...chunks: string[]) {
  const body = new BodyDecoder(framing);
  const pieces: string[] = [];
  let end = 0;
  for (const chunk of chunks)
    end = body.decode(Buffer.from(chunk, 'latin1'), 0, (piece) => pieces.push(piece.toString('latin1')));
  return { body, pieces, end };
}

describe('a body', () => {
  test('that is not there is done at once', () => {
    expect(decode({ kind: 'none', bytes: 0 }, 'next')).toMatchObject({ body: { done: true }, pieces: [], end: 0 });
    expect(decode({ kind: 'length', bytes: 0 }, 'next')).toMatchObject({ body: { done: true }, pieces: [], end: 0 });
  });

  test('of a length ends there, and gives views, not copies', () => {
    expect(decode({ kind: 'length', bytes: 5 }, 'abc', 'denext')).toMatchObject({
      body: { done: true },
      pieces: ['abc', 'de'],
      end: 2,
    });
    const chunk = Buffer.from('xabcde');
    new BodyDecoder({ kind: 'length', bytes: 3 }).decode(chunk, 1, (piece) => piece.fill('*'));
    expect(chunk.toString()).toBe('x***de');
  });

  test('until the connection ends takes all, and ends with FIN', () => {
    const { body, pieces } = decode({ kind: 'close', bytes: 0 }, 'abc', 'def');
    expect(pieces).toEqual(['abc', 'def']);
    expect(body.done).toBe(false);
    body.end();
    expect(body.done).toBe(true);
  });

  test('in chunks ends after the last one, wherever it is cut', () => {
    const text = '3\r\nabc\r\nA;x="y;z"\r\n0123456789\r\n0\r\n\r\n';
    for (let at = 0; at < text.length; at++) {
      const { body, pieces, end } = decode(CHUNKED, text.slice(0, at), `${text.slice(at)}next`);
      expect(pieces.join('')).toBe('abc0123456789');
      expect(body).toMatchObject({ done: true, trailers: undefined });
      expect(end).toBe(text.length - at);
    }
  });

  test('in chunks may have trailers', () => {
    const text = '1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum:  2 \r\n\r\n';
    const { body, end } = decode(CHUNKED, `${text}next`);
    expect(body.trailers).toMatchObject({ names: ['X-Sum', 'x-sum'], keys: ['x-sum', 'x-sum'], values: ['1', '2'] });
    expect(end).toBe(text.length);
  });

  test('that is cut short by FIN is refused', () => {
    for (const { body } of [
      decode({ kind: 'length', bytes: 5 }, 'abc'),
      decode(CHUNKED, ''),
      decode(CHUNKED, '5\r\nabc'),
      decode(CHUNKED, '0\r\n'),
      decode(CHUNKED, '0\r\nX: 1\r\n'),
    ]) {
      expect(() => body.end()).toThrow('The body is cut short.');
    }
    expect(() => decode(CHUNKED, '0\r\n\r\n').body.end()).not.toThrow();
  });
});

describe('rule 4: chunks that are refused', () => {
  test.each([
    ['size ended by LF', '1\na'],
    ['data ended by LF', '1\r\na\n'],
    ['trailer section ended by LF', '0\r\n\n'],
    ['bare CR after the size', '1\ra'],
    ['bare CR after the data', '1\r\na\rb'],
    ['no size', '\r\n'],
    ['a size that is no number', 'x\r\n'],
    ['a size with a sign', '-1\r\n'],
    ['a size in the manner of C', '0x1\r\n'],
    ['white space around the size', '1 \r\n'],
    ['a size past 2^53', '20000000000000\r\n'],
    ['a size of too many digits', '0'.repeat(33)],
    ['data longer than the size', '1\r\nab'],
    ['a control byte in an extension', '1;\0\r\n'],
    ['bare LF in an extension', '1;a\n'],
    ['extensions past 16 KiB in one chunk', `1;${'a'.repeat(16_385)}`],
    ['extensions past 16 KiB in many chunks', `1;${'a'.repeat(1023)}\r\na\r\n`.repeat(17)],
    ['a trailer section past 16 KiB', `0\r\nX: ${'a'.repeat(16_384)}`],
    ['a trailer that is folded', '0\r\nX: a\r\n b\r\n\r\n'],
    ['a trailer with bare LF', '0\r\nX: a\nY: b'],
    ['a trailer with bare CR', '0\r\nX: a\rb'],
    ['a trailer with a control byte', '0\r\nX: \0\r\n\r\n'],
    ['more than 100 trailers', `0\r\n${'X: 1\r\n'.repeat(101)}\r\n`],
  ])('%s', (_, text) => {
    expect(() => decode(CHUNKED, text)).toThrow(MalformedMessage);
    expect(() => decode(CHUNKED, ...text)).toThrow(MalformedMessage);
  });

  test.each([
    'Content-Length',
    'Transfer-Encoding',
    'Host',
    'Authorization',
    'Proxy-Authorization',
    'Cookie',
    'Set-Cookie',
    'Content-Type',
    'Content-Encoding',
    'Content-Range',
    'Cache-Control',
    'If-Match',
    'Expect',
    'Range',
    'TE',
    'Trailer',
    'Connection',
    'Upgrade',
    'X-Forwarded-For',
    'X-Api-Key',
  ])('%s as a trailer (RFC 9110 section 6.5.1)', (name) => {
    expect(() => decode(CHUNKED, `0\r\nX: 1\r\n${name}: 1\r\n\r\n`)).toThrow('must come before the content');
  });
});
