import { describe, expect, test } from 'vitest';
import { Fields } from '../http1/fields.ts';
import type { Door } from './door.ts';
import { type Located, locate } from './locate.ts';
import { authority, head, tableOf } from './testkit.ts';

const proxy: Door = { kind: 'proxy', ownPorts: new Set([15080]) };
const tunnel: Door = { kind: 'tunnel', authority: authority('https://api.openai.com') };
const table = tableOf(
  { alias: 'openai' },
  { integration: 'default/port', alias: 'port', hosts: ['*.a.example', 'b.example:8443'] },
  { integration: 'default/wild', alias: 'wild', hosts: ['*.a.example'] },
  { integration: 'default/loop', alias: 'loop', hosts: ['x.sidekey.internal'] },
  { integration: 'default/plain', alias: 'plain', hosts: ['p.example:80'], allowPlaintext: true },
);

/** `forward https://host:port /path ?query`, or the code of the refusal. */
function located(door: Door, target: string, host: string | undefined, method?: string): string {
  const result = locate(door, head(target, host, method), table);
  if ('kind' in result) return result.code;
  const { scheme, host: name, port } = result.authority;
  return `${result.via} ${scheme}://${name}:${port} ${result.path}${result.query === '' ? '' : ` ${result.query}`}`;
}

function detailOf(door: Door, target: string, host: string | undefined): string {
  const result = locate(door, head(target, host), table);
  return 'kind' in result ? result.detail : '';
}

describe('a forward proxy request is for what its target names', () => {
  test.each([
    ['http://a.example/x?y=1', 'a.example', 'forward http://a.example:80 /x ?y=1'],
    ['http://a.example:8080/x', 'a.example:8080', 'forward http://a.example:8080 /x'],
    ['https://a.example/x', 'a.example', 'forward https://a.example:443 /x'],
    ['HTTPS://A.Example/x', 'a.example', 'forward https://a.example:443 /x'],
    ['http://a.example', 'a.example', 'forward http://a.example:80 /'],
    ['http://a.example?x', 'a.example', 'forward http://a.example:80 / ?x'],
    ['http://a.example?x=/y', 'a.example', 'forward http://a.example:80 / ?x=/y'],
    ['http://a.example/x?y?z', 'a.example', 'forward http://a.example:80 /x ?y?z'],
    ['http://a.example/x', 'A.EXAMPLE:80', 'forward http://a.example:80 /x'],
    ['https://a.example:443/x', 'a.example', 'forward https://a.example:443 /x'],
    ['http://[2001:DB8::1]/x', '[2001:db8:0::1]', 'forward http://2001:db8::1:80 /x'],
    ['http://a.example/x', undefined, 'forward http://a.example:80 /x'],
    ['http://a.example//x', 'a.example', 'forward http://a.example:80 //x'],
  ])('%s with Host %s → %s', (target, host, expected) => {
    expect(located(proxy, target, host)).toBe(expected);
  });

  test('OPTIONS of a URL without a path is for the server as a whole', () => {
    expect(located(proxy, 'http://a.example', 'a.example', 'OPTIONS')).toBe('forward http://a.example:80 *');
  });
});

describe('Host must name the same authority as the target', () => {
  test.each([
    ['another host', 'http://api.openai.com/x', 'evil.example'],
    ['another port', 'http://api.openai.com/x', 'api.openai.com:8080'],
    ['the port of the other scheme', 'https://api.openai.com/x', 'api.openai.com:80'],
    ['no port where the target has one', 'http://api.openai.com:8080/x', 'api.openai.com'],
    ['the listener', 'http://api.openai.com/x', '127.0.0.1:15080'],
    ['an alias', 'http://api.openai.com/x', 'openai.sidekey.internal'],
  ])('%s', (_, target, host) => {
    expect(located(proxy, target, host)).toBe('AuthorityMismatch');
  });

  test('an alias in the target does not excuse another Host', () => {
    expect(located(proxy, 'http://openai.sidekey.internal/x', 'api.openai.com')).toBe('AuthorityMismatch');
    expect(located(proxy, 'http://127.0.0.1:15080/openai/x', 'api.openai.com')).toBe('AuthorityMismatch');
  });

  test('the detail names both', () => {
    expect(detailOf(proxy, 'http://api.openai.com/x', 'evil.example')).toBe(
      'Host names evil.example:80, but the request target names http://api.openai.com:80',
    );
  });

  test('a Host that is no host is malformed', () => {
    expect(located(proxy, 'http://api.openai.com/x', 'user@api.openai.com')).toBe('MalformedRequest');
    expect(located(proxy, '/openai/x', '127.0.0.1:15080, evil.example')).toBe('MalformedRequest');
    expect(located(tunnel, '/x', 'api.openai.com.')).toBe('MalformedRequest');
  });
});

