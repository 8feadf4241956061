import { afterEach, inject } from 'vitest';
import { GivenCluster } from '../givenCluster.ts';
import { LOGS_DIR } from './logsDir.ts';

/** For a cluster under load. */
const LIMIT_MS = 60_000;

/** What pods had said when a test failed, in a directory of its name: many are others by the end of the run. */
afterEach(async ({ task }) => {
  if (task.result?.state !== 'fail') return;
  const name = task.name.replace(/\W+/g, '-').slice(0, 60);
  await new GivenCluster(inject('kubeconfigFile')).collectLogs(`${LOGS_DIR}${name}`);
}, LIMIT_MS);
