import { describe, expect, test } from 'vitest';
import type { Grant } from '../../api/grant.ts';
import { placeholderOf } from '../../api/placeholder.ts';
import { GrantTable } from '../grants/table.ts';
import { decide } from './decide.ts';
import { decided, grant, outcome, request, tableOf, traced } from './testkit.ts';

function under(path: string, methods?: Grant['rules'][number]['methods']): Grant['rules'][number] {
  return { action: 'Allow', methods, paths: [{ type: 'PathPrefix', value: path }] };
}

function detail(table: GrantTable, changes: Parameters<typeof request>[0], egress: 'Open' | 'Closed' = 'Open'): string {
  const decision = decide(table, request(changes), egress, 0);
  return decision.kind === 'refuse' ? decision.detail : '';
}

describe('without an Integration a request passes or is refused, never with a credential', () => {
  const table = tableOf({});

  test.each([
    ['another host', 'https://example.com'],
    ['a host below', 'https://x.api.openai.com'],
    ['a host above', 'https://openai.com'],
    ['a host that only ends alike', 'https://evilapi.openai.com'],
    ['another port', 'https://api.openai.com:8443'],
    ['plain http on another port', 'http://api.openai.com:8080'],
    ['plain http on the port of https', 'http://api.openai.com:443'],
    ['https on the port of http', 'https://api.openai.com:80'],
    ['an address', 'https://192.0.2.1'],
  ])('%s', (_, to) => {
    expect(decided(table, { to }, 'Open')).toBe('pass');
    expect(decided(table, { to }, 'Closed')).toBe('refuse NoIntegration');
  });

  test('the empty table', () => {
    expect(decided(GrantTable.empty, {}, 'Open')).toBe('pass');
    expect(decided(GrantTable.empty, {}, 'Closed')).toBe('refuse NoIntegration');
  });

  test('the refusal says which host, and what is nearly right', () => {
    expect(detail(table, { to: 'https://example.com' }, 'Closed')).toBe(
      'no Integration of this session covers https://example.com:443',
    );
    expect(detail(table, { to: 'https://api.openai.com:8443' }, 'Closed')).toBe(
      'no Integration of this session covers https://api.openai.com:8443; default/example covers api.openai.com',
    );
  });

  test('an ambiguous path is refused nevertheless', () => {
    expect(decided(table, { to: 'http://example.com', path: '/a/../b' })).toBe('refuse AmbiguousPath');
  });
});

describe('with an Integration', () => {
  test('its credential is used', () => {
    expect(decided(tableOf({}))).toBe('credential default/example');
    expect(decided(tableOf({}), {}, 'Closed')).toBe('credential default/example');
  });

  test('its rules can only refuse: the request is never passed on bare', () => {
    const table = tableOf({ rules: [under('/v1/chat')] });
    expect(decided(table, { path: '/v1/chat/completions' })).toBe('credential default/example');
    expect(decided(table, { path: '/v1/files' }, 'Open')).toBe('refuse RuleDenied');
    expect(decided(table, { path: '/v1/files' }, 'Closed')).toBe('refuse RuleDenied');
  });

  test('a refusal by rules names the Integration and what would be allowed', () => {
    const table = tableOf({ rules: [under('/v1/chat', ['POST'])] });
    expect(detail(table, { path: '/v1/files' })).toBe(
      'Integration default/example: GET /v1/files matches no Allow rule; rule 1 allows POST under /v1/chat',
    );
  });

  test('a Deny that matches wins', () => {
    const table = tableOf({ rules: [under('/'), { action: 'Deny', methods: ['DELETE'] }] });
    expect(decided(table, { method: 'DELETE' })).toBe('refuse RuleDenied');
    expect(decided(table, { method: 'GET' })).toBe('credential default/example');
  });

  test('OPTIONS * is under no path', () => {
    expect(decided(tableOf({ rules: [under('/')] }), { method: 'OPTIONS', path: '*' })).toBe('refuse RuleDenied');
    expect(decided(tableOf({}), { method: 'OPTIONS', path: '*' })).toBe('credential default/example');
  });
});

