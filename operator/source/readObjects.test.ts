import { expect, test } from 'vitest';
import { credentialYaml, integrationYaml, secretYaml } from '../testing/yaml.ts';
import { readObjects } from './readObjects.ts';

const said = (yaml: string) =>
  readObjects('a.yaml', yaml).problems.map(({ line, object, path, message }) => [line, object, path, message]);
const key = 'Credential default/key';
const example = 'Integration default/example';

test.each<[string, string, unknown[]]>([
  [
    'an unknown field that is close to one',
    credentialYaml({ rest: '  host: [a]' }),
    [9, key, 'spec.host', 'unknown field "host"; did you mean hosts?'],
  ],
  [
    'an unknown field that is close to none',
    credentialYaml({ rest: '  colour: red' }),
    [9, key, 'spec.colour', expect.stringMatching(/^unknown field "colour"; known are source, hosts, /)],
  ],
  [
    'an unknown placement',
    integrationYaml({ inject: '[{beerer: {}}]' }),
    [9, example, 'spec.inject[0].beerer', 'unknown field "beerer"; did you mean bearer?'],
  ],
  [
    'a host that is none',
    credentialYaml({ hosts: 'ok.example.com, https://x.example.com' }),
    [8, key, 'spec.hosts[1]', expect.stringMatching(/^expected host\[:port\]/)],
  ],
  [
    'a bare top-level wildcard',
    credentialYaml({ hosts: '"*.com"' }),
    [8, key, 'spec.hosts[0]', expect.stringMatching(/^expected host/)],
  ],
  [
    'no source',
    credentialYaml({ source: '{}' }),
    [7, key, 'spec.source', expect.stringMatching(/^expected exactly one source of secret, store/)],
  ],
  [
    'two sources',
    credentialYaml({ source: '{store: {}, generated: {}}' }),
    [7, key, 'spec.source', expect.stringMatching(/^expected exactly one source/)],
  ],
  [
    'a number for a string',
    credentialYaml({ source: '{secret: {name: keys, key: 5}}' }),
    [7, key, 'spec.source.secret.key', 'expected a string, not a number; put it in quotes'],
  ],
  [
    'a word of a list of words',
    credentialYaml({ rest: '  delivery: Sidecars' }),
    [9, key, 'spec.delivery', 'expected one of Sidecar, Gateway'],
  ],
  [
    'a duration without a unit',
    credentialYaml({ rest: '  leaseDuration: "15"' }),
    [9, key, 'spec.leaseDuration', expect.stringMatching(/^expected a duration such as 15m/)],
  ],
  [
    'a window of no length',
    integrationYaml({ rest: '  limits: [{requests: 1, window: 0s}]' }),
    [11, example, 'spec.limits[0].window', 'expected a duration from 1s to 8760h'],
  ],
  [
    'no subjects at all',
    integrationYaml({ subjects: '{}' }),
    [10, example, 'spec.subjects', 'expected tags, roles or serviceAccounts'],
  ],
  [
    'a missing field',
    integrationYaml().replace('{name: key}', '{}'),
    [7, example, 'spec.credentialRef.name', 'is missing; expected a string'],
  ],
  [
    'another API version',
    credentialYaml().replace('v1alpha1', 'v2'),
    [2, key, 'apiVersion', 'expected sidekey.dev/v1alpha1 for kind Credential'],
  ],
  [
    'another kind',
    'kind: Deployment\nmetadata: {name: x}',
    [
      1,
      undefined,
      'kind',
      'kind "Deployment" is not supported; Credential, Integration, Secret and List are read here',
    ],
  ],
  [
    'a kind with a slip',
    'kind: Integraton',
    [1, undefined, 'kind', 'kind "Integraton" is not supported; did you mean Integration?'],
  ],
  ['no kind', 'a: b', [1, undefined, 'kind', expect.stringMatching(/^is missing/)]],
  ['no object', '- a', [1, undefined, undefined, expect.stringMatching(/^expected an object/)]],
  [
    'a name that is none',
    credentialYaml({ name: 'Not_A_Name' }),
    [5, undefined, 'metadata.name', expect.stringMatching(/^expected lower-case letters/)],
  ],
  [
    'data that is no base64',
    secretYaml('x').replace('stringData:', 'data:').replace('"x"', '"***"'),
    [7, 'Secret default/keys', 'data.api-key', 'expected base64'],
  ],
  [
    'a duplicate key',
    `${credentialYaml()}\na: 1\nb: 2\na: 3`,
    [13, undefined, undefined, 'the key "a" is there twice; keep one'],
  ],
  ['a custom tag', 'a: !env KEY', [1, undefined, undefined, expect.stringMatching(/custom tags/)]],
  ['YAML 1.1', '%YAML 1.1\n---\na: yes', [expect.any(Number), undefined, undefined, 'expected YAML 1.2, not 1.1']],
  ['a tab as indentation', 'a:\n\tb: c', [2, undefined, undefined, expect.stringMatching(/use spaces/)]],
  ['an alias without an anchor', 'a: *b', [1, undefined, undefined, expect.stringMatching(/without its anchor/)]],
])('%s is said with line, object, path and what was expected', (_name, yaml, expected) => {
  expect(said(yaml)).toContainEqual(expected);
});

