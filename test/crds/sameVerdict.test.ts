import { afterAll, beforeAll, expect, test } from 'vitest';
import { Credential } from '../../api/credential.ts';
import { Integration } from '../../api/integration.ts';
import { type KubeClient, KubeError } from '../../lib/kube/client.ts';
import type { ControlPlane } from '../cluster/controlPlane.ts';
import { pathOf, START_LIMIT_MS, startWithCrds } from './withCrds.ts';

let plane: ControlPlane;
let client: KubeClient;
beforeAll(async () => {
  plane = await startWithCrds();
  client = plane.client();
}, START_LIMIT_MS);
afterAll(() => plane?.stop());

const word = (length: number) => 'a'.repeat(length);

/** Values at the borders of each rule; which way they go is the schemas' business, that both go the same way is this test's. */
const VALUES: [field: string, objectOf: (value: string) => object, values: string[]][] = [
  [
    'hosts',
    (value) => credential({ hosts: [value] }),
    [
      ...[
        'a.b',
        'a.b:1',
        'a.b:443',
        'a.b:65535',
        'a.b:65536',
        'a.b:99999',
        'a.b:0',
        'a.b:00443',
        'a.b:',
        'a.b:x',
        'a.b:443:443',
      ],
      ...[
        '*.a.b',
        '*.b',
        '*',
        '*.*.b',
        'a.*.b',
        '*a.b',
        '.a.b',
        'a.b.',
        'a..b',
        '-a.b',
        'a-.b',
        'a.-b',
        'a.1',
        'a.1b',
        'a.b1',
        '1.a',
      ],
      ...[
        '1.2.3.4',
        '[::1]',
        'a.b/c',
        'a.b?c',
        'http://a.b',
        'a@a.b',
        'A.b',
        'ä.b',
        'xn--4ca.b',
        'a_b.c',
        'a.b\n',
        '\na.b',
        ' a.b',
        '',
        'a',
      ],
      ...[`${word(63)}.b`, `${word(64)}.b`, `${word(258)}.b`, `${word(259)}.b`],
    ],
  ],
  [
    'leaseDuration',
    (value) => credential({ leaseDuration: value }),
    [
      ...[
        '1m',
        '60s',
        '59s',
        '24h',
        '86400s',
        '86401s',
        '1h30m',
        '90m',
        '0m',
        '0h1m',
        '1m0s',
        '01m',
        '1.5m',
        '-1m',
        '+1m',
        '1 m',
        '1M',
        '1d',
        '1m1h',
        '1m1m',
      ],
      ...[
        '',
        '0',
        '60',
        'm',
        '1ms',
        '1h30',
        '999999h',
        '1000000h',
        '9'.repeat(8).concat('m'),
        '9'.repeat(9).concat('s'),
        '9'.repeat(20).concat('s'),
      ],
      ...['1m\n', '\u0661m', 'NaN', '1m '],
    ],
  ],
  [
    'tokenURL',
    (value) =>
      credential({ source: { oauth2: { tokenURL: value, clientID: 'a', clientSecretRef: { name: 'a', key: 'k' } } } }),
    [
      ...[
        'https://a.b',
        'https://a.b/',
        'https://a.b/c?d=e',
        'https://a.b:8443/c',
        'https://1.2.3.4/',
        'https://[::1]/',
        'https://a',
        'HTTPS://a.b/',
      ],
      ...[
        'http://a.b',
        'https:a.b',
        'https:/a.b',
        'https://',
        'https:///c',
        '//a.b',
        'a.b',
        '',
        '/c',
        'https://a b/',
        'https://a.b/c d',
        'ftp://a.b',
      ],
      ...[
        'https://a.b:99999/',
        'https://a.b:x/',
        'https://a.b/%zz',
        'https://user:password@a.b/',
        'https://a.b/#c',
        'https://a.b\\c',
        'https://ä.b/',
        ' https://a.b',
        'https://a.b\n',
      ],
      ...[`https://a.b/${word(2036)}`, `https://a.b/${word(2037)}`],
    ],
  ],
  [
    'paths',
    (value) => integration({ rules: [{ paths: [{ value }] }] }),
    [
      ...[
        '/',
        '/a',
        '/a/',
        '/a/b',
        '/a.b',
        '/.a',
        '/a.',
        '/...',
        '/a/...',
        '/.',
        '/..',
        '/./a',
        '/../a',
        '/a/.',
        '/a/..',
        '/a/./b',
        '/a/../b',
        '//',
        '//a',
        '/a//b',
      ],
      ...[
        '/%',
        '/%2f',
        '/a%2e',
        '/?',
        '/a?b',
        '/#',
        '/a;b',
        '/a\\b',
        '/a b',
        '/ä',
        '/a\tb',
        '/a\n',
        '/a\u0000',
        '/~a',
        "/'a'",
        '/"a"',
        '/a:b@c!$&*+,=',
        '',
        'a',
        `/${word(1023)}`,
        `/${word(1024)}`,
      ],
    ],
  ],
  [
    'allowedNetworks',
    (value) => integration({ allowedNetworks: [value] }),
    [
      ...[
        '10.0.0.0/8',
        '10.1.2.3/8',
        '0.0.0.0/0',
        '1.2.3.4/32',
        '1.2.3.4/33',
        '256.0.0.0/8',
        '1.2.3/8',
        '01.2.3.4/8',
        '1.2.3.4',
        '1.2.3.4/',
        '1.2.3.4/08',
        '1.2.3.4/-1',
      ],
      ...[
        '::/0',
        '::1/128',
        'fd00::/8',
        'fd00::/129',
        'fd00:/8',
        'fd00::1::/8',
        'FD00::/8',
        '::ffff:1.2.3.4/96',
        'fe80::1%eth0/64',
        '1:2:3:4:5:6:7:8/64',
        '1:2:3:4:5:6:7:8:9/64',
        'g::/8',
        '',
        '/8',
        '10.0.0.0/8\n',
        ' 10.0.0.0/8',
      ],
    ],
  ],
  [
    'header.name',
    (value) => integration({ inject: [{ header: { name: value } }] }),
    [
      'X-Api-Key',
      'x',
      '-',
      'X_Key',
      'X Key',
      'X:',
      '',
      'host',
      'Host',
      'HOST',
      'te',
      'TE',
      'Expect',
      'Cookie',
      'Authorization',
      'ho\u017Ft',
      word(64),
      word(65),
    ],
  ],
  [
    'header.format',
    (value) => integration({ inject: [{ header: { name: 'X', format: value } }] }),
    ['Key {value}', '', ' ', '~', '\u007f', '\t', '\r\n', 'ä', '{', word(256), word(257)],
  ],
  [
    'alias',
    (value) => integration({ alias: value }),
    ['a', 'a-b', '-a', 'a-', 'a.b', 'A', '1', '', 'a_b', 'ä', word(63), word(64)],
  ],
  [
    'tags',
    (value) => integration({ subjects: { tags: [value] } }),
    ['a', 'A', 'a.b', 'a_b', 'a-b', '.a', 'a.', '', 'a b', 'a/b', 'ä', word(63), word(64)],
  ],
  [
    'username',
    (value) => integration({ inject: [{ basic: { username: value } }] }),
    ['', 'a', 'a:b', ':', 'ä', 'a\uD800', word(256), word(257), '😀'.repeat(128), '😀'.repeat(200)],
  ],
  [
    'secret.fields',
    (value) => credential({ source: { secret: { name: 'a', fields: { [value]: 'k' } } } }),
    ['a', 'a.b', 'a b', '', 'ä', word(63), word(64)],
  ],
  [
    'matchLabels',
    (value) =>
      credential({
        allowedConsumers: { namespaces: { from: 'Selector', selector: { matchLabels: { [value]: 'v' } } } },
      }),
    [
      'a',
      'a/b',
      'a.b/c',
      '/b',
      'a/',
      'a/b/c',
      'A/b',
      'a b',
      '',
      word(64),
      `${word(253)}/${word(63)}`,
      `${word(254)}/${word(63)}`,
    ],
  ],
];

