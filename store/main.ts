import pino from 'pino';
import { systemClock } from '../lib/clock.ts';
import { openControl } from '../lib/control.ts';
import { errorText } from '../lib/errors.ts';
import { startStore } from './app.ts';
import { StoreBootstrap } from './config.ts';
import { storeError, storeErrorCode } from './errors.ts';

/** The store as a process: bootstrapped on file descriptor 3, stopped by SIGTERM or by the end of its parent. */
async function main(): Promise<void> {
  // Nothing that this process makes is for others to read.
  process.umask(0o077);
  const log = pino({ name: 'store', base: { pid: process.pid } }, pino.destination({ fd: 2, sync: true }));
  const control = await openControl();
  try {
    const parsed = StoreBootstrap.safeParse(control.bootstrap);
    if (!parsed.success)
      throw storeError(
        'BootstrapInvalid',
        parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '),
      );
    const fatal = (error: Error) => {
      log.error({ error: error.message }, 'the store stops because it can no longer keep its promises');
      process.exit(1);
    };
    const store = await startStore({ bootstrap: parsed.data, clock: systemClock, log, fatal });
    const stop = async (why: string) => {
      log.info({ why }, 'the store stops');
      await store.close();
      process.exit(0);
    };
    process.once('SIGTERM', () => void stop('SIGTERM'));
    process.once('SIGINT', () => void stop('SIGINT'));
    void control.closed.then(() => stop('the parent is gone'));
    log.info({ url: store.storeUrl }, 'the store listens');
    control.ready({ type: 'ready', storeUrl: store.storeUrl, trustBundlePem: store.trustBundlePem });
  } catch (error) {
    const code = storeErrorCode(error) ?? 'InternalError';
    log.error({ code, error: errorText(error) }, 'the store could not start');
    control.ready({ type: 'failed', code, message: errorText(error) });
    process.exitCode = 1;
  }
}

await main();
