import { expect, test } from 'vitest';
import { placeholderOf } from '../../api/placeholder.ts';
import { explain } from './explain.ts';
import { grant, outcome } from './testkit.ts';

const openai = grant({
  integration: 'default/openai',
  credential: 'default/openai-key',
  alias: 'openai',
  rules: [{ action: 'Allow', methods: ['POST'], paths: [{ type: 'PathPrefix', value: '/v1/chat/completions' }] }],
  limits: [{ requests: 60, windowSeconds: 60 }],
});

/** `+` or `-`, the check and its detail, and the outcome last. */
function lines(method: string, url: string, egress: 'Open' | 'Closed' = 'Open', grants = [openai]): string[] {
  const { steps, decision } = explain(grants, egress, method, url);
  return [...steps.map(({ check, ok, detail }) => `${ok ? '+' : '-'} ${check}: ${detail}`), outcome(decision)];
}

test('a request that gets a credential', () => {
  expect(lines('POST', 'https://api.openai.com/v1/chat/completions?x=1')).toEqual([
    '+ authority: the request is for https://api.openai.com:443, path /v1/chat/completions',
    '+ host: Integration default/openai covers api.openai.com:443',
    '+ path: the path means the same to every reader',
    '+ rules: Integration default/openai: rule 1 allows POST under /v1/chat/completions',
    '+ limit: 0 of 60 requests in 60 s used',
    '+ placement: credential default/openai-key is placed as Authorization: Bearer',
    'credential default/openai',
  ]);
});

test('a request that the rules deny', () => {
  expect(lines('get', 'https://api.openai.com/v1/files')).toEqual([
    '+ authority: the request is for https://api.openai.com:443, path /v1/files',
    '+ host: Integration default/openai covers api.openai.com:443',
    '+ path: the path means the same to every reader',
    '- rules: Integration default/openai: GET /v1/files matches no Allow rule; rule 1 allows POST under /v1/chat/completions',
    'refuse RuleDenied',
  ]);
});

test.each([
  'http://openai.sidekey.internal:15080/v1/chat/completions',
  'http://127.0.0.1:15080/openai/v1/chat/completions',
  'http://localhost:34567/openai/v1/chat/completions',
  'http://[::1]:34567/openai/v1/chat/completions',
])('the base URL %s', (url) => {
  expect(lines('POST', url).slice(0, 2)).toEqual([
    '+ authority: alias openai of Integration default/openai leads to https://api.openai.com:443, path /v1/chat/completions',
    '+ host: Integration default/openai covers api.openai.com:443',
  ]);
  expect(lines('POST', url).at(-1)).toBe('credential default/openai');
});

test('a base URL of an unknown alias', () => {
  expect(lines('GET', 'http://nothing.sidekey.internal/x')).toEqual([
    '- authority: no Integration of this session has the alias nothing',
    'refuse UnknownAlias',
  ]);
});

test('plain http to a host that is covered', () => {
  expect(lines('POST', 'http://api.openai.com/v1/chat/completions').slice(-2)).toEqual([
    '- plaintext: Integration default/openai covers http://api.openai.com:80, but lets no credential travel over plain http; use https, or set allowPlaintext',
    'refuse PlaintextRefused',
  ]);
});

test('https to a host that no Integration covers passes unseen, whatever its path', () => {
  expect(lines('GET', 'https://example.com/a/../b').slice(1)).toEqual([
    '+ host: no Integration covers example.com:443, so the tunnel to it is opened without a look inside',
    'pass',
  ]);
  expect(lines('GET', 'https://example.com/', 'Closed').slice(1)).toEqual([
    '- host: no Integration of this session covers https://example.com:443 (egress is closed)',
    'refuse NoIntegration',
  ]);
});

test('plain http to a host that no Integration covers', () => {
  expect(lines('GET', 'http://example.com/').slice(1)).toEqual([
    '+ host: no Integration of this session covers http://example.com:80 (it passes without a credential)',
    '+ path: the path means the same to every reader',
    'pass',
  ]);
});

test('a placeholder in the URL is seen', () => {
  const stranger = placeholderOf({ key: 'default/other', hosts: [] });
  expect(lines('POST', `https://api.openai.com/v1/chat/completions?key=${stranger}`).at(-1)).toBe(
    'refuse PlaceholderNotGranted',
  );
  expect(lines('POST', `https://api.openai.com/v1/chat/completions?key=${openai.placeholder}`)).toContain(
    '+ placeholder: the request carries the placeholder of credential default/openai-key',
  );
});

test('which of two Integrations is chosen, and why', () => {
  const second = grant({ integration: 'default/second', createdAt: '2026-02-01T00:00:00Z', hosts: ['*.openai.com'] });
  expect(lines('POST', 'https://api.openai.com/v1/chat/completions', 'Open', [second, openai])).toContain(
    '+ choice: of default/openai, default/second, default/openai allows the request by the most specific path',
  );
  expect(lines('GET', 'https://api.openai.com/v1/files', 'Open', [second, openai])).toContain(
    '+ choice: of default/openai, default/second, default/second alone allows the request',
  );
});

test.each([
  ['TRACE', 'https://api.openai.com/', 'refuse MethodRefused'],
  ['GET', 'https://user:pass@api.openai.com/', 'refuse MalformedRequest'],
  ['GET', 'api.openai.com/v1', 'refuse MalformedRequest'],
  ['GET', 'ftp://api.openai.com/', 'refuse MalformedRequest'],
  ['GET', '', 'refuse MalformedRequest'],
  ['POST', 'https://api.openai.com/v1/chat/completions#fragment', 'credential default/openai'],
])('%s %s → %s', (method, url, expected) => {
  expect(lines(method, url).at(-1)).toBe(expected);
});

test('every placement has a name', () => {
  const inject = [
    { basic: {} },
    { header: { name: 'x-api-key' } },
    { query: { name: 'key' } },
    { placeholder: { in: ['Header' as const] } },
  ];
  expect(lines('GET', 'https://api.openai.com/', 'Open', [grant({ inject })]).at(-2)).toBe(
    '+ placement: credential default/key is placed as Authorization: Basic and header x-api-key and query parameter key and what the placeholder in Header stands for',
  );
});
