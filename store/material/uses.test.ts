import { expect, test } from 'vitest';
import type { MaterialHead } from '../persist/repository.ts';
import { credentialRecord } from '../testing/records.ts';
import { MaterialUses } from './uses.ts';

const credential = 'default/key';
const record = credentialRecord({ maxUses: 2 });
const head = (version: number): MaterialHead => ({
  credential,
  version,
  origin: 'store',
  fields: ['value'],
  writtenAtMs: 0,
});

test('counts that are told twice, late or of a version of before change nothing', () => {
  const uses = new MaterialUses();
  uses.counted({ credential, version: 2, count: 2 });
  uses.counted({ credential, version: 2, count: 1 });
  uses.counted({ credential, version: 1, count: 9 });
  expect(uses.usedUp(head(2), record)).toBe(true);
  expect(uses.usedUp(head(1), record)).toBe(false);
  uses.counted({ credential, version: 3, count: 1 });
  expect(uses.usedUp(head(3), record)).toBe(false);
});
