import { expect, test } from 'vitest';
import { encodeFields } from '../../api/fields.ts';
import { frameOf } from '../testing/core.ts';
import { canonicalFrame } from './frame.ts';

const fields = (...entries: [string, string][]) =>
  encodeFields(entries.map(([name, text]) => [name, Buffer.from(text)]));

test('the same fields in another order are the same bytes, and what came in is overwritten', () => {
  const received = fields(['username', 'u'], ['password', 'p']);
  const { frame, fields: names } = canonicalFrame(received);
  expect(names).toEqual(['password', 'username']);
  expect(frame).toEqual(fields(['password', 'p'], ['username', 'u']));
  expect(received.every((byte) => byte === 0)).toBe(true);
});

test.each([
  ['nothing', Buffer.alloc(0)],
  ['an empty field', frameOf('')],
  ['a frame cut short', frameOf('secret').subarray(0, 12)],
  ['a field name of other characters', fields(['a/b', 'x'])],
  ['a repeated field', Buffer.concat([frameOf('a'), frameOf('b')])],
])('%s is refused, overwritten, and not repeated in the error', (_what, received) => {
  expect(() => canonicalFrame(received)).toThrow(
    expect.objectContaining({ code: 'MalformedRequest', message: expect.not.stringContaining('secret') }),
  );
  expect(received.every((byte) => byte === 0)).toBe(true);
});
