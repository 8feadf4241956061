import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KekSpec } from '../../api/bootstrap.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import type { RunFile } from '../../lib/stateDir.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { databaseName, databaseUrlOf, rememberDatabase } from '../database.ts';
import { CliError } from '../errors.ts';
import { existingFolder, type Folder, readRunFile } from '../folder.ts';
import { keptKekPlace, rememberKekPlace } from '../kekPlace.ts';
import { type problemLines, readyOf, statusText } from '../render/status.ts';
import { count } from '../render/table.ts';
import { answers, ensureState, type StoreReady } from '../store.ts';
import { withProgress } from '../terminal.ts';
import { statusChanges } from '../up/statusChanges.ts';
import { watchStatus } from '../up/statusWatch.ts';
import { Supervisor } from '../up/supervisor.ts';

export interface UpOptions {
  /** 0: any; undefined: the one of the last time if it is free. */
  port: number | undefined;
  /** File that holds the URL of a PostgreSQL database. */
  databaseUrlFile: string | undefined;
  /** Where the store serves its metrics; 0: any; undefined: nowhere. */
  metricsPort: number | undefined;
  /** Where the keys are; undefined: in the key file, or where they were the last time. */
  kek: KekSpec | undefined;
  /** Whether the folder is put into force; further replicas of a store leave that to the first. */
  operator: boolean;
}

/** Runs store and operator on a folder until it is told to stop. */
export async function up(context: Context, dir: string, options: UpOptions): Promise<void> {
  const folder = existingFolder(dir);
  await refuseSecond(folder);
  const databaseUrl = databaseUrlOf(context, folder, options.databaseUrlFile);
  const kek = options.kek ?? keptKekPlace(folder);
  ensureState(folder, kek);
  rememberKekPlace(folder, options.kek);
  rememberDatabase(context, folder, options.databaseUrlFile);
  const startedMs = Date.now();
  const supervisor = supervise(context, folder, { ...options, databaseUrl, kek });
  const stopping = new StopSignals(context, supervisor);
  try {
    const ready = await withProgress(
      context.terminal,
      options.operator ? 'starting the store and the operator' : 'starting the store',
      () =>
        supervisor.start().catch(async (error: unknown) => {
          await supervisor.stop();
          throw error;
        }),
    );
    writeRunFile(folder, ready);
    announce(context, folder, { ...ready, databaseUrl, operator: options.operator });
    const unwatch = options.operator ? followStatus(context, folder, startedMs) : () => {};
    await stopping.requested;
    unwatch();
    await supervisor.stop();
    if (context.json) context.print(JSON.stringify({ event: 'stopped' }));
    else context.note('stopped; running sidecars use what they hold until their leases end');
  } finally {
    stopping.off();
    rmSync(folder.files.run, { force: true });
  }
}

/** @throws AlreadyRunning that names the process */
async function refuseSecond(folder: Folder): Promise<void> {
  if (!(await answers(new AdminClient(folder)))) return;
  const run = readRunFile(folder.files);
  const who = run === undefined ? 'a store that another command has started' : `sidekey up with pid ${run.pid}`;
  throw new CliError('AlreadyRunning', `${folder.path} is already run by ${who}`, {
    next: run === undefined ? 'wait until it is done' : `use it as it is, or stop it first: kill ${run.pid}`,
  });
}

function supervise(
  context: Context,
  folder: Folder,
  options: UpOptions & { databaseUrl: string | undefined },
): Supervisor {
  const say = (event: object, text: string) => {
    if (context.json) context.print(JSON.stringify(event));
    else context.warn(text);
  };
  const started = new Set<string>();
  return new Supervisor({
    folder,
    port: options.port ?? lastPort(folder),
    anyPort: options.port === undefined,
    databaseUrl: options.databaseUrl,
    metricsPort: options.metricsPort,
    kek: options.kek,
    operator: options.operator,
    env: context.env,
    events: {
      up: (part, pid) => {
        if (started.has(part)) say({ event: 'partRestarted', part, pid }, `the ${part} runs again (pid ${pid})`);
        started.add(part);
      },
      down: (part, why, retryMs) =>
        say({ event: 'partEnded', part, why, retryMs }, `the ${part} ended (${why}); next try in ${retryMs / 1000} s`),
      sealed: ({ code, message }) =>
        say({ event: 'storeSealed', code, message }, `the store is sealed: ${message} It goes on by itself then.`),
      log: (part, { level, message }) => say({ event: 'log', part, level, message }, `${part}: ${message}`),
    },
  });
}

