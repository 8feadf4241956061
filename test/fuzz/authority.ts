import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Grant } from '../../api/grant.ts';
import { placeholderOf } from '../../api/placeholder.ts';
import { type Authority, authorityText, hostHeader, parseHostPort } from '../../sidecar/decide/authority.ts';
import { type Decision, decide } from '../../sidecar/decide/decide.ts';
import type { Door } from '../../sidecar/decide/door.ts';
import { type Located, locate } from '../../sidecar/decide/locate.ts';
import type { Entry } from '../../sidecar/grants/entry.ts';
import { GrantTable } from '../../sidecar/grants/table.ts';

const OWN_PORTS = new Set([15080]);
const table = GrantTable.compile([
  grant('a', ['api.example.com'], {
    alias: 'a',
    rules: [{ action: 'Allow', paths: [{ type: 'PathPrefix', value: '/v1' }] }],
  }),
  grant('b', ['*.example.com', 'b.example:8443'], { alias: 'b', rules: [{ action: 'Deny', methods: ['DELETE'] }] }),
  grant('c', ['p.example:80', '*.a.b'], { alias: 'c', allowPlaintext: true }),
  grant('d', ['*.wild.example'], { alias: 'd' }),
]);
const PLACEHOLDERS = ['default/a', 'default/b', 'default/x'].map((key) => placeholderOf({ key, hosts: [] }));

const HOSTS = [
  'api.example.com',
  'x.example.com',
  'b.example',
  'p.example',
  'x.a.b',
  'evil.test',
  'localhost',
  '127.0.0.1',
  '[::1]',
];
const OWN = ['sidekey.internal', 'a.sidekey.internal', 'b.sidekey.internal', 'd.sidekey.internal', '.sidekey.internal'];
const ODD = [
  'xn--a',
  'xn--bcher-kva.de',
  '0x7f.1',
  '017.0.0.1',
  '1.2.3',
  '[::ffff:127.0.0.1]',
  '[1::2',
  '%61pi.example.com',
  'K.test',
];
const MARKS = [
  '',
  '.',
  '..',
  ':',
  '@',
  '/',
  '//',
  '\\',
  '?',
  '#',
  '%',
  ';',
  '%2f',
  '%2e',
  '[',
  ']',
  ' ',
  '\t',
  '\0',
  '。',
  'ſ',
  '0',
  '*',
];
const PORTS = [':80', ':443', ':8443', ':15080', ':0', ':00080', ':65536', ':'];

const scrap = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...HOSTS) },
  fc.constantFrom(...OWN),
  fc.constantFrom(...ODD),
  { weight: 2, arbitrary: fc.constantFrom(...MARKS) },
  fc.constantFrom(...PORTS),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
  fc.domain(),
  fc.string({ unit: 'binary', maxLength: 4 }),
);
const hostPort = fc.array(scrap, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(''));
const plainHostPort = fc
  .tuple(fc.constantFrom(...HOSTS, ...OWN), fc.constantFrom('', ...PORTS))
  .map((parts) => parts.join(''));
const anyHostPort = fc.oneof(plainHostPort, hostPort);
const path = fc
  .array(fc.constantFrom('/', '/v1', '/a', '/b', '/x', '/..', '%2e', ';', '?', '?q=', ...PLACEHOLDERS, ...MARKS), {
    maxLength: 5,
  })
  .map((parts) => parts.join(''));
const target = fc.oneof(
  path,
  path.map((text) => `/${text}`),
  fc
    .tuple(fc.constantFrom('http://', 'https://', 'HTTP://', 'ftp://', 'http:/', '//'), anyHostPort, path)
    .map((parts) => parts.join('')),
);
const tunnel = fc
  .tuple(fc.constantFrom('http' as const, 'https' as const), plainHostPort)
  .map(([scheme, text]): Door | undefined => {
    const named = parseHostPort(text, scheme === 'https' ? 443 : 80);
    return named === undefined ? undefined : { kind: 'tunnel', authority: { scheme, ...named } };
  });
const proxy: Door = { kind: 'proxy', ownPorts: OWN_PORTS };
const captured = fc.constantFrom(80, 443, 8443).map((port): Door => ({ kind: 'captured', port, ownPorts: OWN_PORTS }));
const request = fc
  .record({
    door: fc.oneof(fc.constant(proxy), tunnel, captured),
    method: fc.constantFrom('GET', 'POST', 'DELETE', 'OPTIONS', 'CONNECT'),
    target,
    host: fc.oneof(fc.constant('same' as const), fc.constant(undefined), anyHostPort),
  })
  // Where Host follows the target the request gets past the comparison, and deeper.
  .map(({ host, ...rest }) => ({ ...rest, host: host === 'same' ? hostOf(rest.target, rest.door) : host }));

/**
 * Random authorities and request targets, for so many seconds: nothing throws, what is accepted is what the WHATWG parser says, and
 * no host comes from anywhere but the tunnel, the target or an alias. @throws with the seed and the shortest input that fails.
 */
