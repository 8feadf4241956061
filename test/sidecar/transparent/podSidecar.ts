import { readFileSync, renameSync } from 'node:fs';
import { systemClock } from '../../../lib/clock.ts';
import { createLogger } from '../../../sidecar/log.ts';
import { startInPod } from '../../../sidecar/pod/app.ts';

/** The sidecar of a pod, but that it joins by the join token in the file of its argument: there is no API server here to review a pod's. */
const [file = ''] = process.argv.slice(2);
const sidecar = await startInPod({
  clock: systemClock,
  env: process.env,
  limits: { headTimeoutMs: 1_000 },
  log: createLogger('sidecar'),
  proof: async () => {
    renameSync(file, `${file}.used`);
    return { joinToken: readFileSync(`${file}.used`, 'utf8') };
  },
});
process.on('SIGTERM', async () => {
  await sidecar.stop(1_000);
  process.exit(0);
});
