import { expect, test } from 'vitest';
import { noProxy, userProxy } from './userProxy.ts';

test('ALL_PROXY stands in where neither HTTP_PROXY nor HTTPS_PROXY is set', () => {
  expect(userProxy({ all_proxy: 'http://p:1' }).env).toMatchObject({
    HTTP_PROXY: 'http://p:1',
    HTTPS_PROXY: 'http://p:1',
  });
  expect(userProxy({ ALL_PROXY: 'http://p:1', https_proxy: 'http://q:2' }).env).not.toHaveProperty('HTTPS_PROXY');
});

test('a SOCKS proxy is told to be out of reach', () => {
  expect(userProxy({ ALL_PROXY: 'socks5h://p:1' }).problem).toContain('ALL_PROXY');
  expect(userProxy({ ALL_PROXY: 'p:1' }).problem).toBeUndefined();
});

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
