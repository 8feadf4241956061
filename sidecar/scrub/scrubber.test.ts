import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Scrubber } from './scrubber.ts';

const KEY = 'sk-live-0123456789abcdef';

function buffers(...texts: string[]): Buffer[] {
  return texts.map((text) => Buffer.from(text, 'latin1'));
}

/** What comes out for pieces that go in, and how often something was masked. */
function scrub(needles: readonly Buffer[], pieces: readonly string[]): { text: string; count: number } {
  const scrubber = new Scrubber(needles);
  let text = '';
  const sink = (piece: Buffer) => {
    text += piece.toString('latin1');
  };
  for (const piece of pieces) scrubber.push(Buffer.from(piece, 'latin1'), sink);
  scrubber.flush(sink);
  return { text, count: scrubber.count };
}

/** The same in one go and by brute force. */
function reference(needles: readonly string[], text: string): { text: string; count: number } {
  const masked = [...text];
  let count = 0;
  for (const needle of new Set(needles)) {
    for (let at = text.indexOf(needle); at !== -1; at = text.indexOf(needle, at + 1)) {
      masked.fill('*', at, at + needle.length);
      count += 1;
    }
  }
  return { text: masked.join(''), count };
}

describe('an answer that echoes the material (rule 9)', () => {
  test('a head is masked in place, and only within the given range', () => {
    const scrubber = new Scrubber(buffers(KEY));
    const head = Buffer.from(`HTTP/1.1 200 OK\r\nX-Echo: ${KEY}\r\nX-Other: Bearer ${KEY}\r\n\r\n${KEY}`);
    const headEnd = head.indexOf('\r\n\r\n') + 4;
    expect(scrubber.head(head, 0, headEnd)).toBe(2);
    const stars = '*'.repeat(KEY.length);
    expect(head.toString()).toBe(`HTTP/1.1 200 OK\r\nX-Echo: ${stars}\r\nX-Other: Bearer ${stars}\r\n\r\n${KEY}`);
    expect(scrubber.head(head)).toBe(1);
    expect(scrubber.count).toBe(3);
  });

  test('is masked wherever the body is split', () => {
    const text = `{"authorization":"Bearer ${KEY}"}`;
    const expected = reference([KEY], text);
    for (let first = 0; first <= text.length; first++) {
      for (let second = first; second <= text.length; second++) {
        const pieces = [text.slice(0, first), text.slice(first, second), text.slice(second)];
        expect(scrub(buffers(KEY), pieces)).toEqual(expected);
      }
    }
  });

  test('is masked when it comes byte by byte, and again and again', () => {
    const text = `${KEY}${KEY} and ${KEY.slice(0, -1)}${KEY}`;
    expect(scrub(buffers(KEY), [...text])).toEqual(reference([KEY], text));
  });

  test('is masked across a border between a small and a large piece', () => {
    const filler = 'x'.repeat(70_000);
    const text = `${filler}${KEY}${filler}`;
    for (let at = filler.length; at <= filler.length + KEY.length; at++) {
      expect(scrub(buffers(KEY), [text.slice(0, at), text.slice(at)])).toEqual(reference([KEY], text));
    }
  });

  test('several needles are masked, those that overlap too, wherever the body is split', () => {
    const needles = ['abcdefgh', 'efghijkl', 'cdef', 'Basic abcdefgh=='];
    for (const text of [
      'abcdefghijkl',
      'Basic abcdefgh==',
      'xabcdefghefghijklcdefx',
      'abcdefghabcdefghijklBasic abcd',
    ]) {
      for (let at = 0; at <= text.length; at++) {
        expect(scrub(buffers(...needles), [text.slice(0, at), text.slice(at)])).toEqual(reference(needles, text));
      }
      expect(scrub(buffers(...needles), [...text])).toEqual(reference(needles, text));
    }
  });

  test('a needle that overlaps itself is masked whole', () => {
    for (const text of ['aabaabaabaa', 'aaaaaaaa']) {
      expect(scrub(buffers('aabaabaa', 'aaaa'), [...text])).toEqual(reference(['aabaabaa', 'aaaa'], text));
    }
  });

  test('any needles in any pieces come out as brute force has it', () => {
    const letters = (options: { minLength: number; maxLength: number }) =>
      fc.string({ unit: fc.constantFrom('a', 'b'), ...options });
    fc.assert(
      fc.property(
        fc.uniqueArray(letters({ minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 }),
        fc.array(letters({ minLength: 0, maxLength: 12 }), { maxLength: 8 }),
        (needles, pieces) => {
          expect(scrub(buffers(...needles), pieces)).toEqual(reference(needles, pieces.join('')));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('what is no echo', () => {
  test('comes out at once and as the same memory', () => {
    const scrubber = new Scrubber(buffers(KEY));
    const out: Buffer[] = [];
    const piece = Buffer.from('data: {"token":"hello"}\n\n');
    scrubber.push(piece, (given) => out.push(given));
    expect(out).toEqual([piece]);
    expect(out[0]).toBe(piece);
    expect(scrubber.holding).toBe(false);
  });

  test('only the beginning of a needle waits, until the next bytes show that it is none', () => {
    const scrubber = new Scrubber(buffers(KEY));
    const out: string[] = [];
    const sink = (given: Buffer) => out.push(given.toString());
    scrubber.push(Buffer.from('data: sk-li'), sink);
    expect(out).toEqual(['data: ']);
    expect(scrubber.holding).toBe(true);
    scrubber.push(Buffer.from('ke\n\n'), sink);
    expect(out.join('')).toBe('data: sk-like\n\n');
    expect(scrubber.holding).toBe(false);
  });

  test('the beginning of a needle at the very end comes out with the flush', () => {
    expect(scrub(buffers(KEY), ['the end: ', KEY.slice(0, -1)])).toEqual({
      text: `the end: ${KEY.slice(0, -1)}`,
      count: 0,
    });
  });

  test('a needle at the very end is masked without waiting', () => {
    const scrubber = new Scrubber(buffers(KEY));
    const out: string[] = [];
    scrubber.push(Buffer.from(`the end: ${KEY}`), (given) => out.push(given.toString()));
    expect(out).toEqual([`the end: ${'*'.repeat(KEY.length)}`]);
  });

  test('passes untouched without needles', () => {
    expect(scrub([], ['any', 'thing'])).toEqual({ text: 'anything', count: 0 });
    expect(scrub(buffers(''), ['any', 'thing'])).toEqual({ text: 'anything', count: 0 });
  });
});