test('in a list, the path is that of the object and the line that of the file', () => {
  const yaml =
    'apiVersion: v1\nkind: List\nitems:\n- kind: Credential\n  apiVersion: sidekey.dev/v1alpha1\n  metadata: {name: key}\n  spec:\n    source: {store: {}}\n    hosts: [B]\n';
  expect(said(yaml)).toEqual([[9, key, 'spec.hosts[0]', expect.any(String)]]);
});

test('anchors and aliases work, and what they may add up to is bounded', () => {
  const shared = integrationYaml({ rest: '  rules: [{paths: [{value: &path /a}]}, {paths: [{value: *path}]}]' });
  expect(readObjects('a.yaml', shared).objects[0]?.value).toMatchObject({
    spec: { rules: [{ paths: [{ value: '/a' }] }, { paths: [{ value: '/a' }] }] },
  });
  const levels = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(', ')}]`);
  expect(said(['l0: &l0 x', ...levels].join('\n'))[0]?.[3]).toBe('the aliases stand for too much');
  const many = `a: &a x\nb: [${Array(101).fill('*a').join(', ')}]`;
  expect(said(many)[0]?.[3]).toBe('the document has more than 100 aliases');
});

test.each([
  ['brackets', '['.repeat(500_000)],
  ['indented maps', Array.from({ length: 1_000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
  ['commas', `[${','.repeat(1_000_000)}]`],
  ['anchors', '- &a x\n- *a\n'.repeat(80_000)],
  ['many keys', Array.from({ length: 80_000 }, (_, i) => `k${i}: 1`).join('\n')],
  ['documents', '---\n'.repeat(200_000)],
  ['documents with content', 'a\n---\n'.repeat(170_000)],
  ['quotes', '"\n'.repeat(500_000)],
  ['comments', '#\n'.repeat(500_000)],
  ['closing brackets', '] '.repeat(500_000)],
])('a file of a megabyte of %s takes a bounded time', (_name, text) => {
  const startMs = performance.now();
  expect(() => readObjects('a.yaml', text)).not.toThrow();
  expect(performance.now() - startMs).toBeLessThan(3_000);
});

test('__proto__ and its like are unknown fields, and nothing is polluted', () => {
  for (const name of ['__proto__', 'constructor', 'prototype']) {
    const yaml = credentialYaml({ rest: `  ${name}: {polluted: true}` });
    expect(said(yaml)[0]?.[2]).toBe(`spec.${name}`);
    expect(readObjects('a.yaml', `${name}: {polluted: true}`).problems.length).toBe(1);
  }
  readObjects('a.yaml', secretYaml('x', { key: '__proto__' }));
  expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});

test('stringData is stronger than data, and both become bytes', () => {
  const yaml = `${secretYaml('plain')
    .trim()
    .replace(/\n---$/, '')}\ndata:\n  api-key: YmFzZQ==\n  other: AAH/\n`;
  const value = readObjects('a.yaml', yaml).objects[0]?.value;
  if (value?.kind !== 'Secret') throw new Error('expected a Secret');
  const { material } = value.secret;
  expect(material.bytes('api-key')?.toString()).toBe('plain');
  expect(material.bytes('other')).toEqual(Buffer.of(0, 1, 255));
});

test('objects of other APIs are passed over, unless their kind is nearly one of ours', () => {
  const yaml = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Secrt';
  const { objects, problems } = readObjects('a.yaml', yaml);
  expect(objects).toEqual([]);
  expect(problems.map(({ message }) => message)).toEqual(['kind "Secrt" is not supported; did you mean Secret?']);
});
