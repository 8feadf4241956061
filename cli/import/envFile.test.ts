import { expect, test } from 'vitest';
import { parseEnv } from './envFile.ts';

const assigned = (text: string) =>
  parseEnv(text).flatMap((part) => (part.kind === 'variable' ? [[part.name, part.value]] : []));

test.for([
  ['A=b', 'b'],
  ['A = b ', 'b'],
  ['export A=b', 'b'],
  ['A="b c"', 'b c'],
  ['A="b\\nc\\"d"', 'b\nc"d'],
  ["A='b\\nc'", 'b\\nc'],
  ['A=b # comment', 'b'],
  ['A="b" # comment', 'b'],
  ['A=b#c', 'b#c'],
  ['A=', ''],
  ['A=#', ''],
  ['A="two\nlines"', 'two\nlines'],
  ['A=b=c', 'b=c'],
  ['A=b\r\n', 'b'],
  ['A="not closed', '"not closed'],
] as const)('%j has the value %j', ([text, value]) => {
  expect(assigned(text)).toEqual([['A', value]]);
});

test('what is no assignment is kept as text, and the parts make up the whole', () => {
  const text = '# A=b\n\nnot one\nB="x\ny" # z\nC=1\n';
  const parts = parseEnv(text);
  expect(parts.map(({ raw }) => raw).join('')).toBe(text);
  expect(assigned(text)).toEqual([
    ['B', 'x\ny'],
    ['C', '1'],
  ]);
});
