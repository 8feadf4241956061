import fc from 'fast-check';
import { applyPatch } from 'rfc6902';
import { expect, test } from 'vitest';
import { jsonPatch } from './jsonPatch.ts';

const item = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.constantFrom('1', '2') });
const spec = fc.record(
  {
    env: fc.array(item, { maxLength: 6 }),
    mounts: fc.array(fc.record({ name: fc.constant('v'), mountPath: fc.constantFrom('/a', '/b/~c', '/d') }), {
      maxLength: 4,
    }),
    words: fc.array(fc.constantFrom('x', 'y'), { maxLength: 3 }),
    nested: fc.array(fc.record({ name: fc.constantFrom('a', 'b'), env: fc.array(item, { maxLength: 3 }) }), {
      maxLength: 3,
    }),
  },
  { requiredKeys: [] },
);

test('the patch makes of the one object the other, whatever they are', () => {
  fc.assert(
    fc.property(spec, spec, (before, after) => {
      const patched = structuredClone(before);
      expect(applyPatch(patched, jsonPatch(before, after)).every((problem) => problem === null)).toBe(true);
      expect(patched).toEqual(after);
    }),
  );
});

test('what is put in front of a list is added, and nothing else is touched', () => {
  const before = { env: [{ name: 'a', value: '1' }, { name: 'b' }] };
  const after = { env: [{ name: 'new' }, { name: 'a', value: '2' }, { name: 'b' }] };
  expect(jsonPatch(before, after)).toEqual([
    { op: 'add', path: '/env/0', value: { name: 'new' } },
    { op: 'replace', path: '/env/1/value', value: '2' },
  ]);
});