describe('targets that name no one authority are malformed', () => {
  test.each([
    ['userinfo', 'http://user@api.openai.com/x'],
    ['userinfo that looks like the host', 'http://api.openai.com@evil.example/x'],
    ['userinfo behind a backslash', 'http://api.openai.com\\@evil.example/x'],
    ['a fragment that hides userinfo', 'http://api.openai.com#@evil.example/x'],
    ['a fragment in a path', '/v1/x#y'],
    ['a fragment in a URL', 'http://api.openai.com/v1/x#y'],
    ['another scheme', 'ftp://api.openai.com/x'],
    ['a scheme without an authority', 'http:/x'],
    ['an empty authority', 'http:///x'],
    ['authority-form', 'api.openai.com:443'],
    ['a path without its slash', 'x'],
    ['nothing', ''],
    ['* with GET', '*'],
  ])('%s', (_, target) => {
    expect(located(proxy, target, undefined)).toBe('MalformedRequest');
    expect(located(tunnel, target, undefined)).toBe('MalformedRequest');
  });

  test('CONNECT within a connection that is no proxy request', () => {
    expect(located(tunnel, 'api.openai.com:443', 'api.openai.com:443', 'CONNECT')).toBe('MalformedRequest');
  });
});

describe('a tunnel is for its CONNECT target only', () => {
  test.each([
    ['/v1/x?y', 'api.openai.com', 'tunnel https://api.openai.com:443 /v1/x ?y'],
    ['/v1/x', 'api.openai.com:443', 'tunnel https://api.openai.com:443 /v1/x'],
    ['/v1/x', 'API.openai.com', 'tunnel https://api.openai.com:443 /v1/x'],
    ['/v1/x', undefined, 'tunnel https://api.openai.com:443 /v1/x'],
    ['https://api.openai.com/v1/x', 'api.openai.com', 'tunnel https://api.openai.com:443 /v1/x'],
    ['/v1/x', 'evil.example', 'AuthorityMismatch'],
    ['/v1/x', 'api.openai.com:8443', 'AuthorityMismatch'],
    ['https://evil.example/v1/x', 'api.openai.com', 'AuthorityMismatch'],
    ['https://evil.example/v1/x', 'evil.example', 'AuthorityMismatch'],
    ['http://api.openai.com:443/v1/x', 'api.openai.com', 'AuthorityMismatch'],
    ['/openai/v1/x', '127.0.0.1:15080', 'AuthorityMismatch'],
    ['http://openai.sidekey.internal/x', 'openai.sidekey.internal', 'AuthorityMismatch'],
  ])('%s with Host %s → %s', (target, host, expected) => {
    expect(located(tunnel, target, host)).toBe(expected);
  });

  test('a tunnel to another port wants the port in Host', () => {
    const door: Door = { kind: 'tunnel', authority: authority('https://api.openai.com:8443') };
    expect(located(door, '/x', 'api.openai.com:8443')).toBe('tunnel https://api.openai.com:8443 /x');
    expect(located(door, '/x', 'api.openai.com')).toBe('AuthorityMismatch');
  });

  test('OPTIONS * keeps its target', () => {
    expect(located(tunnel, '*', 'api.openai.com', 'OPTIONS')).toBe('tunnel https://api.openai.com:443 *');
  });

  test('plain http in a tunnel to an alias is a base URL, as clients tunnel http too', () => {
    const door: Door = { kind: 'tunnel', authority: authority('http://openai.sidekey.internal:15080') };
    expect(located(door, '/v1/x', 'openai.sidekey.internal:15080')).toBe('baseURL https://api.openai.com:443 /v1/x');
  });
});