describe('paths that mean different things to different readers', () => {
  const gitlab = '/api/v4/projects/group%2Fproject';

  test('an encoded slash is fine without path rules and refused with them', () => {
    expect(decided(tableOf({}), { path: gitlab })).toBe('credential default/example');
    expect(decided(tableOf({ rules: [{ action: 'Allow', methods: ['GET'] }] }), { path: gitlab })).toBe(
      'credential default/example',
    );
    expect(decided(tableOf({ rules: [under('/api')] }), { path: gitlab })).toBe('refuse AmbiguousPath');
  });

  test('path rules of one Integration are enough where two cover the host', () => {
    const table = tableOf({}, { integration: 'default/other', rules: [under('/api')] });
    expect(decided(table, { path: gitlab })).toBe('refuse AmbiguousPath');
  });

  test('dot segments are refused always', () => {
    expect(decided(tableOf({}), { path: '/v1/%2e%2e/admin' })).toBe('refuse AmbiguousPath');
  });
});

describe('plain http', () => {
  test('never gets a credential unless the Integration says so', () => {
    const to = 'http://api.openai.com';
    expect(decided(tableOf({}), { to })).toBe('refuse PlaintextRefused');
    expect(decided(tableOf({ allowPlaintext: true }), { to })).toBe('credential default/example');
  });

  test('with allowPlaintext only on port 80, or the port that is written', () => {
    const table = tableOf(
      { allowPlaintext: true },
      { integration: 'default/port', hosts: ['p.example:8080'], allowPlaintext: true },
    );
    expect(decided(table, { to: 'http://api.openai.com:8080' })).toBe('pass');
    expect(decided(table, { to: 'http://p.example:8080' })).toBe('credential default/port');
    expect(decided(table, { to: 'https://p.example:8080' })).toBe('credential default/port');
    expect(decided(table, { to: 'http://p.example' })).toBe('pass');
  });

  test('a written port without allowPlaintext refuses http', () => {
    const table = tableOf({ hosts: ['p.example:8080'] });
    expect(decided(table, { to: 'http://p.example:8080' })).toBe('refuse PlaintextRefused');
  });

  test('of two Integrations only the willing one is used, even if it is younger', () => {
    const table = tableOf(
      { integration: 'default/a' },
      { integration: 'default/b', createdAt: '2026-02-01T00:00:00Z', allowPlaintext: true },
    );
    expect(decided(table, { to: 'http://api.openai.com' })).toBe('credential default/b');
  });

  test('the refusal names the Integration and the way out', () => {
    expect(detail(tableOf({}), { to: 'http://api.openai.com' })).toBe(
      'Integration default/example covers http://api.openai.com:80, but lets no credential travel over plain http; use https, or set allowPlaintext',
    );
  });
});

