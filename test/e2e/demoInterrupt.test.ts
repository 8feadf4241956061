import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { DemoRun } from './demoRun.ts';

let demo: DemoRun | undefined;
afterEach(() => demo?.remove());

/** What was printed last when Ctrl-C comes, how much later it comes, and how often in a row. */
const MOMENTS: readonly [text: string, laterMs: number, times?: number][] = [
  ['', 300],
  ['1. Three APIs', 30],
  ['$ sidekey up', 0],
  ['$ sidekey credential set stripe-key', 100],
  ["the agent's OPENAI_API_KEY is", 50, 3],
  ['$ sidekey run --tag code -- git clone', 150],
];

test.each(MOMENTS)(
  'make demo stopped by Ctrl-C after "%s" and %i ms leaves no process, port or file',
  { timeout: 40_000 },
  async (text, laterMs, times = 1) => {
    demo = new DemoRun();
    await demo.printed(text);
    await sleep(laterMs);
    const ports = demo.ports();
    for (let i = 0; i < times; i++) {
      demo.interrupt();
      await sleep(30);
    }
    const code = await demo.ended;
    expect(code).not.toBe(0);
    expect(demo.output).not.toContain('checks held');
    expect(demo.leftovers(ports)).toEqual([]);
    if (text !== '') {
      expect(ports).not.toEqual([]);
      expect(demo.output).toContain('interrupted: stopping what was started');
      // What was called off is no promise that did not hold.
      expect(demo.output).not.toContain('✗');
    }
  },
);
