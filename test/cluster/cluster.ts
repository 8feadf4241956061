import type { KubeClient } from '../../lib/kube/client.ts';
import type { ClusterUser } from './authority.ts';
import { GivenCluster } from './givenCluster.ts';
import type { Image } from './imageArchive.ts';
import { dockerAnswers, KindCluster } from './kindCluster.ts';
import type { CommandResult } from './kubectl.ts';
import { OwnCluster } from './ownCluster.ts';

export interface ClusterOptions {
  /** Of a new cluster; it is the caller's unless it is left out. */
  name?: string;
  /** Whether it outlives the process that starts it. */
  kept?: boolean;
  say?: (line: string) => void;
}

/** A cluster with at least one node, whoever made it. */
export interface Cluster {
  /** What only some can do: see `breakable`, and OwnCluster (`if (cluster instanceof OwnCluster)`). */
  readonly kubeconfigFile: string;
  /** Whether `stop` leaves it: who installs something there takes it away. */
  readonly outlivesRun: boolean;
  /** An administrator's, or that user's; closed by `stop`. */
  client(user?: ClusterUser): Promise<KubeClient>;
  kubectl(args: readonly string[], options?: { user?: ClusterUser; input?: string }): Promise<CommandResult>;
  helm(args: readonly string[]): Promise<CommandResult>;
  /** Makes an image known to the nodes, under its name and under the returned `NAME@sha256:…`. */
  loadImage(image: Image): Promise<string>;
  /** Writes what components and pods have logged, and all events, into a directory. */
  collectLogs(dir: string): Promise<void>;
  /** Ends what we started. */
  stop(): Promise<void>;
}

/** One whose parts are ours to stop. */
export interface BreakableCluster extends Cluster {
  /** Runs a command on the node, as root. @throws Error with what it said */
  onNode(command: readonly string[]): Promise<string>;
  /** As with an upgrade: containers go on. */
  runtimeRestart(): Promise<void>;
  /** The node goes down and comes up again: every container ends at once, and what is in memory is gone. */
  reboot(): Promise<void>;
  apiServerRestart(): Promise<void>;
}

/** The same, unless it is somebody else's. */
export function breakable(cluster: Cluster): BreakableCluster | undefined {
  return cluster instanceof OwnCluster || cluster instanceof KindCluster ? cluster : undefined;
}

/**
 * A cluster to test on: the one that SIDEKEY_E2E_KUBECONFIG or KUBECONFIG names; else one by kind, if a Docker engine answers;
 * else one of our own, on Linux as root. One that is kept is started once, and then found.
 *
 * @throws Error that says what is missing
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const given = process.env.SIDEKEY_E2E_KUBECONFIG || process.env.KUBECONFIG;
  if (given)
    return (
      (await OwnCluster.resumeByKubeconfig(given)) ??
      (await KindCluster.resumeByKubeconfig(given)) ??
      new GivenCluster(given)
    );
  if (await dockerAnswers()) return KindCluster.start(options);
  const running = options.kept && options.name !== undefined ? await OwnCluster.resume(options.name) : undefined;
  return running ?? OwnCluster.start(options);
}
