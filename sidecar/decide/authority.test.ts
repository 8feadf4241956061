import { expect, test } from 'vitest';
import { authorityText, hostHeader, parseHostPort } from './authority.ts';

test.each([
  ['api.openai.com', 'api.openai.com', 443],
  ['API.OpenAI.com', 'api.openai.com', 443],
  ['api.openai.com:8443', 'api.openai.com', 8443],
  ['api.openai.com:443', 'api.openai.com', 443],
  ['localhost:1', 'localhost', 1],
  ['a_b.example:65535', 'a_b.example', 65535],
  ['192.0.2.1', '192.0.2.1', 443],
  ['1.2.3.4.example', '1.2.3.4.example', 443],
  ['[2001:DB8:0:0::1]:8080', '2001:db8::1', 8080],
  ['[::ffff:192.0.2.1]', '::ffff:c000:201', 443],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example', 443],
  [`${'a'.repeat(63)}.example`, `${'a'.repeat(63)}.example`, 443],
])('%s is host %s, port %i', (text, host, port) => {
  expect(parseHostPort(text, 443)).toEqual({ host, port });
});

test.each([
  ['userinfo', 'user@api.openai.com'],
  ['userinfo with a password', 'user:pass@api.openai.com:443'],
  ['nothing', ''],
  ['a port alone', ':443'],
  ['an empty port', 'api.openai.com:'],
  ['port 0', 'api.openai.com:0'],
  ['a port above 65535', 'api.openai.com:65536'],
  ['a port with a leading zero', 'api.openai.com:0443'],
  ['a port with a sign', 'api.openai.com:+443'],
  ['two ports', 'api.openai.com:443:443'],
  ['a trailing dot', 'api.openai.com.'],
  ['an empty label', 'api..openai.com'],
  ['a leading dot', '.openai.com'],
  ['a label of 64', `${'a'.repeat(64)}.example`],
  ['a name of more than 253', `${'abcdefg.'.repeat(31)}example`],
  ['percent encoding', 'api%2eopenai.com'],
  ['a path', 'api.openai.com/x'],
  ['a backslash', 'api.openai.com\\@evil.example'],
  ['a fragment', 'api.openai.com#@evil.example'],
  ['white space', 'api.openai.com '],
  ['a tab inside', 'api.open\tai.com'],
  ['a NUL', 'api.openai.com\0'],
  ['letters beyond ASCII', 'bücher.example'],
  ['a full-width dot', 'api。openai.com'],
  ['the Kelvin sign, which lower-cases to k', '\u212Aeys.example'],
  ['punycode that decodes to nothing', 'xn--a.example'],
  ['a wildcard', '*.openai.com'],
  ['IPv4 in octal', '0177.0.0.1'],
  ['IPv4 in hexadecimal', '0x7f.0.0.1'],
  ['IPv4 as one number', '2130706433'],
  ['IPv4 of two parts', '127.1'],
  ['IPv4 of five parts', '1.2.3.4.5'],
  ['IPv4 out of range', '256.0.0.1'],
  ['a name whose last label is a number', 'example.42'],
  ['a name whose last label is a hexadecimal number', 'example.0x2a'],
  ['IPv6 without brackets', '2001:db8::1'],
  ['IPv6 with a zone', '[fe80::1%eth0]'],
  ['IPv6 with an encoded zone', '[fe80::1%25eth0]'],
  ['IPv6 that is none', '[1::2::3]'],
  ['an unclosed bracket', '[::1'],
  ['an address of the future', '[v1.x]'],
  ['letters after the bracket', '[::1]x'],
  ['IPv4 in brackets', '[127.0.0.1]'],
])('%s is refused', (_, text) => {
  expect(parseHostPort(text, 443)).toBeUndefined();
});

test('without a default the port must be written', () => {
  expect(parseHostPort('api.openai.com', undefined)).toBeUndefined();
  expect(parseHostPort('[::1]', undefined)).toBeUndefined();
  expect(parseHostPort('api.openai.com:443', undefined)).toEqual({ host: 'api.openai.com', port: 443 });
});

test('Host leaves out the port that the scheme implies, and puts IPv6 into brackets', () => {
  expect(hostHeader({ scheme: 'https', host: 'a.example', port: 443 })).toBe('a.example');
  expect(hostHeader({ scheme: 'https', host: 'a.example', port: 80 })).toBe('a.example:80');
  expect(hostHeader({ scheme: 'http', host: 'a.example', port: 80 })).toBe('a.example');
  expect(hostHeader({ scheme: 'http', host: '::1', port: 80 })).toBe('[::1]');
  expect(hostHeader({ scheme: 'http', host: '::1', port: 443 })).toBe('[::1]:443');
});

test('the text of an authority always has the port', () => {
  expect(authorityText({ host: 'a.example', port: 443 })).toBe('a.example:443');
  expect(authorityText({ host: '2001:db8::1', port: 80 })).toBe('[2001:db8::1]:80');
});
