import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import type { OperatorBootstrap, PartMessage } from '../../api/bootstrap.ts';
import type { Condition, ConditionType } from '../../api/condition.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { admin, json } from '../store/storeClient.ts';
import type { StoreProcess } from '../store/storeProcess.ts';

const MAIN = new URL('../../operator/main.ts', import.meta.url).pathname;

/** An operator as its parent sees it: a process, bootstrapped on file descriptor 3, on a folder whose state is in `.sidekey/`. */
export class OperatorProcess {
  readonly child: ChildProcess;
  readonly statusFile: string;
  readonly message: PartMessage;
  /** What it has logged. */
  readonly log: string[];

  private constructor(options: { child: ChildProcess; statusFile: string; message: PartMessage; log: string[] }) {
    this.child = options.child;
    this.statusFile = options.statusFile;
    this.message = options.message;
    this.log = options.log;
  }

  static async start(
    store: StoreProcess,
    folder: string,
    changes: Partial<OperatorBootstrap> = {},
  ): Promise<OperatorProcess> {
    const issued = await admin(store, 'POST', '/v1/admin/join-tokens', json({ kind: 'operator' }));
    const bootstrap: OperatorBootstrap = {
      part: 'operator',
      storeUrl: store.storeUrl,
      trustBundlePem: store.trustBundlePem,
      joinToken: issued.json<JoinTokenAnswer>().joinToken,
      folder,
      statusFile: stateFiles(store.stateDir).status,
      ...changes,
    };
    const child = spawn(process.execPath, [MAIN], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    const log: string[] = [];
    child.stderr!.setEncoding('utf8').on('data', (text: string) => log.push(text));
    const control = child.stdio[3] as Duplex;
    control.on('error', () => {});
    control.write(`${JSON.stringify(bootstrap)}\n`);
    const [line] = (await once(control, 'data')) as [Buffer];
    return new OperatorProcess({ child, statusFile: bootstrap.statusFile, message: JSON.parse(line.toString()), log });
  }

  status(): StatusFile {
    return JSON.parse(readFileSync(this.statusFile, 'utf8')) as StatusFile;
  }

  condition(
    kind: StatusFile['objects'][number]['kind'],
    key: string,
    type: ConditionType = 'Ready',
  ): Condition | undefined {
    const object = this.status().objects.find((entry) => entry.kind === kind && entry.key === key);
    return object?.status.conditions.find((condition) => condition.type === type);
  }

  async stop(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      await exit;
    }
    return this.child.exitCode;
  }
}

/** Waits until `check` gives something that is true. @throws Error with `what` after ten seconds */
export async function eventually<T>(what: string, check: () => T | Promise<T>): Promise<NonNullable<T>> {
  const endMs = performance.now() + 10_000;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > endMs) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until `check` is true, for what may take longer on a machine that is busy. @throws Error with `what` */
export async function within(seconds: number, what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + seconds * 1_000;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`waited in vain: ${what}`);
    await sleep(20);
  }
}
