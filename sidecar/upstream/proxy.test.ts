import { describe, expect, test } from 'vitest';
import { proxySelector } from './proxy.ts';

const https = (host: string, port = 443) => ({ scheme: 'https', host, port }) as const;
const http = (host: string, port = 80) => ({ scheme: 'http', host, port }) as const;

describe('which proxy', () => {
  test('none without the variables', () => {
    expect(proxySelector({ NO_PROXY: 'x' })(https('api.example.com'))).toBeUndefined();
    expect(proxySelector({ HTTPS_PROXY: ' ' })(https('api.example.com'))).toBeUndefined();
  });

  test('by scheme, lower case first', () => {
    const select = proxySelector({
      HTTPS_PROXY: 'http://upper:1',
      https_proxy: 'http://lower:2',
      HTTP_PROXY: 'plain:3',
    });
    expect(select(https('api.example.com'))).toMatchObject({ host: 'lower', port: 2, tls: false, authorization: '' });
    expect(select(http('api.example.com'))).toMatchObject({ host: 'plain', port: 3 });
    expect(proxySelector({ HTTPS_PROXY: 'http://a:1' })(http('api.example.com'))).toBeUndefined();
  });

  test('ports by scheme of the proxy, IPv6, userinfo decoded', () => {
    expect(proxySelector({ HTTPS_PROXY: 'https://p.example' })(https('x.example'))).toMatchObject({
      port: 443,
      tls: true,
    });
    expect(proxySelector({ HTTPS_PROXY: 'p.example' })(https('x.example'))).toMatchObject({ port: 80 });
    expect(proxySelector({ HTTPS_PROXY: 'http://[2001:db8::1]:3128' })(https('x.example'))).toMatchObject({
      host: '2001:db8::1',
    });
    const { authorization } = proxySelector({ HTTPS_PROXY: 'http://us%40er:p%3Ass@p:1' })(https('x.example'))!;
    expect(authorization).toBe(`Proxy-Authorization: Basic ${Buffer.from('us@er:p:ss').toString('base64')}\r\n`);
  });

  test.each(['socks5://u:hunter2@p:1080', 'http://u:hunter2@', 'http://u:hunter2@p:99999', 'http://u:hunter2%zz@p'])(
    '%s is an error that names the variable but not its value',
    (value) => {
      expect(() => proxySelector({ HTTPS_PROXY: value })).toThrow(/^HTTPS_PROXY is not/);
      expect(() => proxySelector({ HTTPS_PROXY: value })).not.toThrow(/hunter2/);
    },
  );
});

describe('NO_PROXY', () => {
  const proxied = (noProxy: string, authority: { scheme: 'https'; host: string; port: number }) =>
    proxySelector({ HTTPS_PROXY: 'http://p:1', NO_PROXY: noProxy })(authority) !== undefined;

  test.each<[string, string, boolean]>([
    ['*', 'api.example.com', false],
    ['example.com', 'example.com', false],
    ['example.com', 'api.example.com', false],
    ['example.com', 'notexample.com', true],
    ['.example.com', 'api.example.com', false],
    ['.example.com', 'example.com', true],
    ['*.example.com', 'api.example.com', false],
    ['a.test, EXAMPLE.com', 'api.example.com', false],
    ['a.test b.test', 'b.test', false],
    ['10.0.0.0/8', '10.1.2.3', false],
    ['10.0.0.0/8', '11.1.2.3', true],
    ['192.0.2.1', '192.0.2.1', false],
    ['2001:db8::/32', '2001:db8::5', false],
    ['[2001:db8::5]', '2001:db8::5', false],
    ['', 'api.example.com', true],
  ])('%j, host %s: proxied %s', (noProxy, host, expected) => {
    expect(proxied(noProxy, https(host))).toBe(expected);
  });

  test('a port narrows it', () => {
    expect(proxied('example.com:8443', https('example.com', 8443))).toBe(false);
    expect(proxied('example.com:8443', https('example.com', 443))).toBe(true);
    expect(proxied('[2001:db8::5]:443', https('2001:db8::5'))).toBe(false);
  });

  test('this machine is never proxied', () => {
    for (const host of ['localhost', 'api.localhost', '127.0.0.1', '127.9.9.9', '::1']) {
      expect(proxied('', https(host))).toBe(false);
    }
  });
});
