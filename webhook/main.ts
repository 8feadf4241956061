import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { systemClock } from '../lib/clock.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import { KubeClient } from '../lib/kube/client.ts';
import { inClusterTarget } from '../lib/kube/inCluster.ts';
import { startWebhook } from './app.ts';
import { readConfig } from './config.ts';
import { webhookError } from './errors.ts';

/** The webhook as a process: told by a file what it is to do, stopped by SIGTERM. */
async function main(): Promise<void> {
  const { config: file } = parseArgs({ options: { config: { type: 'string' } } }).values;
  if (file === undefined) throw webhookError('ConfigInvalid', 'There is no --config FILE.');
  const config = readConfig(file);
  const kube = new KubeClient(inClusterTarget(config.kubernetes.apiServer));
  // The same for every pod: the address of the Service `kubernetes`.
  const { KUBERNETES_SERVICE_HOST: host = '' } = process.env;
  const apiServerAddress = isIP(host) === 0 ? undefined : host;
  const webhook = await startWebhook({ config, kube, clock: systemClock, log, apiServerAddress });
  log.info({ port: webhook.port, metricsPort: webhook.metricsPort }, 'the webhook listens');
  let stopping = false;
  const stop = async (why: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ why }, 'the webhook stops');
    await webhook.close();
    process.exit(0);
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
}

// Nothing that this process makes is for others to read.
process.umask(0o077);
const log = pino({ name: 'webhook' }, pino.destination({ fd: 2, sync: true }));
try {
  await main();
} catch (error) {
  log.error({ code: errorCode(error) ?? 'InternalError', error: errorText(error) }, 'the webhook could not start');
  process.exit(1);
}
