import { readObjects } from '../../operator/source/readObjects.ts';
import { credentialYaml, integrationYaml, secretYaml } from '../../operator/testing/yaml.ts';

const FILE = 'folder/fuzzed.yaml';
const PARSE_LIMIT_MS = 1_000;
const SIZE_LIMIT = 64 * 1024;

/** Where mutations start: each way to write an object, and each feature of YAML that they use. */
const SEEDS: readonly string[] = [
  credentialYaml() + integrationYaml() + secretYaml('sk-value'),
  credentialYaml({ source: '{generated: {bytes: 32, rotateEvery: 720h, overlap: 24h}}', rest: '  leaseDuration: 5m' }),
  credentialYaml({ hosts: '&h api.example.com, *h, "*.example.org:8443"' }),
  integrationYaml({
    rest: '  alias: api\n  rules: [{methods: [POST], paths: [{value: /v1}]}]\n  limits: [{requests: 60, window: 1m}]',
  }),
  integrationYaml({
    inject: '[{basic: {username: me}}, {header: {name: x-key, format: "k {value}"}}, {query: {name: key}}]',
  }),
  `apiVersion: v1\nkind: List\nitems:\n- kind: Credential\n  apiVersion: sidekey.dev/v1alpha1\n  metadata: {name: key, labels: {a: b}}\n  spec: {source: {store: {}}, hosts: [a.example.com]}\n`,
  `apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\ndata:\n  a: YmFzZQ==\nstringData:\n  b: |-\n    text\n  c: >\n    folded\n    text\n`,
  'a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n',
];

/** Pieces that parsers stumble over. */
const PIECES: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  '__proto__: {polluted: true}',
  '"__proto__": {polluted: true}',
  '<<: *a',
  '&a ',
  '*a',
  '*a, ',
  '!!js/function x',
  '!t ',
  '!!binary ',
  '? ',
  ': ',
  '- ',
  '---\n',
  '...\n',
  '%YAML 1.1\n',
  '%TAG ! x\n',
  '|',
  '>',
  '|-\n',
  '"',
  "'",
  '\\',
  '\t',
  '\0',
  '\u0085',
  '\u2028',
  '\uFEFF',
  '\uD800',
  '#',
  '@',
  '`',
  '{',
  '}',
  '[',
  ']',
  ',',
  '\r',
  '\n',
  ' ',
  '~',
  'null',
  '.inf',
  '.nan',
  '0x',
  '1e999',
  '[[[[[[[[',
  '{a: {a: {a: ',
  '- - - - ',
  'x: x: ',
  'metadata',
  'spec',
  'kind: List',
  'items:',
  'name:',
  'hosts',
  '*.',
  '9'.repeat(40),
];

export interface FuzzResult {
  runs: number;
  slowestMs: number;
  /** Files that were read with at least one object. */
  good: number;
}

/** Reads mutated files for a while. @throws Error that holds the text which broke a promise */
export function fuzzYaml(seconds: number, seed: number): FuzzResult {
  const random = mulberry32(seed);
  const result: FuzzResult = { runs: 0, slowestMs: 0, good: 0 };
  const endMs = performance.now() + seconds * 1000;
  let corpus = [...SEEDS];
  while (performance.now() < endMs) {
    const text = mutate(pick(corpus, random), random, corpus);
    const { good, tookMs } = check(text);
    result.runs += 1;
    result.slowestMs = Math.max(result.slowestMs, tookMs);
    if (good) result.good += 1;
    // Mutations of mutations, most often of those that still say something; begun anew when there are many.
    if (good || random() < 0.02) corpus.push(text);
    if (corpus.length > 256) corpus = [...SEEDS];
  }
  return result;
}

function check(text: string): { good: boolean; tookMs: number } {
  const fail = (what: string): never => {
    throw new Error(`${what}: ${JSON.stringify(text)}`);
  };
  const startMs = performance.now();
  const read = (() => {
    try {
      return readObjects(FILE, text);
    } catch (error) {
      return fail(`threw ${String(error)}`);
    }
  })();
  const tookMs = performance.now() - startMs;
  if (tookMs > PARSE_LIMIT_MS) fail(`took ${tookMs} ms`);
  for (const { file, line, message } of read.problems) {
    if (file !== FILE) fail('a problem names another file');
    if (message === '' || (line !== undefined && !(line >= 1))) fail('a problem says nothing, or an impossible line');
  }
  if (read.unreadable && read.problems.length === 0) fail('unreadable without a problem');
  for (const { value } of read.objects) if (Object.getPrototypeOf(value) !== Object.prototype) fail('an odd prototype');
  if ('polluted' in {} || 'polluted' in Object || Object.keys(Object.prototype).length > 0)
    fail('polluted a prototype');
  return { good: read.objects.length > 0, tookMs };
}

function mutate(text: string, random: () => number, corpus: readonly string[]): string {
  let mutated = text;
  for (let count = 1 + Math.floor(random() * 4); count > 0; count -= 1) {
    const at = Math.floor(random() * (mutated.length + 1));
    const end = Math.min(mutated.length, at + Math.floor(random() ** 3 * 80));
    const way = Math.floor(random() * 6);
    if (way === 0) mutated = mutated.slice(0, at) + mutated.slice(end);
    else if (way === 1) mutated = mutated.slice(0, at) + pick(PIECES, random) + mutated.slice(at);
    else if (way === 2) mutated = mutated.slice(0, at) + pick(PIECES, random) + mutated.slice(end);
    else if (way === 3)
      mutated =
        mutated.slice(0, end) + mutated.slice(at, end).repeat(1 + Math.floor(random() ** 4 * 200)) + mutated.slice(end);
    else if (way === 4)
      mutated = mutated.slice(0, at) + String.fromCharCode(Math.floor(random() * 256)) + mutated.slice(at + 1);
    else mutated = mutated.slice(0, at) + pick(corpus, random).slice(Math.floor(random() * 200));
  }
  return mutated.slice(0, SIZE_LIMIT);
}

function pick<T>(from: readonly T[], random: () => number): T {
  return from[Math.floor(random() * from.length)]!;
}

/** A small generator whose numbers a seed brings back. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