describe('two Integrations on one host', () => {
  const old = { integration: 'default/old', credential: 'default/old', createdAt: '2026-01-01T00:00:00Z' };
  const young = { integration: 'default/young', credential: 'default/young', createdAt: '2026-02-01T00:00:00Z' };

  test('the older one wins', () => {
    expect(decided(tableOf(young, old))).toBe('credential default/old');
  });

  test('age is a time, whatever its digits and its zone', () => {
    const fraction = { ...old, createdAt: '2026-01-01T00:00:00.5Z' };
    expect(decided(tableOf(fraction, { ...young, createdAt: '2026-01-01T00:00:00Z' }))).toBe(
      'credential default/young',
    );
    expect(decided(tableOf(old, { ...young, createdAt: '2026-01-01T01:00:00+02:00' }))).toBe(
      'credential default/young',
    );
  });

  test('of the same age the first by name wins', () => {
    expect(decided(tableOf({ integration: 'default/b' }, { integration: 'default/a' }))).toBe('credential default/a');
  });

  test('the most specific path comes before age', () => {
    const table = tableOf({ ...old, rules: [under('/v1')] }, { ...young, rules: [under('/v1/models')] });
    expect(decided(table, { path: '/v1/models/x' })).toBe('credential default/young');
    expect(decided(table, { path: '/v1/files' })).toBe('credential default/old');
  });

  test('an Integration with a path comes before one without rules', () => {
    expect(decided(tableOf(old, { ...young, rules: [under('/v1')] }))).toBe('credential default/young');
  });

  test('a path that is more specific but not for the method does not count', () => {
    const table = tableOf({ ...old, rules: [under('/v1')] }, { ...young, rules: [under('/v1/models', ['POST'])] });
    expect(decided(table, { method: 'GET', path: '/v1/models' })).toBe('credential default/old');
    expect(decided(table, { method: 'POST', path: '/v1/models' })).toBe('credential default/young');
  });

  test('one that denies leaves the request to the other; if both do, it is refused', () => {
    const table = tableOf({ ...old, rules: [under('/a')] }, { ...young, rules: [under('/b')] });
    expect(decided(table, { path: '/b' })).toBe('credential default/young');
    expect(decided(table, { path: '/c' })).toBe('refuse RuleDenied');
  });

  test('a placeholder comes before everything', () => {
    const table = tableOf({ ...old, rules: [under('/v1/models')] }, young);
    const text = `GET /v1/models HTTP/1.1\r\nAuthorization: Bearer ${grant(young).placeholder}\r\n\r\n`;
    expect(decided(table, { text })).toBe('credential default/young');
    expect(decided(table, { text: '' })).toBe('credential default/old');
  });

  test('the Integration of the placeholder decides alone: another does not step in where its rules deny', () => {
    const table = tableOf(old, { ...young, rules: [under('/b')] });
    expect(decided(table, { path: '/c', text: grant(young).placeholder })).toBe('refuse RuleDenied');
  });

  test('a placeholder within Basic authorization picks too', () => {
    const encoded = Buffer.from(`user:${grant(young).placeholder}`).toString('base64');
    const text = `GET / HTTP/1.1\r\nauthorization: basic ${encoded}\r\n\r\n`;
    expect(decided(tableOf(old, young), { text })).toBe('credential default/young');
  });

  test('two Integrations of one credential go on by path and age', () => {
    const table = tableOf(old, { ...young, credential: 'default/old', rules: [under('/v1')] });
    expect(decided(table, { text: grant(old).placeholder })).toBe('credential default/young');
    expect(decided(table, { path: '/x', text: grant(old).placeholder })).toBe('credential default/old');
  });

  test('placeholders of both leave it to path and age', () => {
    const text = `${grant(young).placeholder} ${grant(old).placeholder}`;
    expect(decided(tableOf(old, young), { text })).toBe('credential default/old');
  });

  test('an alias picks its Integration, unless the placeholder is of the other', () => {
    const table = tableOf(old, { ...young, alias: 'young' });
    expect(decided(table, { via: 'baseURL', alias: 'young' })).toBe('credential default/young');
    expect(decided(table, { via: 'baseURL', alias: 'young', text: grant(old).placeholder })).toBe(
      'credential default/old',
    );
  });

  test('a wildcard and an exact host are both on the host, and the older wins', () => {
    const wildcard = { hosts: ['*.openai.com'] };
    expect(decided(tableOf({ ...old, ...wildcard }, young))).toBe('credential default/old');
    expect(decided(tableOf(old, { ...young, ...wildcard }))).toBe('credential default/old');
  });
});

describe('a placeholder only picks among credentials that are granted for the authority', () => {
  const other = { integration: 'default/other', credential: 'default/other', hosts: ['other.example'] };
  const table = tableOf({}, other);

  test('that of another host is refused', () => {
    expect(decided(table, { text: grant(other).placeholder })).toBe('refuse PlaceholderNotGranted');
    expect(detail(table, { text: grant(other).placeholder })).toBe(
      'the request carries the placeholder of credential default/other, which Integration default/other grants for other.example, not for api.openai.com:443',
    );
  });

  test('that of a host beside one that is granted is refused too', () => {
    const text = `${grant().placeholder} ${grant(other).placeholder}`;
    expect(decided(table, { text })).toBe('refuse PlaceholderNotGranted');
  });

  test('that of no credential of the session is refused', () => {
    const text = placeholderOf({ key: 'elsewhere/key', hosts: [] });
    expect(decided(table, { text })).toBe('refuse PlaceholderNotGranted');
    expect(detail(table, { text })).toBe(
      'the request carries the placeholder of a credential that no Integration of this session grants',
    );
  });

  test('one on its way to a host without Integration is refused, for it would be of no use there', () => {
    expect(decided(table, { to: 'http://example.com', text: grant().placeholder })).toBe(
      'refuse PlaceholderNotGranted',
    );
  });

  test('the mark without its digits is no placeholder', () => {
    expect(decided(table, { text: 'GET /?q=sidekeyPlaceholder HTTP/1.1' })).toBe('credential default/example');
  });

  test('it is not told apart by the prefix that makes it well formed', () => {
    const bare = grant().placeholder.slice(grant().placeholder.indexOf('sidekeyPlaceholder'));
    expect(decided(table, { text: `x-key: ${bare}` })).toBe('credential default/example');
  });
});

