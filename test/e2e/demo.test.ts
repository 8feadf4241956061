import { afterEach, expect, test } from 'vitest';
import { DemoRun } from './demoRun.ts';

let demo: DemoRun | undefined;
afterEach(() => demo?.remove());

test('make demo: every check holds and nothing is left', { timeout: 60_000 }, async () => {
  demo = new DemoRun();
  const code = await demo.ended;
  expect(code, demo.output).toBe(0);
  expect(demo.output).toMatch(/All [0-9]+ checks held/);
  expect(demo.output).not.toContain('✗');
  expect(demo.output).not.toContain('LEFT OUT');
  expect(demo.leftovers([])).toEqual([]);
});
