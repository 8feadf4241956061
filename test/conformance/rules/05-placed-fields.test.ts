import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { BEARER, Lab, refusalOf, SECRET } from './lab.ts';

const NAMES = ['bearer', 'basic', 'header', 'custom', 'query', 'both'].map((name) => `${name}.localhost`);
let lab: Lab;

beforeAll(async () => {
  lab = await Lab.start((made) => {
    const host = (name: string) => made.api.host(`${name}.localhost`);
    const integration = (name: string, inject: object[]) => [
      `default/${name}`,
      { hosts: [host(name)], alias: name, allowedNetworks: LOOPBACK, inject },
    ];
    return {
      credentials: { 'default/key': { hosts: NAMES.map((name) => made.api.host(name)), material: SECRET } },
      integrations: Object.fromEntries([
        integration('bearer', [{ bearer: {} }]),
        integration('basic', [{ basic: { username: 'agent' } }]),
        integration('header', [{ header: { name: 'X-Api-Key' } }]),
        integration('custom', [{ header: { name: 'X-Acme-Pass' } }]),
        integration('query', [{ query: { name: 'key' } }]),
        integration('both', [{ header: { name: 'X-Api-Key' } }, { query: { name: 'key' } }]),
      ]),
    };
  }, NAMES);
});
afterAll(() => lab?.close());
beforeEach(() => lab.api.forget());

/** What a server that takes `_` for `-` (CGI, WSGI, PHP, Rack) makes of the fields of a name. */
const asCgi = (name: string) =>
  lab.api.last.fields.filter(([key]) => key.toLowerCase().replaceAll('_', '-') === name).map(([, value]) => value);

describe('the upstream gets one Authorization, ours, when the agent sends', () => {
  test.each([
    ['its own', 'Authorization: Bearer evil\r\n'],
    ['lower case', 'authorization: Bearer evil\r\n'],
    ['upper case', 'AUTHORIZATION: Bearer evil\r\n'],
    ['mixed case', 'aUtHoRiZaTiOn: Basic ZXZpbA==\r\n'],
    ['several', 'Authorization: Bearer evil\r\nX: 1\r\nauthorization: Bearer evil2\r\n'],
    ['an empty one', 'Authorization:\r\n'],
    ['one with a comma', 'Authorization: Bearer a, Bearer b\r\n'],
    ['none', ''],
  ])('%s', async (_, fields) => {
    expect((await lab.get('/', fields, 'bearer')).status).toBe(200);
    expect(asCgi('authorization')).toEqual([BEARER]);
    expect(lab.api.bytes).not.toMatch(/evil|ZXZpbA/);
  });

  test('Basic where Bearer is placed, and the other way round', async () => {
    await lab.get('/', 'Authorization: Bearer evil\r\n', 'basic');
    expect(asCgi('authorization')).toEqual([`Basic ${Buffer.from(`agent:${SECRET}`).toString('base64')}`]);
  });

  test('one for the proxy, which is not for the upstream', async () => {
    await lab.get('/', 'Proxy-Authorization: Basic ZXZpbA==\r\nProxy-Connection: keep-alive\r\n', 'bearer');
    expect(lab.api.bytes).not.toMatch(/proxy-/i);
  });
});

describe('the upstream gets one X-Api-Key, ours, when the agent sends', () => {
  test.each([
    ['its own', 'X-Api-Key: evil\r\n'],
    ['other case', 'x-API-key: evil\r\n'],
    ['underscores', 'X_Api_Key: evil\r\n'],
    ['a mixture', 'x-api_key: evil\r\nX_API-KEY: evil\r\n'],
    ['many', 'X-Api-Key: evil\r\n'.repeat(20)],
  ])('%s', async (_, fields) => {
    for (const alias of ['header', 'both']) {
      expect((await lab.get('/', fields, alias)).status).toBe(200);
      expect(asCgi('x-api-key')).toEqual([SECRET]);
      expect(lab.api.bytes).not.toContain('evil');
    }
  });
});