describe('limits', () => {
  const limits = [{ requests: 2, windowSeconds: 60 }];

  test('the request above the limit is refused with the seconds to wait', () => {
    const table = tableOf({ limits });
    expect(outcome(decide(table, request(), 'Open', 0))).toBe('credential default/example');
    expect(outcome(decide(table, request(), 'Open', 10_000))).toBe('credential default/example');
    expect(decide(table, request(), 'Open', 20_500)).toMatchObject({
      kind: 'refuse',
      code: 'LimitExceeded',
      detail: 'Integration default/example allows 2 requests in 60 s; the next is allowed in 40 s',
      retryAfterSeconds: 40,
    });
    expect(outcome(decide(table, request(), 'Open', 60_000))).toBe('credential default/example');
  });

  test('a request that is refused otherwise does not count', () => {
    const table = tableOf({ limits, rules: [under('/v1')] });
    for (let at = 0; at < 10; at += 1) {
      expect(decided(table, { path: '/v2' })).toBe('refuse RuleDenied');
      expect(decided(table, { path: '/v1/../x' })).toBe('refuse AmbiguousPath');
      expect(decided(table, { to: 'http://api.openai.com' })).toBe('refuse PlaintextRefused');
    }
    expect([decided(table), decided(table), decided(table)].at(-1)).toBe('refuse LimitExceeded');
  });

  test('a traced decision does not count', () => {
    const table = tableOf({ limits });
    for (let at = 0; at < 10; at += 1) traced(table);
    expect(decided(table)).toBe('credential default/example');
  });

  test('the counts survive a change of the table, and of the Integration itself', () => {
    const before = tableOf({ limits });
    decided(before);
    const more = GrantTable.compile(
      [grant({ limits }), grant({ integration: 'default/more', hosts: ['m.example'] })],
      before,
    );
    decided(more);
    const changed = GrantTable.compile([grant({ limits, rules: [under('/v1')] })], more);
    expect(decided(changed)).toBe('refuse LimitExceeded');
  });

  test('each Integration counts for itself, and no other steps in', () => {
    const table = tableOf(
      { integration: 'default/a', limits: [{ requests: 1, windowSeconds: 60 }] },
      { integration: 'default/b', hosts: ['b.example'], limits: [{ requests: 1, windowSeconds: 60 }] },
      { integration: 'default/c' },
    );
    expect(decided(table)).toBe('credential default/a');
    expect(decided(table)).toBe('refuse LimitExceeded');
    expect(decided(table, { to: 'https://b.example' })).toBe('credential default/b');
  });
});

test('a traced decision is the same as the one on the hot path', () => {
  const rules = [under('/v1')];
  const table = tableOf({ rules }, { integration: 'default/b', hosts: ['*.openai.com', 'p.example:80'] });
  for (const to of [
    'https://api.openai.com',
    'http://api.openai.com',
    'https://x.openai.com',
    'http://p.example',
    'https://n.example',
  ])
    for (const path of ['/v1', '/v2', '/a/../b', '/v1/a%2fb'])
      for (const text of ['', grant().placeholder, placeholderOf({ key: 'x/y', hosts: [] })])
        for (const egress of ['Open', 'Closed'] as const) {
          const asked = request({ to, path, text });
          const steps: boolean[] = [];
          const decision = decide(table, asked, egress, 0, ({ ok }) => steps.push(ok));
          expect(outcome(decision)).toBe(outcome(decide(table, asked, egress, 0)));
          expect(steps.every(Boolean)).toBe(decision.kind !== 'refuse');
        }
});
