import { expect, test } from 'vitest';
import { selects } from './labelSelector.ts';

const LABELS = { env: 'prod', team: 'a' };

test.each([
  [{}, true],
  [{ matchLabels: { env: 'prod' } }, true],
  [{ matchLabels: { env: 'prod', team: 'b' } }, false],
  [{ matchExpressions: [{ key: 'env', operator: 'In', values: ['dev', 'prod'] }] }, true],
  [{ matchExpressions: [{ key: 'zone', operator: 'In', values: ['x'] }] }, false],
  [{ matchExpressions: [{ key: 'env', operator: 'NotIn', values: ['prod'] }] }, false],
  [{ matchExpressions: [{ key: 'zone', operator: 'NotIn', values: ['x'] }] }, true],
  [{ matchExpressions: [{ key: 'env', operator: 'Exists' }] }, true],
  [{ matchExpressions: [{ key: 'env', operator: 'DoesNotExist' }] }, false],
  [{ matchLabels: { env: 'prod' }, matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] }, false],
] as const)('whether %j selects is decided as the API server does', (selector, selected) => {
  expect(selects(selector, LABELS)).toBe(selected);
});