export function fuzzAuthority(seconds: number, seed: number): void {
  const half = (seconds * 1000) / 2;
  run(fc.property(anyHostPort, fc.constantFrom(undefined, 80, 443), checkHostPort), half, seed);
  run(fc.property(request, checkRequest), half, seed);
}

function run<T>(property: fc.IProperty<T>, timeMs: number, seed: number): void {
  fc.assert(property, {
    seed,
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: timeMs,
    markInterruptAsFailure: false,
    verbose: false,
  });
}

function checkHostPort(text: string, portOf: number | undefined): void {
  const named = parseHostPort(text, portOf);
  if (named === undefined) return;
  const scheme = portOf === 443 ? 'https' : 'http';
  assert.deepEqual({ scheme, ...named }, byWhatwg(`${scheme}://${text}/`));
  for (const scheme of ['http', 'https'] as const) {
    const authority: Authority = { scheme, ...named };
    assert.deepEqual(parseHostPort(hostHeader(authority), scheme === 'https' ? 443 : 80), named);
    assert.deepEqual(parseHostPort(authorityText(authority), undefined), named);
  }
}

function checkRequest(asked: {
  door: Door | undefined;
  method: string;
  target: string;
  host: string | undefined;
}): void {
  const { door, method, target, host } = asked;
  if (door === undefined) return;
  const located = locate(door, { method, target, host }, table);
  if ('kind' in located) return;
  checkLocated(located, door, target, host);
  const text = `${method} ${target}`;
  for (const egress of ['Open', 'Closed'] as const) {
    const decision = decide(table, { ...located, method, text }, egress, 0);
    checkDecision(decision, located.authority);
    const traced = decide(table, { ...located, method, text }, egress, 0, () => {});
    assert.deepEqual(traced, decision);
  }
}

function checkLocated(located: Located, door: Door, target: string, host: string | undefined): void {
  const { authority, via, alias, path, query } = located;
  assert.ok(path.startsWith('/') || path === '*');
  assert.ok(query === '' || query.startsWith('?'));
  assert.ok(target.endsWith(path + query) || path === '*' || path === '/', 'the path is not from the target');
  if (via === 'baseURL') {
    assert.deepEqual(authority, table.alias(alias!)?.primary);
    assert.ok(`${host} ${target} ${door.kind === 'tunnel' ? door.authority.host : ''}`.toLowerCase().includes(alias!));
    return;
  }
  assert.equal(alias, undefined);
  if (via === 'tunnel') assert.ok(door.kind === 'tunnel' && authority === door.authority);
  if (door.kind === 'captured')
    assert.ok(authority.port === door.port && authority.scheme === 'http' && host !== undefined);
  else if (via === 'forward') assert.deepEqual(authority, byWhatwg(target));
  if (!/^[/*]/.test(target)) assert.deepEqual(authority, byWhatwg(target));
  assert.ok(!(path + query).includes('#'), 'a fragment is sent');
  if (host !== undefined) assert.deepEqual(byWhatwg(`${authority.scheme}://${host}/`), { ...authority });
  assert.ok(!/(^|\.)sidekey\.internal$/.test(authority.host), 'our own domain is nobody to dial');
}

/** A credential goes only where its Integration is for, and never to plain http unless that says so. */
function checkDecision(decision: Decision, { scheme, host, port }: Authority): void {
  if (decision.kind !== 'credential') return;
  const { entry } = decision;
  assert.ok(entry.hosts.some((pattern) => covers(pattern, { scheme, host, port })));
  assert.ok(scheme === 'https' || entry.grant.allowPlaintext);
}

function covers(pattern: Entry['hosts'][number], { scheme, host, port }: Authority): boolean {
  const labels = host.split('.');
  const name = pattern.wildcard ? labels.slice(1).join('.') : host;
  return name === pattern.name && port === (pattern.port ?? (scheme === 'https' ? 443 : 80));
}

/** Another reader's opinion. */
function byWhatwg(url: string): Authority | undefined {
  const parsed = URL.parse(url);
  if (parsed === null) return undefined;
  const scheme = parsed.protocol === 'https:' ? 'https' : 'http';
  const port = parsed.port === '' ? (scheme === 'https' ? 443 : 80) : Number(parsed.port);
  return { scheme, host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'), port };
}

function hostOf(target: string, door: Door | undefined): string | undefined {
  if (door?.kind === 'tunnel') return hostHeader(door.authority);
  return /^https?:\/\/([^/?#]*)/i.exec(target)?.[1];
}

function grant(name: string, hosts: string[], changes: Partial<Grant>): Grant {
  return {
    integration: `default/${name}`,
    createdAt: '2026-01-01T00:00:00Z',
    credential: `default/${name}`,
    hosts,
    inject: [{ bearer: {} }],
    rules: [],
    limits: [],
    placeholder: placeholderOf({ key: `default/${name}`, hosts: [] }),
    allowedNetworks: [],
    allowPlaintext: false,
    ...changes,
  };
}
