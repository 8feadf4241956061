import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';

const CHILD = `
import { openControl } from ${JSON.stringify(new URL('./control.ts', import.meta.url).href)};
try {
  const control = await openControl();
  control.ready({ type: 'failed', code: 'Echo', message: JSON.stringify(control.bootstrap) });
  await control.closed;
  process.stdout.write('closed');
  process.exit(0);
} catch (error) {
  process.stdout.write(error.message);
}`;

function start(withControl = true) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD], {
    stdio: ['ignore', 'pipe', 'inherit', ...(withControl ? (['pipe'] as const) : [])],
  });
  return { child, control: child.stdio[3] as Duplex, output: text(child.stdout!) };
}

test('takes the bootstrap, answers, and tells when the parent is gone', async () => {
  const { control, output } = start();
  control.write('{"part":');
  control.write('"sidecar"}\n');
  const [answer] = (await once(control, 'data')) as [Buffer];
  expect(JSON.parse(answer.toString())).toEqual({ type: 'failed', code: 'Echo', message: '{"part":"sidecar"}' });
  control.destroy();
  expect(await output).toBe('closed');
});

test('a bootstrap that is no JSON is refused without repeating it', async () => {
  const { control, output } = start();
  control.write('{"joinToken":secret}\n');
  expect(await output).toBe('the bootstrap on the control channel is no JSON');
});

test('a parent that says nothing is reported', async () => {
  const { control, output } = start();
  control.end();
  expect(await output).toMatch('the parent closed the control channel');
});

test('a part that nobody bootstraps says how parts are started', async () => {
  const { output } = start(false);
  expect(await output).toMatch('sidekey up');
});
