import { systemClock } from '../lib/clock.ts';
import { type Control, openControl } from '../lib/control.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import { startSidecar } from './app.ts';
import { sidecarBootstrap } from './config.ts';
import { createLogger } from './log.ts';
import { startInPod } from './pod/app.ts';
import { isStartError } from './startErrors.ts';

/** For what runs when the sidecar is asked to end, as Kubernetes does before it takes the pod away. */
const GRACE_MS = 10_000;
/** When the parent is gone nobody waits for answers much longer. */
const ORPHAN_GRACE_MS = 1_000;

const log = createLogger('sidecar', { debug: process.env.SIDEKEY_DEBUG === '1' });

/** Started by a parent process: bootstrapped on file descriptor 3, stopped by SIGTERM or by the end of its parent. */
async function main(control: Control): Promise<void> {
  const sidecar = await startSidecar({
    bootstrap: sidecarBootstrap(control.bootstrap),
    clock: systemClock,
    env: process.env,
    log,
  });
  const stop = stopped(sidecar);
  control.closed.then(() => stop('the parent is gone', ORPHAN_GRACE_MS));
  const { proxyPort, healthPort, caPem } = sidecar;
  log.info({ proxyPort, healthPort }, 'the sidecar listens');
  control.ready({ type: 'ready', proxyPort, healthPort, caPem });
}

/** In a pod: bootstrapped by what the webhook wrote into it, stopped by SIGTERM. */
async function inPod(): Promise<void> {
  stopped(await startInPod({ clock: systemClock, env: process.env, log }));
  log.info({}, 'the sidecar listens');
}

/** Stops at a signal. Returns what stops it otherwise. */
function stopped(sidecar: { stop(graceMs: number): Promise<void> }): (why: string, graceMs: number) => Promise<void> {
  let stopping = false;
  const stop = async (why: string, graceMs: number) => {
    if (stopping) return;
    stopping = true;
    log.info({ why }, 'the sidecar stops');
    await sidecar.stop(graceMs);
    process.exit(0);
  };
  process.on('SIGTERM', () => stop('SIGTERM', GRACE_MS));
  process.on('SIGINT', () => stop('SIGINT', GRACE_MS));
  return stop;
}

/** A fault of ours: where it happened, and not its text, which may hold what an agent or an upstream sent. */
function crash(error: unknown): never {
  const stack = error instanceof Error ? (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)) : [];
  const name = error instanceof Error ? error.name : typeof error;
  log.error({ name, code: errorCode(error), stack: stack.slice(0, 8) }, 'the sidecar stops because of a fault in it');
  process.exit(1);
}

process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);
// Nothing that this process makes is for others to write.
process.umask(0o022);
let control: Control | undefined;
try {
  if (process.argv.includes('--in-pod')) await inPod();
  else {
    control = await openControl();
    await main(control);
  }
} catch (error) {
  const code = isStartError(error) ? error.code : 'InternalError';
  log.error({ code, error: errorText(error) }, 'the sidecar could not start');
  control?.ready({ type: 'failed', code, message: errorText(error) });
  process.exit(1);
}
