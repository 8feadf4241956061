import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { applyPatch } from 'rfc6902';
import { expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { type Injection, injectSidecar } from './injectSidecar.ts';
import { jsonPatch } from './jsonPatch.ts';
import { testSettings } from './testkit.ts';

const DIR = join(import.meta.dirname, 'testdata');
const GOLDEN = '.injected.yaml';
const files = readdirSync(DIR);
const names = files.flatMap((file) => (file.endsWith(GOLDEN) ? [] : [file.slice(0, -'.yaml'.length)]));

test.for(names)('%s is injected as its golden says, and stays so when it comes by again', async (name) => {
  const pod = parse(readFileSync(join(DIR, `${name}.yaml`), 'utf8')) as V1Pod;
  const untouched = structuredClone(pod);
  const injection = injectSidecar(pod, testSettings());
  expect(pod).toEqual(untouched);
  await expect(shown(injection)).toMatchFileSnapshot(join(DIR, `${name}${GOLDEN}`));
  if (!('pod' in injection)) return;
  const again = injectSidecar(injection.pod, testSettings());
  expect('pod' in again && again.pod).toEqual(injection.pod);
  expect(jsonPatch(injection.pod, 'pod' in again ? again.pod : {})).toEqual([]);
  const patched = structuredClone(pod);
  expect(applyPatch(patched, jsonPatch(pod, injection.pod)).filter((problem) => problem !== null)).toEqual([]);
  expect(patched).toEqual(injection.pod);
});

test('there is no golden without its pod', () => {
  const stale = files.filter((file) => file.endsWith(GOLDEN) && !names.includes(file.slice(0, -GOLDEN.length)));
  expect(stale).toEqual([]);
});

/** What people are told comes first, as comments. */
function shown(injection: Injection): string {
  if ('refuse' in injection) return `# refused: ${injection.refuse}: ${injection.reason}\n`;
  const said = 'skip' in injection ? [`skipped: ${injection.skip}: ${injection.reason}`] : injection.warnings;
  const comments = said.map((line) => `# ${line}\n`).join('');
  return `${comments}${stringify(injection.pod, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}
