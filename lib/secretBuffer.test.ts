import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { memoryHolds } from '../test/sidecar/processMemory.ts';

/** Makes many short secrets, has the garbage collector move what it can, overwrites the secrets, and waits. */
const PROGRAM = `
  const { secretBuffer } = await import(process.argv[1]);
  const make = () => { const b = secretBuffer(26); for (let i = 0; i < 26; i++) b[i] = 0x41 + ((i * 7) % 26); return b; };
  const secrets = Array.from({ length: 1000 }, make);
  for (let i = 0; i < 3; i++) gc();
  console.log('held');
  process.stdin.once('data', () => { for (const b of secrets) b.fill(0); console.log('overwritten'); });
`;
const SECRET = Buffer.from(Array.from({ length: 26 }, (_, i) => 0x41 + ((i * 7) % 26)));

if (existsSync('/proc/self/mem'))
  test('of a secret that was overwritten the garbage collector has made no copies', async () => {
    const module = new URL('./secretBuffer.ts', import.meta.url).href;
    const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', PROGRAM, module]);
    onTestFinished(() => void child.kill());
    await once(child.stdout, 'data');
    expect(memoryHolds(child.pid!, SECRET)).toBe(true);
    child.stdin.write('go\n');
    await once(child.stdout, 'data');
    expect(memoryHolds(child.pid!, SECRET)).toBe(false);
  });
else process.stdout.write('!! NOT RUN: the search of memory for copies of secrets, which takes /proc/PID/mem\n');
