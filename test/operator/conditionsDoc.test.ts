import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CONDITION_REASONS, type ConditionType } from '../../api/condition.ts';

const TYPES: ConditionType[] = [
  'Ready',
  'SourceResolved',
  'Stored',
  'Accepted',
  'ResolvedRefs',
  'Programmed',
  'HostConflict',
];
const text = readFileSync(new URL('../../docs/conditions.md', import.meta.url), 'utf8');
const rows = [...text.slice(text.indexOf('## Reasons')).matchAll(/^\| `(\w+)` \| ([\w, ]+) \| (.+) \|$/gm)];

test('docs/conditions.md lists every reason, once, with what to do, in the words of the table', () => {
  expect(Object.fromEntries(rows.map(([, reason, , what]) => [reason, what]))).toEqual(CONDITION_REASONS);
  expect(rows.length).toBe(Object.keys(CONDITION_REASONS).length);
});

test('docs/conditions.md knows every type of condition, and names no other', () => {
  const named = new Set(rows.flatMap(([, , types]) => types!.split(', ')));
  for (const type of named) expect(TYPES).toContain(type);
  for (const type of TYPES) expect(text).toContain(`\n| \`${type}\` |`);
});