test('Connection cannot have a placed or security field removed', async () => {
  for (const [alias, name] of [
    ['bearer', 'Authorization'],
    ['bearer', 'authorization'],
    ['bearer', 'Cookie'],
  ] as const)
    expect(refusalOf(await lab.get('/', `Connection: close, ${name}\r\n`, alias))).toBe('400 MalformedRequest');
  const answer = await lab.get('/', 'Connection: X-Api-Key\r\nX-Api-Key: evil\r\n', 'header');
  if (answer.status === 200) expect(asCgi('x-api-key')).toEqual([SECRET]);
  else expect(refusalOf(answer)).toBe('400 MalformedRequest');
});

describe('the upstream gets one parameter, ours, when the agent sends', () => {
  const placed = encodeURIComponent(SECRET);
  test.each([
    '?key=evil',
    '?KEY=evil',
    '?%6bey=evil',
    '?%6B%65%79=evil',
    '?key=evil&key=evil2',
    '?a=1&key=evil&b=2',
    '?a=1;key=evil',
    '?key[]=evil',
    '?key%5B%5D=evil',
    '?key[0]=evil',
    '?key',
    '?key=',
    '?key%00=evil',
    '?+key=evil',
    '?&&key=evil',
  ])('%s', async (query) => {
    for (const alias of ['query', 'both']) {
      expect((await lab.get(`/p${query}`, '', alias)).status).toBe(200);
      const { target } = lab.api.last;
      expect(target).not.toContain('evil');
      expect(target.split('?')).toHaveLength(2);
      const ours = [...new URLSearchParams(target.split('?')[1]!.replaceAll(';', '&'))];
      expect(ours.filter(([name]) => name.toLowerCase().replace(/[^a-z].*/, '') === 'key')).toEqual([['key', SECRET]]);
      expect(target.endsWith(`key=${placed}`) || decodeURIComponent(target).endsWith(`key=${SECRET}`)).toBe(true);
    }
  });

  test('others, which stay as they are', async () => {
    await lab.get('/p?keys=1&a=%6bey&monkey=2', '', 'query');
    expect(lab.api.last.target).toMatch(/^\/p\?keys=1&a=%6bey&monkey=2&key=/);
  });
});

test('a trailer cannot bring another credential behind the placed one', async () => {
  const send = (alias: string, trailer: string) =>
    lab.ask(
      `POST /${alias}/ HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\nTransfer-Encoding: chunked\r\n\r\n` +
        `2\r\nhi\r\n0\r\n${trailer}: evil\r\n\r\n`,
    );
  for (const trailer of ['Authorization', 'AUTHORIZATION', 'Cookie', 'Proxy-Authorization'])
    expect([trailer, refusalOf(await send('bearer', trailer))]).toEqual([trailer, '400 MalformedRequest']);
  for (const trailer of ['X-Acme-Pass', 'x-acme-pass', 'X_Acme_Pass']) await send('custom', trailer);
  expect(lab.api.bytes).not.toContain('evil');
});

test("the agent's Cookie and other fields are its own, and stay", async () => {
  await lab.get('/', 'Cookie: a=b\r\nX-Mine: 1\r\n', 'bearer');
  expect([lab.api.sent('cookie'), lab.api.sent('x-mine')]).toEqual([['a=b'], ['1']]);
});

test('material cannot be had where the agent wants it: no field or text of the request is a template', async () => {
  const wish = '{value} {{value}} %{value} $credential';
  await lab.get('/{value}', `X-Wish: ${wish}\r\nReferer: {value}\r\n`, 'bearer');
  expect(lab.api.sent('x-wish')).toEqual([wish]);
  expect(lab.api.last.target).toBe('/{value}');
  expect(lab.api.bytes.split(SECRET)).toHaveLength(2);
});
