import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PostgresRepository } from '../../../store/persist/postgres/repository.ts';
import type { Repository } from '../../../store/persist/repository.ts';
import { openDatabase } from '../../../store/persist/sqlite/database.ts';
import { SqliteRepository } from '../../../store/persist/sqlite/repository.ts';
import { silentLog } from '../../../store/testing/core.ts';
import { PostgresServer } from '../../postgres/server.ts';

/** An engine of the repository, as the suite needs it. */
export interface Engine {
  readonly name: string;
  /** Before all tests. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** A new, empty database. */
  empty(): Promise<Opener>;
}

/** Opens one database; where the engine takes several processes, more than once at the same time. */
export interface Opener {
  open(replica?: string): Promise<Repository>;
  remove(): Promise<void>;
}

const sqlite: Engine = {
  name: 'SQLite',
  start: async () => {},
  stop: async () => {},
  empty: async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-conformance-'));
    const path = join(dir, 'store.db');
    const fatal = (error: Error) => {
      throw error;
    };
    return {
      open: async () => new SqliteRepository({ db: openDatabase(path), path, fatal }),
      remove: async () => rmSync(dir, { recursive: true, force: true }),
    };
  },
};

let server: PostgresServer;
const postgres: Engine = {
  name: 'PostgreSQL',
  start: async () => {
    server = await PostgresServer.start();
  },
  stop: () => server.remove(),
  empty: async () => {
    const url = await server.newDatabase();
    return {
      open: (replica = 'store') => PostgresRepository.open({ url, replica, log: silentLog }),
      remove: async () => {},
    };
  },
};

export const ENGINES: readonly Engine[] = [sqlite, postgres];
