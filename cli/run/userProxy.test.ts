import { expect, test } from 'vitest';
import { userProxy } from './userProxy.ts';

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
