import { rmSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import type { Cluster } from '../cluster.ts';
import { LOGS_DIR } from './logsDir.ts';
import { installRelease } from './release.ts';
import { leave } from './traces.ts';
import { startUpstream } from './upstreamPod.ts';
import { startVacantCluster } from './vacantCluster.ts';

declare module 'vitest' {
  interface ProvidedContext {
    kubeconfigFile: string;
    agentImage: string;
    sidekeyImage: string;
    extraCaPem: string;
  }
}

/** From nothing to a cluster with Sidekey in it, and an upstream; and back to nothing. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const fromMs = performance.now();
  const say = (line: string) =>
    console.error(`${((performance.now() - fromMs) / 1000).toFixed(0).padStart(4)} s  ${line}`);
  rmSync(LOGS_DIR, { recursive: true, force: true });
  const { agent, cluster, sidekey } = await startVacantCluster(say);
  try {
    const { caPem } = await startUpstream(cluster, agent);
    await installRelease(cluster, { image: sidekey, extraCaPem: caPem });
    say('Sidekey is installed');
    project.provide('kubeconfigFile', cluster.kubeconfigFile);
    project.provide('agentImage', agent);
    project.provide('sidekeyImage', sidekey);
    project.provide('extraCaPem', caPem);
  } catch (error) {
    await keepLogs(cluster, say);
    await leave(cluster, say).catch((left: Error) => say(left.message));
    throw error;
  }
  return async () => {
    if (project.vitest.state.getCountOfFailedTests() > 0) await keepLogs(cluster, say);
    await leave(cluster, say);
  };
}

async function keepLogs(cluster: Cluster, say: (line: string) => void): Promise<void> {
  await cluster.collectLogs(LOGS_DIR);
  say(`logs of every component and pod are in ${LOGS_DIR}`);
}
