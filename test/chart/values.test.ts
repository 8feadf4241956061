import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { VERSION } from '../../lib/version.ts';
import { clientBinary } from '../cluster/binaries.ts';
import { run } from '../cluster/kubectl.ts';
import { CHART, template } from './render.ts';

interface Schema {
  description?: string;
  type?: string | string[];
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
}

const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8')) as Schema;
const defaults = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Record<string, unknown>;

test('every value has a default, and a description in the schema', () => {
  const undescribed: string[] = [];
  const withoutDefault: string[] = [];
  const walk = ({ properties = {} }: Schema, values: Record<string, unknown>, path: string) => {
    for (const [name, slot] of Object.entries(properties)) {
      const at = path === '' ? name : `${path}.${name}`;
      if (!slot.description) undescribed.push(at);
      if (!(name in values)) withoutDefault.push(at);
      else if (slot.properties) walk(slot, values[name] as Record<string, unknown>, at);
    }
  };
  // Of what Kubernetes describes itself, nothing is said again.
  walk(schema, defaults, '');
  const theirs = /\.resources\.claims$|\.metricsFrom\.|^global$/;
  expect(undescribed.filter((at) => !/\.resources\./.test(at))).toEqual([]);
  expect(withoutDefault.filter((at) => !theirs.test(at))).toEqual([]);
});

describe('values that are refused, and the words for it', () => {
  test.each([
    ['scope=All', "at '/scope': value must be one of 'Namespaces', 'Cluster'"],
    ['sidecar.egress=open', "at '/sidecar/egress': value must be one of 'Open', 'Closed'"],
    ['store.replicas=0', "at '/store/replicas': minimum: got 0, want 1"],
    ['webhook.replicas=two', "at '/webhook/replicas': got string, want integer"],
    ['webhook.timeoutSeconds=60', "at '/webhook/timeoutSeconds': maximum: got 60, want 30"],
    ['image.digest=latest', "at '/image/digest': 'latest' does not match pattern"],
    ['namespaces={Agents}', "at '/namespaces/0': 'Agents' does not match pattern"],
    ['replicas=2', "at '': additional properties 'replicas' not allowed"],
    ['store.postgres.url=x', "at '/store': additional properties 'postgres' not allowed"],
    ['kek.transit.address=https://vault.example', "at '/kek/transit/keyName': minLength: got 0, want 1"],
    ['kek.transit.address=vault.example', "at '/kek/transit/address': 'vault.example' does not match pattern"],
    ['sidecar.extraCA=none', "at '/sidecar/extraCA': 'none' does not match pattern"],
    ['test.allowedNetworks={10.0.0.1}', "at '/test/allowedNetworks/0': '10.0.0.1' does not match pattern"],
    [
      'kek.existingSecret=own,kek.transit.address=https://vault.example,kek.transit.keyName=k,kek.transit.tokenSecret.name=t',
      "the store's keys are in kek.existingSecret or at kek.transit.address, not in both",
    ],
  ])('%s', async (set, words) => {
    const { error } = await template('--set', set);
    expect(error).toContain(words);
  });
});

test.each(['sidekey', 'sidekey-crds'])(
  'helm finds nothing to say against the chart %s, and it is of this version',
  async (name) => {
    const chart = join(CHART, '..', name);
    const { code, stdout } = await run(await clientBinary('helm'), ['lint', '--strict', '--quiet', chart]);
    expect(stdout).not.toMatch(/WARNING|ERROR/);
    expect(code).toBe(0);
    expect(parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'))).toMatchObject({
      version: VERSION,
      appVersion: VERSION,
    });
  },
);
