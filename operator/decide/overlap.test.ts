import { expect, test } from 'vitest';
import type { Rule } from '../../api/integration.ts';
import { rulesTie, sharedHost, subjectsOverlap } from './overlap.ts';

test('a session has one role and one ServiceAccount, but any number of tags', () => {
  expect(subjectsOverlap({ tags: ['a'] }, { tags: ['b'] })).toBe(true);
  expect(subjectsOverlap({ roles: ['a', 'b'] }, { roles: ['b'] })).toBe(true);
  expect(subjectsOverlap({ roles: ['a'] }, { roles: ['b'] })).toBe(false);
  expect(subjectsOverlap({ roles: ['a'] }, { serviceAccounts: ['b'] })).toBe(true);
  expect(subjectsOverlap({ roles: ['a'], serviceAccounts: ['x'] }, { roles: ['a'], serviceAccounts: ['y'] })).toBe(
    false,
  );
});

test('a wildcard shares a host with what stands one label below it, at the same port', () => {
  expect(sharedHost(['a.example.com'], ['*.example.com'])).toBe('a.example.com');
  expect(sharedHost(['*.example.com'], ['x.org', '*.example.com'])).toBe('*.example.com');
  expect(sharedHost(['a.b.example.com'], ['*.example.com'])).toBeUndefined();
  expect(sharedHost(['a.example.com:8443'], ['*.example.com'])).toBeUndefined();
});

test('only equally specific claims for a common method tie', () => {
  const allow = (value?: string, methods?: Rule['methods']): Rule => ({
    action: 'Allow',
    ...(value !== undefined && { paths: [{ type: 'PathPrefix', value }] }),
    ...(methods !== undefined && { methods }),
  });
  const deny: Rule = { action: 'Deny', paths: [{ type: 'Exact', value: '/admin' }] };
  expect(rulesTie([], [])).toBe(true);
  expect(rulesTie([deny], [])).toBe(true);
  expect(rulesTie([], [allow('/v1')])).toBe(false);
  expect(rulesTie([allow('/v1')], [allow('/v1/chat')])).toBe(false);
  expect(rulesTie([allow('/v1'), allow('/v2')], [allow('/v2')])).toBe(true);
  expect(rulesTie([allow('/v1', ['GET'])], [allow('/v1', ['POST'])])).toBe(false);
  expect(rulesTie([allow(undefined, ['GET'])], [allow(undefined, ['GET', 'POST'])])).toBe(true);
});
