import { type Cluster, startCluster } from '../cluster.ts';
import { agentImage, sidekeyImage } from '../images.ts';
import { refuseOccupied } from './traces.ts';

/** A cluster that no run and no Sidekey is in, with both images by name. */
export interface VacantCluster {
  cluster: Cluster;
  sidekey: string;
  agent: string;
}

/** Who gets it gives it back by `leave`. @throws Error that says what is in the way; nothing is installed then */
export async function startVacantCluster(say: (line: string) => void): Promise<VacantCluster> {
  const cluster = await startCluster({ say });
  try {
    if (cluster.outlivesRun) await refuseOccupied(cluster);
    say('the cluster is ready');
    const sidekey = await cluster.loadImage(await sidekeyImage());
    const agent = await cluster.loadImage(await agentImage());
    say('the images are loaded');
    return { cluster, sidekey, agent };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}
