import { describe, expect, test } from 'vitest';
import type { Grant } from '../../api/grant.ts';
import { compileRules } from './rules.ts';

type Rule = Grant['rules'][number];

function allow(methods: Rule['methods'], ...paths: string[]): Rule {
  return rule('Allow', methods, paths);
}

function deny(methods: Rule['methods'], ...paths: string[]): Rule {
  return rule('Deny', methods, paths);
}

/** `=/v1` is exactly that path. */
function rule(action: Rule['action'], methods: Rule['methods'], paths: string[]): Rule {
  const matches = paths.map((text) =>
    text.startsWith('=')
      ? { type: 'Exact' as const, value: text.slice(1) }
      : { type: 'PathPrefix' as const, value: text },
  );
  return { action, methods, paths: matches.length === 0 ? undefined : matches };
}

function allows(rules: Rule[], ...requests: string[]): boolean[] {
  const compiled = compileRules(rules);
  return requests.map((request) => compiled.allows(...(request.split(' ') as [string, string])));
}

test('without rules everything is allowed', () => {
  expect(allows([], 'DELETE /', 'PROPFIND /x', 'OPTIONS *')).toEqual([true, true, true]);
});

test('with at least one Allow all else is denied', () => {
  expect(allows([allow(['GET'], '/v1')], 'GET /v1', 'GET /v2', 'POST /v1')).toEqual([true, false, false]);
});

test('with Deny rules only, all else is allowed', () => {
  expect(allows([deny(['DELETE'])], 'GET /v1', 'DELETE /v1')).toEqual([true, false]);
});

test('a Deny that matches wins over any Allow, wherever it stands', () => {
  const wide = allow(undefined, '/v1');
  const narrow = deny(undefined, '/v1/admin');
  for (const rules of [
    [wide, narrow],
    [narrow, wide],
    [narrow, allow(undefined, '=/v1/admin/x')],
  ])
    expect(allows(rules, 'GET /v1/admin', 'GET /v1/admin/x')).toEqual([false, false]);
});

test('a prefix ends at the border of a segment', () => {
  const requests = ['GET /v1', 'GET /v1/', 'GET /v1/x', 'GET /v10', 'GET /v1.1', 'GET /V1', 'GET /'];
  expect(allows([allow(undefined, '/v1')], ...requests)).toEqual([true, true, true, false, false, false, false]);
});

test('a prefix that ends with a slash matches what starts with it', () => {
  expect(allows([allow(undefined, '/v1/')], 'GET /v1', 'GET /v1/', 'GET /v1/x')).toEqual([false, true, true]);
  expect(allows([allow(undefined, '/')], 'GET /', 'GET /x', 'OPTIONS *')).toEqual([true, true, false]);
});

test('an exact path matches itself only', () => {
  expect(allows([allow(undefined, '=/v1')], 'GET /v1', 'GET /v1/', 'GET /v1/x')).toEqual([true, false, false]);
});

test('HEAD goes with GET only if it is listed', () => {
  expect(allows([allow(['GET'])], 'HEAD /')).toEqual([false]);
  expect(allows([allow(['GET', 'HEAD'])], 'HEAD /')).toEqual([true]);
});

test('methods are case-sensitive, and one that no list can hold is matched by rules without a list', () => {
  expect(allows([allow(['GET'])], 'get /')).toEqual([false]);
  expect(allows([allow(undefined, '/dav')], 'PROPFIND /dav/x')).toEqual([true]);
  expect(allows([deny(undefined, '/dav')], 'PROPFIND /dav/x')).toEqual([false]);
});

describe('no spelling gets around a rule', () => {
  test('a Deny also matches what its path becomes when reserved characters are decoded', () => {
    expect(allows([deny(undefined, '/users/@me')], 'GET /users/%40me', 'GET /users/%40me/x')).toEqual([false, false]);
  });

  test('a Deny also matches what its path becomes without parameters', () => {
    expect(allows([deny(undefined, '=/admin')], 'GET /admin;x=1', 'GET /admin%3bx')).toEqual([false, false]);
  });

  test('an Allow must match every reading of a path', () => {
    expect(allows([allow(undefined, '=/users/@me')], 'GET /users/@me', 'GET /users/%40me')).toEqual([true, false]);
    expect(allows([allow(undefined, '/users')], 'GET /users/%40me;x')).toEqual([true]);
  });
});

test('specificity is the length of the longest path that allows the request with its method', () => {
  const rules = compileRules([
    allow(['GET'], '/v1', '/v1/models'),
    allow(['POST'], '/v1/models/x'),
    allow(undefined, '=/v1/models/x/y'),
    deny(undefined, '/v1/models/x/y/z'),
    allow(['GET']),
  ]);
  expect(rules.specificity('GET', '/v1/models/x')).toBe('/v1/models'.length);
  expect(rules.specificity('POST', '/v1/models/x')).toBe('/v1/models/x'.length);
  expect(rules.specificity('GET', '/v1/models/x/y')).toBe('/v1/models/x/y'.length);
  expect(rules.specificity('GET', '/v2')).toBe(0);
});

test('hasPaths tells whether any rule is about paths', () => {
  expect(compileRules([]).hasPaths).toBe(false);
  expect(compileRules([allow(['GET']), deny(['DELETE'])]).hasPaths).toBe(false);
  expect(compileRules([allow(['GET']), deny(undefined, '/admin')]).hasPaths).toBe(true);
});

describe('the reason names the rule, and what would be allowed', () => {
  const rules = compileRules([
    allow(['POST'], '/v1/chat/completions'),
    allow(['GET', 'HEAD'], '=/v1/models', '/v1/files'),
    deny(['DELETE']),
  ]);

  test.each([
    ['POST', '/v1/chat/completions', 'rule 1 allows POST under /v1/chat/completions'],
    ['HEAD', '/v1/models', 'rule 2 allows GET, HEAD at exactly /v1/models or under /v1/files'],
    [
      'GET',
      '/v1/images',
      'GET /v1/images matches no Allow rule; rule 1 allows POST under /v1/chat/completions, rule 2 allows GET, HEAD at exactly /v1/models or under /v1/files',
    ],
    [
      'DELETE',
      '/v1/files',
      'rule 3 denies DELETE, so DELETE /v1/files is denied; rule 1 allows POST under /v1/chat/completions, rule 2 allows GET, HEAD at exactly /v1/models or under /v1/files',
    ],
  ])('%s %s: %s', (method, path, reason) => {
    expect(rules.why(method, path)).toBe(reason);
  });

  test('with Deny rules only', () => {
    const denies = compileRules([deny(undefined, '/admin')]);
    expect(denies.why('GET', '/x')).toBe('no Deny rule matches GET /x, and all else is allowed');
    expect(denies.why('GET', '/admin/x')).toBe(
      'rule 1 denies every method under /admin, so GET /admin/x is denied; all that no rule denies is allowed',
    );
    expect(compileRules([]).why('GET', '/')).toBe('without rules everything is allowed');
  });

  test('stays short whatever the rules and the path', () => {
    const many = compileRules(Array.from({ length: 32 }, (_, at) => allow(['GET'], `/v${at}`)));
    const reason = many.why('GET', `/${'x'.repeat(60_000)}`);
    expect(reason.length).toBeLessThan(600);
    expect(reason).toContain('and 26 more rules allow others');
  });
});
