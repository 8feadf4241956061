import { describe, expect, test } from 'vitest';
import { checkPath } from './path.ts';

test.each([
  '/',
  '/v1/chat/completions',
  '*',
  '/v1/models/gpt-4.1',
  '/.well-known/openid-configuration',
  '/a/...',
  '/a/..b',
  '/a/.b',
  '/caf%C3%A9',
  '/search/a%20b',
  '/users/me%40example.com',
  '/models/x:generate',
  '/a;v=1',
  '/100%25',
])('%s means the same to every reader', (path) => {
  expect(checkPath(path, true)).toBeUndefined();
  expect(checkPath(path, false)).toBeUndefined();
});

describe('refused under any Integration', () => {
  test.each([
    ['a dot segment', '/a/../b'],
    ['a dot segment at the end', '/a/..'],
    ['a dot segment at the start', '/../a'],
    ['a single dot', '/a/./b'],
    ['a single dot at the end', '/a/.'],
    ['an encoded dot segment', '/a/%2e%2e/b'],
    ['a half encoded dot segment', '/a/.%2E/b'],
    ['an encoded single dot', '/a/%2e'],
    ['a dot segment behind an encoded slash', '/a%2f../b'],
    ['a dot segment before an encoded slash', '/a/..%2fb'],
    ['a dot segment between encoded backslashes', '/a%5c..%5cb'],
    ['a dot segment with parameters', '/a/..;/b'],
    ['a dot segment with encoded parameters', '/a/..%3Bx/b'],
    ['a backslash', '/a\\b'],
    ['an encoded NUL', '/a%00'],
    ['an encoded line feed', '/a%0Ab'],
    ['an encoded DEL', '/a%7f'],
  ])('%s', (_, path) => {
    expect(checkPath(path, false)).toMatchObject({ code: 'AmbiguousPath' });
    expect(checkPath(path, true)).toMatchObject({ code: 'AmbiguousPath' });
  });
});

describe('refused under path rules only', () => {
  test.each([
    ['an encoded slash, as GitLab wants it', '/api/v4/projects/group%2Fproject'],
    ['an encoded backslash', '/a%5Cb'],
    ['an empty segment', '/a//b'],
    ['an empty first segment', '//a'],
    ['parameters before a slash', '/a;x/b'],
    ['encoded parameters before a slash', '/a%3bx/b'],
    ['an encoded letter', '/%61dmin'],
    ['an encoded digit', '/v%31'],
    ['an encoded dash', '/a%2Db'],
    ['an encoded underscore', '/a%5fb'],
    ['an encoded tilde', '/%7Eme'],
    ['an encoded dot within a name', '/a%2eb'],
    ['a percent sign that encodes nothing', '/100%'],
    ['a percent sign before no digits', '/%zz'],
  ])('%s', (_, path) => {
    expect(checkPath(path, false)).toBeUndefined();
    expect(checkPath(path, true)).toMatchObject({ code: 'AmbiguousPath' });
  });
});

test('every encoded unreserved character is refused under path rules, and no other printable one', () => {
  for (let code = 0x21; code < 0x7f; code += 1) {
    const character = String.fromCharCode(code);
    const path = `/a%${code.toString(16)}b`;
    const unreserved = /[A-Za-z0-9._~-]/.test(character);
    expect([path, checkPath(path, true) !== undefined]).toEqual([path, unreserved || '/\\'.includes(character)]);
  }
});

test('the detail says what is wrong without a copy of the path', () => {
  expect(checkPath('/secret/../x', false)?.detail).toBe('the path has a dot segment');
});
