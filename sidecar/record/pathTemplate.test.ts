import { expect, test } from 'vitest';
import { pathTemplate } from './pathTemplate.ts';

test.each([
  ['/v1/models', '/v1/models'],
  ['/', '/'],
  ['', ''],
  ['*', '*'],
  ['/v1/chat/completions', '/v1/chat/completions'],
  ['/2022-06-28/databases', '/{id}/databases'],
  ['/repos/octo/hello-world/issues/1347', '/repos/octo/hello-world/issues/{id}'],
  ['/v1/users/1b4e28ba-2fa1-11d2-883f-0016d3cca427/files', '/v1/users/{id}/files'],
  ['/objects/9fceb02d0ae598e95dc970b74767f19372d61af8', '/objects/{id}'],
  ['/v1/charges/ch_3MmlLrLkdIwHu7ix0snN0B15/capture', '/v1/charges/{id}/capture'],
  ['/v1/threads/thread_abc123DEF456ghi789/runs', '/v1/threads/{id}/runs'],
  ['/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit', '/d/{id}/edit'],
  ['/deadbeef', '/deadbeef'],
  ['/deadbee1', '/{id}'],
  ['/v1/chat/some%20very%20private%20name', '/v1/chat/{id}'],
  ['/permissions-and-restrictions/list', '/permissions-and-restrictions/list'],
  ['/v1/search?q=a%20secret', '/v1/search'],
])('%s is on record as %s', (path, template) => {
  expect(pathTemplate(path)).toBe(template);
});

test('a template is bounded, whatever an agent sends', () => {
  expect(pathTemplate(`/${'p'.repeat(50_000)}`).length).toBeLessThanOrEqual(2_048);
  expect(pathTemplate('/a,b,c'.repeat(20_000)).length).toBeLessThanOrEqual(2_048);
  expect(pathTemplate('/a1'.repeat(100)).split('/').length).toBe(65);
});

test('a template of a template is itself', () => {
  for (const path of ['/v1/users/42', '/objects/9fceb02d0ae598e95dc970b74767f19372d61af8/x'])
    expect(pathTemplate(pathTemplate(path))).toBe(pathTemplate(path));
});
