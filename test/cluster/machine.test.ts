import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Machine, type MachineRecord, machineRefusal } from './machine.ts';
import { isRunning, type RunningProcess } from './runningProcess.ts';

const SOURCES = new URL('./', import.meta.url).pathname;

test.runIf(machineRefusal() === undefined)(
  'a machine whose starter is killed ends with all that ran in it, and its mounts were never ours',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-machine-'));
    const starter = spawn(process.execPath, ['--input-type=module', '-e', STARTER, dir, SOURCES], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [told] = (await once(starter.stdout, 'data')) as [Buffer];
    const { inside, record } = JSON.parse(told.toString()) as { record: MachineRecord; inside: RunningProcess };
    const machine = Machine.resume(record);
    try {
      expect([machine.running, isRunning(inside)]).toEqual([true, true]);
      expect(readFileSync(`/proc/${record.init.pid}/mountinfo`, 'utf8')).toMatch(/ \/var\/lib\/cni /);
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toMatch(/ \/var\/lib\/cni /);
      expect(machine.run(['ip', '-brief', 'addr', 'show', 'node0'])).toContain('192.0.2.10/24');
      starter.kill('SIGKILL');
      while (isRunning(record.holder) || isRunning(record.init) || isRunning(inside)) await delay(20);
    } finally {
      // Only its cgroups are left.
      await machine.stop();
      rmSync(dir, { recursive: true });
    }
  },
  60_000,
);

/** A process of its own that starts a machine with a program in it, says so, and waits to be killed. */
const STARTER = `
const [dir, sources] = process.argv.slice(1);
const load = (file) => import(sources + file);
const [{ Machine }, { Component }, { binaries }] = await Promise.all(['machine.ts', 'component.ts', 'binaries.ts'].map(load));
const { pause: init } = await binaries(['pause']);
const name = 'test-machine-' + process.pid;
const machine = await Machine.start({ name, init, address: '192.0.2.10', volumes: 1, logFile: dir + '/log', kept: false });
const { process: inside } = await Component.start('sleep', ['sleep', '1000'], { logDir: dir, enter: machine.enter });
console.log(JSON.stringify({ record: machine.record, inside }));
setInterval(() => {}, 1000);
`;