describe('a base URL leads to the first host of the Integration with that alias', () => {
  test.each([
    ['/v1/x?y', 'openai.sidekey.internal', 'baseURL https://api.openai.com:443 /v1/x ?y'],
    ['/v1/x', 'openai.sidekey.internal:15080', 'baseURL https://api.openai.com:443 /v1/x'],
    ['/v1/x', 'OpenAI.Sidekey.Internal', 'baseURL https://api.openai.com:443 /v1/x'],
    [
      'http://openai.sidekey.internal:15080/v1/x',
      'openai.sidekey.internal:15080',
      'baseURL https://api.openai.com:443 /v1/x',
    ],
    ['http://openai.sidekey.internal', undefined, 'baseURL https://api.openai.com:443 /'],
    ['/openai/v1/x?y', '127.0.0.1:15080', 'baseURL https://api.openai.com:443 /v1/x ?y'],
    ['/openai/v1/x', 'localhost:15080', 'baseURL https://api.openai.com:443 /v1/x'],
    ['/openai/v1/x', '[::1]:15080', 'baseURL https://api.openai.com:443 /v1/x'],
    ['/openai/v1/x', 'sidekey.internal:15080', 'baseURL https://api.openai.com:443 /v1/x'],
    ['http://127.0.0.1:15080/openai/v1/x', '127.0.0.1:15080', 'baseURL https://api.openai.com:443 /v1/x'],
    ['/openai', '127.0.0.1:15080', 'baseURL https://api.openai.com:443 /'],
    ['/openai/', '127.0.0.1:15080', 'baseURL https://api.openai.com:443 /'],
    ['/openai?x', '127.0.0.1:15080', 'baseURL https://api.openai.com:443 / ?x'],
    ['/openai//x', '127.0.0.1:15080', 'baseURL https://api.openai.com:443 //x'],
    ['/port/x', '127.0.0.1:15080', 'baseURL https://b.example:8443 /x'],
    ['/plain/x', '127.0.0.1:15080', 'baseURL http://p.example:80 /x'],
  ])('%s with Host %s → %s', (target, host, expected) => {
    expect(located(proxy, target, host)).toBe(expected);
  });

  test.each([
    [{ 'Sec-Fetch-Site': 'cross-site' }, 'CrossSiteRefused'],
    [{ 'Sec-Fetch-Site': 'same-site' }, 'CrossSiteRefused'],
    [{ Origin: 'https://evil.example' }, 'CrossSiteRefused'],
    [{ Origin: 'null' }, 'CrossSiteRefused'],
    [{ 'Sec-Fetch-Site': 'none' }, 'located'],
    [{ Origin: 'http://127.0.0.1:15080' }, 'located'],
    [{}, 'located'],
  ])('a page of another site does not get a credential through a browser: %j → %s', (lines, expected) => {
    const fields = new Fields();
    for (const [name, value] of Object.entries(lines)) fields.add(name, value);
    for (const target of ['/openai/x', 'http://openai.sidekey.internal/x']) {
      const host = target.startsWith('/') ? '127.0.0.1:15080' : 'openai.sidekey.internal';
      if (host !== '127.0.0.1:15080' && expected === 'located') continue;
      const result = locate(proxy, { ...head(target, host), fields }, table);
      expect('kind' in result ? result.code : 'located').toBe(expected);
    }
  });

  test('the alias is told, so that it picks the Integration', () => {
    const result = locate(proxy, head('/openai/x', '127.0.0.1:15080'), table) as Located;
    expect(result.alias).toBe('openai');
  });

  test.each([
    ['/', '127.0.0.1:15080'],
    ['/nothing/x', '127.0.0.1:15080'],
    ['//openai/x', '127.0.0.1:15080'],
    ['/OpenAI/x', '127.0.0.1:15080'],
    ['/openai%2fx', '127.0.0.1:15080'],
    ['/x', 'nothing.sidekey.internal'],
    ['/x', 'a.openai.sidekey.internal:15080'],
  ])('%s with Host %s names no alias', (target, host) => {
    expect(['UnknownAlias', 'LoopDetected']).toContain(located(proxy, target, host));
  });

  test('an alias of wildcard hosts leads nowhere, and says so', () => {
    expect(located(proxy, '/wild/x', '127.0.0.1:15080')).toBe('UnknownAlias');
    expect(detailOf(proxy, '/wild/x', '127.0.0.1:15080')).toBe(
      'Integration default/wild covers wildcard hosts only, so its alias wild leads to none: name the host instead',
    );
  });

  test('the path / lists nothing', () => {
    expect(detailOf(proxy, '/', '127.0.0.1:15080')).toBe(
      'the first segment of the path must be the alias of an Integration',
    );
  });
});

describe('what would come back to the sidecar is refused', () => {
  test.each([
    ['https to an own port', 'https://127.0.0.1:15080/openai/x', '127.0.0.1:15080'],
    ['another loopback address', 'http://127.0.0.2:15080/x', '127.0.0.2:15080'],
    ['the unspecified address', 'http://0.0.0.0:15080/x', '0.0.0.0:15080'],
    ['the unspecified IPv6 address', 'http://[::]:15080/x', '[::]:15080'],
    ['loopback as mapped IPv6', 'http://[::ffff:127.0.0.1]:15080/x', '[::ffff:127.0.0.1]:15080'],
    ['a name below localhost', 'http://a.localhost:15080/x', 'a.localhost:15080'],
    ['our own domain over https', 'https://openai.sidekey.internal/x', 'openai.sidekey.internal'],
    ['our own domain on another port', 'http://sidekey.internal/openai/x', 'sidekey.internal'],
    ['an Integration for our own domain', '/loop/x', '127.0.0.1:15080'],
  ])('%s', (_, target, host) => {
    expect(located(proxy, target, host)).toBe('LoopDetected');
  });

  test('loopback on another port is a place like any other', () => {
    expect(located(proxy, 'http://127.0.0.1:8080/x', '127.0.0.1:8080')).toBe('forward http://127.0.0.1:8080 /x');
  });

  test('a request that is neither proxied nor for an alias is told how to ask', () => {
    expect(located(proxy, '/v1/x', 'api.openai.com')).toBe('AuthorityMismatch');
    expect(detailOf(proxy, '/v1/x', 'api.openai.com')).toBe(
      'the request came to the sidecar itself, but Host names api.openai.com:80: use the sidecar as an HTTP proxy, or the base URL of an Integration',
    );
    expect(located(proxy, '/openai/x', '127.0.0.1:9999')).toBe('AuthorityMismatch');
    expect(located(proxy, '/openai/x', undefined)).toBe('MalformedRequest');
  });
});
