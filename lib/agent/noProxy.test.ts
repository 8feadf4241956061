import { expect, test } from 'vitest';
import { noProxy } from './noProxy.ts';

test.for([
  ['*', 'api.test', true],
  ['api.test', 'api.test', true],
  ['.test', 'api.test', true],
  ['test', 'api.test', true],
  ['*.test', 'api.test', true],
  ['api.test:443', 'api.test', true],
  ['x.api.test', '*.api.test', true],
  ['pi.test', 'api.test', false],
  ['other.test', 'api.test', false],
  ['10.0.0.0/8', 'api.test', false],
] as const)('NO_PROXY %s covers %s: %s', ([item, host, covered]) => {
  expect(noProxy({ NO_PROXY: item }, [host]).dropped).toEqual(covered ? [item] : []);
});
