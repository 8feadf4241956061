import { parseArgs } from 'node:util';
import pino, { type Logger } from 'pino';
import { systemClock } from '../lib/clock.ts';
import { problemsOf } from '../lib/configFile.ts';
import { type Control, openControl } from '../lib/control.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import { KubeClient } from '../lib/kube/client.ts';
import { inClusterTarget } from '../lib/kube/inCluster.ts';
import { releaseFinalizers } from './act/kube/releaseFinalizers.ts';
import { startOperator } from './app.ts';
import { OperatorBootstrap, readConfig } from './config.ts';
import { operatorError } from './errors.ts';
import { startReplica } from './replica.ts';

/** The operator as a process, stopped by SIGTERM: in a cluster by a file of configuration, otherwise bootstrapped by its parent; with --release-finalizers the last act of an uninstall. */
async function main(log: Logger): Promise<void> {
  const { config, 'release-finalizers': release } = parseArgs({
    options: { config: { type: 'string' }, 'release-finalizers': { type: 'boolean' } },
  }).values;
  if (release) {
    const client = new KubeClient(inClusterTarget());
    await releaseFinalizers({ client, log });
    await client.close();
    return;
  }
  if (config !== undefined) {
    const replica = await startReplica({ config: readConfig(config), clock: systemClock, log, fatal: fatalOf(log) });
    stopBySignal(replica, log);
    return;
  }
  const control = await openControl();
  try {
    await runOnFolder(control, log);
  } catch (error) {
    control.ready({ type: 'failed', code: errorCode(error) ?? 'InternalError', message: errorText(error) });
    throw error;
  }
}

/** Bootstrapped on file descriptor 3, and stopped by the end of its parent too. */
async function runOnFolder(control: Control, log: Logger): Promise<void> {
  const operator = await startOperator({
    bootstrap: bootstrapOf(control),
    clock: systemClock,
    log,
    fatal: fatalOf(log),
  });
  const stop = stopBySignal(operator, log);
  control.closed.then(() => stop('the parent is gone'));
  control.ready({ type: 'ready' });
}

function stopBySignal(operator: { close(): Promise<void> }, log: Logger): (why: string) => Promise<void> {
  let stopping = false;
  const stop = async (why: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ why }, 'the operator stops');
    await operator.close();
    process.exit(0);
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  return stop;
}

function fatalOf(log: Logger): (error: Error) => void {
  return (error) => {
    log.error({ code: errorCode(error), error: error.message }, 'the operator stops because it cannot go on');
    process.exit(1);
  };
}

function bootstrapOf(control: Control): OperatorBootstrap {
  const parsed = OperatorBootstrap.safeParse(control.bootstrap);
  if (parsed.success) return parsed.data;
  const problems = problemsOf(parsed.error);
  throw operatorError('BootstrapInvalid', `The bootstrap of the operator is not valid: ${problems}.`);
}

// Nothing that this process makes is for others to read.
process.umask(0o077);
const log = pino({ name: 'operator' }, pino.destination({ fd: 2, sync: true }));
try {
  await main(log);
} catch (error) {
  log.error({ code: errorCode(error) ?? 'InternalError', error: errorText(error) }, 'the operator could not start');
  process.exit(1);
}
