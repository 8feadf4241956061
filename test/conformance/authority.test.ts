import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseHostPort } from '../../sidecar/decide/authority.ts';
import { locate } from '../../sidecar/decide/locate.ts';
import { GrantTable } from '../../sidecar/grants/table.ts';

type Case =
  | { input: string; failure: true }
  | { input: string; failure?: undefined; protocol: string; hostname: string; port: string };

/** web-platform-tests, see testdata/README.md. */
const cases: Case[] = JSON.parse(
  readFileSync(new URL('./testdata/urltestdata-http.json', import.meta.url), 'utf8'),
) as Case[];
const door = { kind: 'proxy' as const, ownPorts: new Set<number>() };

interface HostPort {
  host: string;
  port: number;
}

/** What the data says, in our spelling. */
function expected(item: Case): HostPort | undefined {
  if (item.failure === true) return undefined;
  const host = item.hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: item.port === '' ? (item.protocol === 'https:' ? 443 : 80) : Number(item.port) };
}

/** Ours, of the authority as RFC 3986 cuts it out. */
function parsed({ input }: Case): HostPort | undefined {
  const [, scheme, authority] = /^(https?):\/\/([^/?#]*)/i.exec(input)!;
  return parseHostPort(authority!, scheme!.toLowerCase() === 'https' ? 443 : 80);
}

function located({ input }: Case): HostPort | undefined {
  const result = locate(door, { method: 'GET', target: input, host: undefined }, GrantTable.empty);
  return 'kind' in result ? undefined : { host: result.authority.host, port: result.authority.port };
}

test.each(cases)('$input is the host and port of the WHATWG URL standard, or refused', (item) => {
  for (const ours of [parsed(item), located(item)]) if (ours !== undefined) expect(ours).toEqual(expected(item));
});

test.each(cases.filter((item) => item.failure === true))('$input is refused, as the standard fails it', (item) => {
  expect(parsed(item)).toBeUndefined();
  expect(located(item)).toBeUndefined();
});

/** Ordinary authorities of the data: refusing everything would pass the tests above. */
test.each([
  'http://foo:80/',
  'http://foo:81/',
  'https://foo:443/',
  'https://foo:80/',
  'http://ExAmPlE.CoM',
  'http://www.google.com/foo?bar=baz#',
  'http://facebook.com/?foo=%7B%22abc%22',
  'http://127.0.0.1:10100/relative_import.html',
  'https://localhost:3000/jqueryui@1.2.3',
  'http://1.2.3.4/',
  'http://192.168.257.com',
  'http://256.com',
  'http://10000000000.com',
  'http://[2001::1]',
  'http://[2001::1]:80',
  'http://[::127.0.0.1]',
  'http://[0:0:0:0:0:0:13.1.68.3]',
  'http://[1:0:1:0:1:0:1:0]',
  'http://example.com/@asdf%40',
])('%s is accepted', (input) => {
  const item = cases.find((candidate) => candidate.input === input);
  expect(item).toBeDefined();
  expect(parsed(item!)).toEqual(expected(item!));
});

test('all of the data is here', () => {
  expect(cases.length).toBe(322);
  expect(cases.filter((item) => parsed(item) !== undefined).length).toBeGreaterThanOrEqual(84);
});
