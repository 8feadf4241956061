import { readFileSync } from 'node:fs';
import pino from 'pino';
import { systemClock } from '../../lib/clock.ts';
import { readConfig } from '../../operator/config.ts';
import { startReplica } from '../../operator/replica.ts';

/** An operator of a cluster as a process, which joins the store by the join token in its token file. */
const log = pino({ name: 'operator' }, pino.destination({ fd: 2, sync: true }));
const config = readConfig(process.argv[2]!);
const replica = await startReplica({
  config,
  clock: systemClock,
  log,
  fatal: (error) => {
    log.error({ error: error.message }, 'the operator stops because it cannot go on');
    process.exit(1);
  },
  proof: async () => ({ joinToken: readFileSync(config.tokenFile, 'utf8') }),
});
process.on('SIGTERM', () => replica.close().then(() => process.exit(0)));
