import { parseArgs } from 'node:util';
import pino, { type Logger } from 'pino';
import { systemClock } from '../lib/clock.ts';
import { problemsOf, readConfigFile } from '../lib/configFile.ts';
import { type Control, openControl } from '../lib/control.ts';
import { keepOutOfCoreDumps } from '../lib/coreDump.ts';
import { errorText } from '../lib/errors.ts';
import { type RunningStore, startStore } from './app.ts';
import { StoreBootstrap } from './config.ts';
import { storeError, storeErrorCode } from './errors.ts';

/**
 * The store as a process, stopped by SIGTERM: in a cluster by a file of configuration, otherwise bootstrapped on file descriptor 3 and stopped
 * by the end of its parent too.
 */
async function main(control: Control | undefined, log: Logger): Promise<void> {
  let store: RunningStore | undefined;
  let stopping = false;
  const stop = async (why: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ why }, 'the store stops');
    await store?.close();
    process.exit(0);
  };
  // Before it starts, as it may wait for its keys: the first process of a container is sent no signal that it does not ask for (pid_namespaces(7)).
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  control?.closed.then(() => stop('the parent is gone'));
  store = await startStore({
    bootstrap: bootstrapOf(control?.bootstrap ?? readConfigFile(configFile!, invalid)),
    clock: systemClock,
    log,
    sealed: ({ code, message }) => control?.ready({ type: 'sealed', code, message }),
    fatal: (error) => {
      log.error({ error: error.message }, 'the store stops because it can no longer keep its promises');
      process.exit(1);
    },
  });
  log.info({ url: store.storeUrl }, 'the store listens');
  const { metricsPort, storeUrl, trustBundlePem } = store;
  control?.ready({ type: 'ready', storeUrl, trustBundlePem, ...(metricsPort !== undefined && { metricsPort }) });
}

function bootstrapOf(value: unknown): StoreBootstrap {
  const parsed = StoreBootstrap.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(`The bootstrap of the store is not valid: ${problemsOf(parsed.error)}.`);
}

function invalid(message: string): Error {
  return storeError('BootstrapInvalid', message);
}

keepOutOfCoreDumps();
// Nothing that this process makes is for others to read.
process.umask(0o077);
const log = pino({ name: 'store' }, pino.destination({ fd: 2, sync: true }));
const { config: configFile } = parseArgs({ options: { config: { type: 'string' } } }).values;
let control: Control | undefined;
try {
  if (configFile === undefined) control = await openControl();
  await main(control, log);
} catch (error) {
  const code = storeErrorCode(error) ?? 'InternalError';
  log.error({ code, error: errorText(error) }, 'the store could not start');
  control?.ready({ type: 'failed', code, message: errorText(error) });
  process.exit(1);
}
