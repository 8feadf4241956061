import { Random } from '../chaos/random.ts';
import { PostgresServer } from '../postgres/server.ts';
import { History } from './history.ts';
import { Template, type World } from './world.ts';

const STEPS = 24;

/** Many histories, each from a seed of its own. @throws Error that names the seed and the steps of the one that went wrong */
export async function modelHistories(options: {
  engine: 'sqlite' | 'postgres';
  seed: number;
  rounds: number;
  untilMs?: number;
  sabotage?: World['sabotage'];
  told?: (round: number) => void;
}): Promise<{ rounds: number; counts: Record<string, number> }> {
  const { engine, rounds, sabotage, seed, told, untilMs = Number.POSITIVE_INFINITY } = options;
  const server = engine === 'postgres' ? await PostgresServer.start() : undefined;
  const template = await Template.make(server);
  const counts: Record<string, number> = {};
  let round = 0;
  try {
    for (; round < rounds && performance.now() < untilMs; round += 1) {
      const world = await template.world();
      if (sabotage !== undefined) {
        world.sabotage = sabotage;
        sabotage(world.store);
      }
      const history = new History(world, new Random(seed + round));
      try {
        await history.run(STEPS);
      } catch (error) {
        throw new Error(`history of seed ${seed + round} after ${history.steps.join(', ')}: ${String(error)}`, {
          cause: error,
        });
      } finally {
        await world.remove();
      }
      for (const [what, count] of Object.entries(history.counts)) counts[what] = (counts[what] ?? 0) + count;
      told?.(round + 1);
    }
    return { rounds: round, counts };
  } finally {
    template.remove();
    await server?.remove();
  }
}
