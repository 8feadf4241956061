import { describe, expect, test } from 'vitest';
import { grant, tableOf } from '../decide/testkit.ts';
import { compileEntry } from './entry.ts';
import { GrantTable } from './table.ts';

function found(table: GrantTable, host: string, port = 443, scheme: 'http' | 'https' = 'https'): string[] {
  return table.find(host, port, scheme).map((entry) => entry.integration.slice('default/'.length));
}

describe('hosts', () => {
  const table = tableOf(
    { integration: 'default/exact', hosts: ['api.example.com'] },
    { integration: 'default/wild', hosts: ['*.example.com'] },
    { integration: 'default/port', hosts: ['api.example.com:8443', '*.example.org:8443'] },
  );

  test('an exact pattern covers its host only', () => {
    expect(found(table, 'api.example.com')).toEqual(['exact', 'wild']);
    expect(found(table, 'example.com')).toEqual([]);
  });

  test('a wildcard stands for exactly one label', () => {
    expect(found(table, 'other.example.com')).toEqual(['wild']);
    expect(found(table, 'a.b.example.com')).toEqual([]);
    expect(found(table, 'example.com')).toEqual([]);
    expect(found(table, 'notexample.com')).toEqual([]);
    expect(found(table, '.example.com')).toEqual([]);
  });

  test('a pattern without a port covers the port of the scheme', () => {
    expect(found(table, 'other.example.com', 443, 'https')).toEqual(['wild']);
    expect(found(table, 'other.example.com', 80, 'http')).toEqual(['wild']);
    expect(found(table, 'other.example.com', 80, 'https')).toEqual([]);
    expect(found(table, 'other.example.com', 443, 'http')).toEqual([]);
    expect(found(table, 'other.example.com', 8443, 'https')).toEqual([]);
  });

  test('a pattern with a port covers that port under either scheme', () => {
    expect(found(table, 'api.example.com', 8443, 'https')).toEqual(['port']);
    expect(found(table, 'api.example.com', 8443, 'http')).toEqual(['port']);
    expect(found(table, 'x.example.org', 8443)).toEqual(['port']);
    expect(found(table, 'x.example.org', 443)).toEqual([]);
  });

  test('a tunnel is intercepted where any scheme is covered, and nowhere else', () => {
    expect(table.covers('api.example.com', 443)).toBe(true);
    expect(table.covers('api.example.com', 80)).toBe(true);
    expect(table.covers('api.example.com', 8443)).toBe(true);
    expect(table.covers('api.example.com', 22)).toBe(false);
    expect(table.covers('x.example.org', 443)).toBe(false);
    expect(table.covers('example.net', 443)).toBe(false);
    expect(GrantTable.empty.covers('api.example.com', 443)).toBe(false);
  });

  test('names that every object has cover nothing', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'localhost', ''])
      expect(found(table, name)).toEqual([]);
    expect(table.alias('__proto__')).toBeUndefined();
  });
});

test('an Integration that covers a host by two patterns is found once', () => {
  const table = tableOf({ hosts: ['api.example.com', '*.example.com', 'api.example.com:443'] });
  expect(found(table, 'api.example.com')).toEqual(['example']);
});

test('what covers a host is sorted by age and name, wildcards among the exact ones', () => {
  const table = tableOf(
    { integration: 'default/d', createdAt: '2026-03-01T00:00:00Z' },
    { integration: 'default/c', createdAt: '2026-02-01T00:00:00Z', hosts: ['*.openai.com'] },
    { integration: 'default/b' },
    { integration: 'default/a' },
  );
  expect(found(table, 'api.openai.com')).toEqual(['a', 'b', 'c', 'd']);
  expect(table.entries.map((entry) => entry.integration)).toEqual(['default/a', 'default/b', 'default/c', 'default/d']);
});

describe('aliases', () => {
  test('of two Integrations with one alias the older has it', () => {
    const table = tableOf(
      { integration: 'default/a', alias: 'x', createdAt: '2026-02-01T00:00:00Z' },
      { integration: 'default/b', alias: 'x' },
    );
    expect(table.alias('x')?.integration).toBe('default/b');
    expect(table.alias('y')).toBeUndefined();
  });

  test.each([
    [['api.example.com'], false, { scheme: 'https', host: 'api.example.com', port: 443 }],
    [['*.example.com', 'b.example:8443', 'c.example'], false, { scheme: 'https', host: 'b.example', port: 8443 }],
    [['a.example:80'], true, { scheme: 'http', host: 'a.example', port: 80 }],
    [['a.example:80'], false, { scheme: 'https', host: 'a.example', port: 80 }],
    [['a.example'], true, { scheme: 'https', host: 'a.example', port: 443 }],
    [['*.example.com'], false, undefined],
  ])('of hosts %j (allowPlaintext %s) it leads to %j', (hosts, allowPlaintext, primary) => {
    expect(compileEntry(grant({ hosts, allowPlaintext })).primary).toEqual(primary);
  });
});

describe('a table that is compiled anew', () => {
  test('keeps the entries whose grants are the same, so that what was computed for them lasts', () => {
    const before = tableOf({ integration: 'default/a' }, { integration: 'default/b' });
    const after = GrantTable.compile(
      [grant({ integration: 'default/a' }), grant({ integration: 'default/b', alias: 'b' })],
      before,
    );
    expect(after.entries[0]).toBe(before.entries[0]);
    expect(after.entries[1]).not.toBe(before.entries[1]);
  });

  test('leaves the table before it as it was', () => {
    const before = tableOf({});
    GrantTable.compile([], before);
    expect(found(before, 'api.openai.com')).toEqual(['example']);
  });

  test('forgets the counts of an Integration that was revoked in between', () => {
    const limits = [{ requests: 1, windowSeconds: 60 }];
    const before = tableOf({ limits });
    before.entries[0]!.limits.take(0);
    const after = GrantTable.compile([grant({ limits })], GrantTable.compile([], before));
    expect(after.entries[0]!.limits.take(0)).toBeUndefined();
  });
});