/** Ctrl-C and its like: the first asks for an orderly stop, the second does not wait for it. */
class StopSignals {
  readonly requested: Promise<void>;
  readonly #onSignal: () => void;

  constructor(context: Context, supervisor: Supervisor) {
    let request!: () => void;
    this.requested = new Promise((resolve) => {
      request = resolve;
    });
    let asked = false;
    this.#onSignal = () => {
      if (asked) {
        supervisor.kill();
        return;
      }
      asked = true;
      if (!context.json) context.note('stopping; press Ctrl-C again to stop at once');
      request();
    };
    for (const signal of STOP_SIGNALS) process.on(signal, this.#onSignal);
  }

  off(): void {
    for (const signal of STOP_SIGNALS) process.off(signal, this.#onSignal);
  }
}

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What `sidekey run` needs, and the port for the next start. */
function writeRunFile(folder: Folder, { storeUrl, trustBundlePem }: StoreReady): void {
  const run: RunFile = { pid: process.pid, storeUrl, trustBundlePem };
  replacePrivately(folder.files.run, `${JSON.stringify(run)}\n`);
  replacePrivately(portFile(folder), `${new URL(storeUrl).port}\n`);
}

function replacePrivately(path: string, text: string): void {
  writeFileSync(`${path}.next`, text, { mode: 0o600 });
  chmodSync(`${path}.next`, 0o600);
  renameSync(`${path}.next`, path);
}

function portFile(folder: Folder): string {
  return join(folder.files.dir, 'port');
}

function lastPort(folder: Folder): number {
  try {
    const port = Number(readFileSync(portFile(folder), 'utf8'));
    return Number.isInteger(port) && port > 0 && port < 65_536 ? port : 0;
  } catch {
    return 0;
  }
}

function announce(
  context: Context,
  folder: Folder,
  { storeUrl, metricsPort, databaseUrl, operator }: StoreReady & { databaseUrl: string | undefined; operator: boolean },
): void {
  const database = databaseUrl === undefined ? undefined : databaseName(databaseUrl);
  if (context.json) {
    const more = { ...(database && { database }), ...(metricsPort !== undefined && { metricsPort }), operator };
    context.print(JSON.stringify({ event: 'ready', folder: folder.path, storeUrl, pid: process.pid, ...more }));
    return;
  }
  context.note(`the store listens on ${storeUrl}, its state is in ${database ?? folder.files.dir}`);
  if (metricsPort !== undefined) context.note(`its metrics are at http://127.0.0.1:${metricsPort}/metrics`);
  if (!operator)
    context.note(`another replica puts its folder into force; the objects of ${folder.path} are not looked at`);
  context.note(`run an agent from another terminal: sidekey run --dir ${folder.path} -- CMD   (Ctrl-C here stops)`);
}

function followStatus(context: Context, folder: Folder, sinceMs: number): () => void {
  let before: StatusFile | undefined;
  return watchStatus(folder.files.status, (status) => {
    if (Date.parse(status.reconciledAt) < sinceMs) return; // What the last time left.
    if (context.json) context.print(JSON.stringify({ event: 'status', status }));
    else if (before === undefined) firstSummary(context, status);
    else printChanges(context, statusChanges(before, status, view(context)), status);
    before = status;
  });
}

function firstSummary(context: Context, status: StatusFile): void {
  const text = statusText(status, { ...view(context), wide: false, nowMs: Date.now() });
  context.print(`\n${text === '' ? 'No objects yet: put Credential and Integration YAML into the folder.' : text}\n`);
  context.print(summary(status));
}

function printChanges(context: Context, lines: string[], status: StatusFile): void {
  if (lines.length === 0) return;
  const time = context.paint('dim', new Date().toTimeString().slice(0, 8));
  for (const line of lines) context.print(`${time} ${line}`);
  context.print(`${time} ${summary(status)}`);
}

/** `2 credentials and 3 integrations, 4 ready, 1 problem` */
function summary({ objects, problems }: StatusFile): string {
  const kinds = (kind: string) => objects.filter((object) => object.kind === kind).length;
  const ready = objects.filter((object) => readyOf(object)?.status === 'True').length;
  return (
    `${count(kinds('Credential'), 'credential')} and ${count(kinds('Integration'), 'integration')}, ` +
    `${ready} of ${objects.length} ready, ${count(problems.length, 'problem')} in files`
  );
}

function view(context: Context): Pick<Parameters<typeof problemLines>[1], 'paint'> {
  return { paint: (style, text) => context.paint(style, text) };
}
