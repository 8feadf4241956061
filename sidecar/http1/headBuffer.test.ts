import { describe, expect, test } from 'vitest';
import { HeadBuffer } from './headBuffer.ts';

const HEAD = 'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n';
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

function pushed(text: string, limitBytes = 1024): HeadBuffer {
  const head = new HeadBuffer(limitBytes);
  expect(head.push(bytes(text))).toBe(true);
  return head;
}

describe('a head', () => {
  test('that comes in one chunk is not copied', () => {
    const chunk = bytes(`${HEAD}body`);
    const head = new HeadBuffer(1024);
    expect(head.push(chunk)).toBe(true);
    expect(head.bytes).toBe(chunk);
    expect(head).toMatchObject({ headStart: 0, headEnd: HEAD.length, empty: false });
  });

  test('that comes in pieces is gathered, though the memory of each is used again for the next', () => {
    const head = new HeadBuffer(1024);
    const memory = Buffer.alloc(1);
    for (const [at, character] of [...HEAD].entries()) {
      memory.write(character, 'latin1');
      expect(head.push(memory)).toBe(at === HEAD.length - 1);
    }
    expect(head.bytes.toString('latin1')).toBe(HEAD);
    expect(head.headEnd).toBe(HEAD.length);
  });

  test('longer than the memory at first taken is gathered too', () => {
    const long = HEAD.replace('/', `/${'a'.repeat(5000)}`);
    const head = new HeadBuffer(8192);
    for (let at = 0; at < long.length; at += 700) head.push(bytes(long.slice(at, at + 700)));
    expect(head.bytes.toString('latin1')).toBe(long);
    expect(head.headEnd).toBe(long.length);
  });

  test('may have one empty line before it', () => {
    expect(pushed(`\r\n${HEAD}`)).toMatchObject({ headStart: 2, headEnd: HEAD.length + 2 });
    expect(() => pushed(`\r\n\r\n${HEAD}`)).toThrow('does not begin with a token');
  });

  test('is empty until more than an empty line has come, and again after reset', () => {
    const head = new HeadBuffer(1024);
    expect(head.empty).toBe(true);
    head.push(bytes('\r'));
    head.push(bytes('\n'));
    expect(head.empty).toBe(true);
    head.push(bytes('G'));
    expect(head.empty).toBe(false);
    head.reset();
    expect(head).toMatchObject({ empty: true, headStart: 0, headEnd: 0 });
  });

  test('leaves the bytes after it valid when it is reset and used again', () => {
    const head = new HeadBuffer(1024);
    head.push(bytes(HEAD.slice(0, 9)));
    head.push(bytes(`${HEAD.slice(9)}body`));
    const rest = head.bytes.subarray(head.headEnd);
    head.reset();
    head.push(bytes('GET /'));
    head.push(bytes('another HTTP/1.1\r\n'));
    expect(rest.toString()).toBe('body');
  });
});

describe('refused before the head is complete', () => {
  test('bare LF, at once', () => {
    const head = new HeadBuffer(1024);
    expect(head.push(bytes('GET / HTTP/1.1\r'))).toBe(false);
    expect(head.push(bytes('\nHost: a.example'))).toBe(false);
    expect(() => head.push(bytes('\n'))).toThrow('A line ends with LF alone.');
    expect(() => new HeadBuffer(1024).push(bytes('\nGET'))).toThrow();
  });

  test('a head larger than the limit, by one byte', () => {
    expect(pushed(HEAD, HEAD.length).headEnd).toBe(HEAD.length);
    for (const text of [HEAD, HEAD.slice(0, -1).padEnd(HEAD.length, 'x')]) {
      expect(() => new HeadBuffer(HEAD.length - 1).push(bytes(text))).toThrow(
        expect.objectContaining({ code: 'HeadTooLarge' }),
      );
    }
  });

  test('the preface of HTTP/2, whole or in pieces', () => {
    const refused = expect.objectContaining({ code: 'Http2NotSupported' });
    expect(() => new HeadBuffer(1024).push(bytes('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'))).toThrow(refused);
    const head = new HeadBuffer(1024);
    head.push(bytes('PRI * HT'));
    expect(() => head.push(bytes('TP/2.0'))).toThrow(refused);
  });

  test('what cannot begin a head, such as a TLS handshake', () => {
    expect(() => new HeadBuffer(1024).push(bytes('\x16'))).toThrow('does not begin with a token');
    expect(() => new HeadBuffer(1024).push(bytes('\rG'))).toThrow('CR stands without LF.');
  });
});
