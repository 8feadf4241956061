import pino, { type Logger } from 'pino';
import { systemClock } from '../lib/clock.ts';
import { type Control, openControl } from '../lib/control.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import { startOperator } from './app.ts';
import { OperatorBootstrap } from './config.ts';
import { operatorError } from './errors.ts';

/** The operator as a process: bootstrapped on file descriptor 3, stopped by SIGTERM or by the end of its parent. */
async function main(control: Control, log: Logger): Promise<void> {
  const operator = await startOperator({
    bootstrap: bootstrapOf(control),
    clock: systemClock,
    log,
    fatal: (error) => {
      log.error({ code: errorCode(error), error: error.message }, 'the operator stops because it cannot go on');
      process.exit(1);
    },
  });
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
  control.closed.then(() => stop('the parent is gone'));
  control.ready({ type: 'ready' });
}

function bootstrapOf(control: Control): OperatorBootstrap {
  const parsed = OperatorBootstrap.safeParse(control.bootstrap);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw operatorError('BootstrapInvalid', `The bootstrap of the operator is not valid: ${problems.join('; ')}.`);
}

// Nothing that this process makes is for others to read.
process.umask(0o077);
const log = pino({ name: 'operator' }, pino.destination({ fd: 2, sync: true }));
let control: Control | undefined;
try {
  control = await openControl();
  await main(control, log);
} catch (error) {
  const code = errorCode(error) ?? 'InternalError';
  log.error({ code, error: errorText(error) }, 'the operator could not start');
  control?.ready({ type: 'failed', code, message: errorText(error) });
  process.exit(1);
}
