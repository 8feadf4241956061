import { expect, test } from 'vitest';
import { materialProblem } from './materialProblem.ts';

const say = (text: string) => materialProblem(Buffer.from(text, 'latin1'));

test.each<[string, string | undefined]>([
  ['sk-good', undefined],
  ['\xe4 value beyond ASCII', undefined],
  ['', 'is empty'],
  ['\n', 'ends with a line break'],
  ['sk\n', 'ends with a line break'],
  ['sk\r\n', 'ends with a line break'],
  ['sk\n\n', 'ends with a line break'],
  ['-----BEGIN\nKEY-----\n', 'has a line break at position 11'],
  ['a\r\nb', 'has a line break at position 2'],
  ['sk\t', 'has a control byte at position 3'],
  ['sk\0', 'has a control byte at position 3'],
  ['sk\x7f', 'has a control byte at position 3'],
])('%j', (text, problem) => {
  if (problem === undefined) expect(say(text)).toBeUndefined();
  else expect(say(text)).toMatch(problem);
});

test('64 KiB are taken, one byte more is not, and no message repeats the value', () => {
  expect(say('k'.repeat(65_536))).toBeUndefined();
  expect(say('k'.repeat(65_537))).toMatch('has 65537 bytes');
  for (const text of ['sk-secret\n', 'sk-sec\x01ret']) expect(say(text)).not.toMatch(/sk|sec|ret /);
});
