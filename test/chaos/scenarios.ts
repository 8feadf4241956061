import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PostgresServer } from '../postgres/server.ts';
import { killRounds } from './killRounds.ts';
import { partitionRounds } from './partitionRounds.ts';
import { powerRounds } from './power/powerRounds.ts';

export interface Run {
  seed: number;
  rounds: number;
  /** performance.now() after which no other round begins. */
  untilMs?: number;
  told?: (round: number) => void;
}

export type Scenario = (run: Run) => Promise<{ rounds: number; counts: Record<string, number> }>;

/** Each starts from nothing and leaves nothing behind. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'kill -9, SQLite': (run) => inDir((dir) => killRounds({ ...run, stateDir: join(dir, 'state'), env: cache(dir) })),
  'kill -9, PostgreSQL': (run) =>
    withServer((server, databaseUrl) =>
      inDir((dir) =>
        killRounds({
          ...run,
          stateDir: join(dir, 'state'),
          env: cache(dir),
          databaseUrl,
          crashServer: async () => {
            await server.stop('immediate');
            await server.resume();
          },
        }),
      ),
    ),
  'power loss, SQLite': (run) => inDir((dir) => powerRounds({ ...run, fault: 'power', stateDir: join(dir, 'state') })),
  'EIO from fsync, SQLite': (run) =>
    inDir((dir) => powerRounds({ ...run, fault: 'eio', stateDir: join(dir, 'state') })),
  'partition, PostgreSQL': (run) =>
    withServer(({ port }, databaseUrl) =>
      inDir((dir) => partitionRounds({ ...run, databaseUrl, port, stateDir: dir, env: cache(dir) })),
    ),
};

/** Stores that are started so often find their code compiled. */
function cache(dir: string): Record<string, string> {
  return { NODE_COMPILE_CACHE: join(dir, 'code') };
}

async function inDir<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-chaos-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function withServer<T>(use: (server: PostgresServer, databaseUrl: string) => Promise<T>): Promise<T> {
  const server = await PostgresServer.start();
  try {
    return await use(server, await server.newDatabase());
  } finally {
    await server.remove();
  }
}
