import { expect, test } from 'vitest';
import { suggest } from './suggest.ts';

test.each([
  ['host', 'hosts'],
  ['Hosts', 'hosts'],
  ['hsots', 'hosts'],
  ['soruce', 'source'],
  ['colour', undefined],
  ['x', undefined],
  ['', undefined],
  ['h'.repeat(100), undefined],
])('%s was meant to be %s', (word, meant) => {
  expect(suggest(word, ['source', 'hosts', 'delivery'])).toBe(meant);
});