test.for(VALUES)('API server and files judge %s alike', async ([, objectOf, values]) => {
  const verdicts = await Promise.all(
    values.map(async (value) => {
      const object = objectOf(value) as { kind: 'Credential' | 'Integration' };
      const files = (object.kind === 'Credential' ? Credential : Integration).safeParse(object).success;
      return { value, files, server: await serverAccepts(object) };
    }),
  );
  expect(verdicts.filter(({ files, server }) => files !== server)).toEqual([]);
  expect(new Set(verdicts.map(({ files }) => files)).size).toBe(2);
});

async function serverAccepts(object: { kind: string }): Promise<boolean> {
  try {
    await client.create(pathOf(object.kind, 'default'), object, { dryRun: 'All', fieldValidation: 'Strict' });
    return true;
  } catch (error) {
    if (error instanceof KubeError && error.reason === 'Invalid') return false;
    throw error;
  }
}

function credential(spec: object) {
  return {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name: 'a' },
    spec: { source: { store: {} }, hosts: ['a.b'], ...spec },
  };
}

function integration(spec: object) {
  return {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Integration',
    metadata: { name: 'a' },
    spec: {
      credentialRef: { name: 'a' },
      hosts: ['a.b'],
      inject: [{ bearer: {} }],
      subjects: { tags: ['a'] },
      ...spec,
    },
  };
}
