import { expect, test } from 'vitest';
import { fuzzYaml } from '../fuzz/yaml.ts';

test('mutated YAML never throws, is read in under a second, names its file and pollutes nothing', () => {
  const { good, runs, slowestMs } = fuzzYaml(3, 1);
  expect(runs).toBeGreaterThan(100);
  expect(good).toBeGreaterThan(10);
  expect(slowestMs).toBeLessThan(1_000);
});
